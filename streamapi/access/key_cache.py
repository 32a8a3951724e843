"""Finds the caller of a key, without asking the database each time.

A record is used for `ttl` seconds after it was read. So a revoked key works in another process for
at most that long. Requests that show the same key at the same time wait for one look-up. While
the database is away, a known key works for `grace` seconds more; an unknown key gets a 503,
because nobody can tell whether it exists. Keys that do not exist are remembered for a few
seconds, in a dict of their own, so that made-up keys cannot push out real ones.
"""

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple

from streamapi.access import bounded_dict, keys
from streamapi.errors import KeyExpired, StoreUnavailable, Unauthenticated
from streamapi.generation.request import Allowance, Caller
from streamapi.records import keys as rows
from streamapi.records.database import Database
from streamapi.records.keys import KeyRecord

MOST_KEYS = 10_000
"""Known keys that are remembered, and unknown keys. Beyond it the oldest is looked up again."""

UNKNOWN_TTL = 5.0
"""Seconds for which a key counts as unknown: a key may be sent just before it is made."""

MOST_LOOKUPS = 256
"""Look-ups at once. A database with more of them waiting counts as away."""

PAUSE = 0.5
"""Seconds without a look-up after one has failed: each would wait for the whole time-out."""

WRITE_EVERY = 60.0
"""Seconds between two writes of one key's last use."""


class CachedKey(NamedTuple):
    """A record of the database, and when it was read."""

    record: KeyRecord
    caller: Caller
    read_at: float


class KeyCache:
    """The keys that one process remembers. `ttl` and `grace` are in seconds. `clock` measures the
    age of a record; keys expire by the calendar."""

    def __init__(
        self,
        database: Database,
        ttl: float,
        grace: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.database = database
        self._ttl = ttl
        self._grace = grace
        self._clock = clock
        self._known: dict[str, CachedKey] = {}
        self._unknown_until: dict[str, float] = {}
        self._lookups: dict[str, asyncio.Task[CachedKey | None]] = {}
        self._away = False
        self._paused_until = 0.0
        self._revoked: dict[str, None] = {}
        self._last_used: dict[str, float] = {}
        self._written: dict[str, float] = {}

    async def caller(self, key: str) -> Caller:
        """The caller that the key belongs to, without an address. Raises `Unauthenticated`,
        `KeyExpired`, and `StoreUnavailable` where the database is needed and away."""
        if not keys.well_formed(key):
            raise Unauthenticated("This is not a key of this server: check that it is complete.")
        return await self.caller_by_digest(keys.digest(key))

    async def caller_by_digest(self, digest: str) -> Caller:
        """The same by the digest of a key, such as a ticket holds."""
        cached = await self._find(digest)
        if cached is None or cached.record.revoked is not None or cached.record.id in self._revoked:
            raise Unauthenticated("This key does not exist, or it was revoked. Use another one.")
        now = time.time()
        if not cached.record.is_active(now):
            raise KeyExpired("This key has expired. Ask for a new one.")
        if len(self._last_used) < MOST_KEYS:
            self._last_used[cached.record.id] = now
        return cached.caller

    def knows(self, key: str) -> bool:
        """Whether the key existed at its last look-up. Such a key is no guess."""
        return keys.digest(key) in self._known

    async def aclose(self) -> None:
        """Wait for the look-ups under way, also for those whose callers have left: one that runs
        while the database is closed would leave its connection open."""
        if self._lookups:
            await asyncio.wait(self._lookups.values())

    @property
    def trusted(self) -> set[str]:
        """The ids of the keys that are accepted without a look-up."""
        since, now = self._clock() - self._ttl, time.time()
        records = (cached.record for cached in self._known.values() if cached.read_at > since)
        return {it.id for it in records if it.is_active(now) and it.id not in self._revoked}

    def forget(self, key_id: str) -> None:
        """Refuse a revoked key from now on, even if a look-up under way still finds it active."""
        bounded_dict.put(self._revoked, key_id, None, MOST_KEYS)

    async def write_last_used(self) -> None:
        """Write to the database when keys were last used. Raises `StoreUnavailable`; the next
        call then writes what this one could not."""
        now = time.time()
        self._written = {k: at for k, at in self._written.items() if now - at < WRITE_EVERY}
        due = {k: at for k, at in self._last_used.items() if k not in self._written}
        await rows.write_last_used(self.database, due)
        self._written.update(due)
        self._last_used = {k: at for k, at in self._last_used.items() if at > due.get(k, 0.0)}

    async def _find(self, digest: str) -> CachedKey | None:
        now = self._clock()
        cached = self._known.get(digest)
        if cached is not None and now < cached.read_at + self._ttl:
            return cached
        if cached is None and now < self._unknown_until.get(digest, 0.0):
            return None
        in_grace = cached is not None and now < cached.read_at + self._ttl + self._grace
        try:
            lookup = self._lookup(digest, now)
            if in_grace and self._away:
                return cached  # a known key need not wait for the database to come back
            return await asyncio.shield(lookup)
        except StoreUnavailable:
            if in_grace:
                return cached
            raise

    def _lookup(self, digest: str, now: float) -> "asyncio.Task[CachedKey | None]":
        """One look-up for all requests that wait for it; it goes on when one of them leaves.
        Raises `StoreUnavailable` where the database would not answer."""
        lookup = self._lookups.get(digest)
        if lookup is None:
            if now < self._paused_until or len(self._lookups) >= MOST_LOOKUPS:
                raise StoreUnavailable(
                    "The key database cannot be reached. Try again in 2 seconds."
                )
            lookup = asyncio.create_task(self._read(digest, now))
            self._lookups[digest] = lookup
            lookup.add_done_callback(lambda done: self._lookup_done(digest, done))
        return lookup

    def _lookup_done(self, digest: str, lookup: "asyncio.Task[CachedKey | None]") -> None:
        del self._lookups[digest]
        if not lookup.cancelled():
            lookup.exception()  # asyncio would log it where every request has left

    async def _read(self, digest: str, now: float) -> CachedKey | None:
        try:
            record = await rows.by_hash(self.database, digest)
        except StoreUnavailable:
            self._away, self._paused_until = True, self._clock() + PAUSE
            raise
        self._away = False
        if record is None or not keys.digests_equal(record.hash, digest):
            self._known.pop(digest, None)
            bounded_dict.put(self._unknown_until, digest, now + UNKNOWN_TTL, MOST_KEYS)
            return None
        cached = CachedKey(record, _caller(record), now)
        bounded_dict.put(self._known, digest, cached, MOST_KEYS)
        return cached


def _caller(key: KeyRecord) -> Caller:
    allowance = Allowance(
        requests_per_minute=key.requests_per_minute,
        tokens_per_minute=key.tokens_per_minute,
        tokens_per_day=key.tokens_per_day,
        streams=key.streams,
    )
    return Caller(
        owner=key.owner,
        key=key.id,
        scopes=frozenset(key.scopes),
        models=None if key.models is None else frozenset(key.models),
        allowance=allowance,
    )
