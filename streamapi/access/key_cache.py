"""Who shows a key, without asking the database each time.

What the database said of a key is true for `ttl` seconds: so long a revoked key may live on in
another process, and so rarely the database is asked. Requests that show one key at once wait for
one look-up. While the database is away, a key that was good goes on for `grace` seconds more;
one that nobody has seen is neither right nor wrong: 503. What is unknown is remembered briefly,
and apart, so that made-up keys cannot push the real ones out.
"""

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from streamapi.access import keys
from streamapi.errors import KeyExpired, StoreUnavailable, Unauthenticated
from streamapi.generation.request import Allowance, Caller
from streamapi.records import keys as rows
from streamapi.records.database import Database
from streamapi.records.keys import KeyRecord

V = TypeVar("V")

MOST_KEYS = 10_000
"""Keys remembered, of the known and of the unknown; beyond it the oldest is asked for again."""

UNKNOWN_TTL = 5.0
"""Seconds for which a key stays unknown; a key that is just being made may be shown too early."""

MOST_LOOKUPS = 256
"""That wait at once; beyond it the database is as good as away."""

AWAY = 0.5
"""Seconds for which a database that failed is not asked: each look-up would wait its time-out."""

NOTE_EVERY = 60.0
"""Seconds between two notes of a key's last use."""


class Seen(NamedTuple):
    """What the database said, and when it was asked."""

    record: KeyRecord
    caller: Caller
    at: float


class KeyCache:
    """The keys of one process. `clock` is for what is remembered; keys expire by the calendar."""

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
        self._known: dict[str, Seen] = {}
        self._unknown: dict[str, float] = {}
        self._asking: dict[str, asyncio.Task[Seen | None]] = {}
        self._away = False
        self._away_until = 0.0
        self._revoked: dict[str, None] = {}
        self._used: dict[str, float] = {}
        self._noted: dict[str, float] = {}

    async def caller(self, shown: str) -> Caller:
        """Whose key this is, but for the address. Raises `Unauthenticated`, `KeyExpired`, and
        `StoreUnavailable` where nobody can say."""
        if not keys.well_formed(shown):
            raise Unauthenticated("This is not a key of this server.")
        return await self.caller_of(keys.digest(shown))

    async def caller_of(self, digest: str) -> Caller:
        """The same, for a key that was shown before."""
        seen = await self._find(digest)
        if seen is None or seen.record.revoked is not None or seen.record.id in self._revoked:
            raise Unauthenticated("This key is unknown, or was revoked.")
        now = time.time()
        if not seen.record.lives(now):
            raise KeyExpired("This key has expired.")
        if len(self._used) < MOST_KEYS:
            self._used[seen.record.id] = now
        return seen.caller

    def knows(self, shown: str) -> bool:
        """Whether this was a key when it was last looked up: who shows it does not guess."""
        return keys.digest(shown) in self._known

    async def aclose(self) -> None:
        """Wait for the look-ups under way, also those that everybody has left: a database that is
        closed beneath one leaves its connection open."""
        if self._asking:
            await asyncio.wait(self._asking.values())

    @property
    def trusted(self) -> set[str]:
        """The keys that it takes for good without asking the database."""
        since, now = self._clock() - self._ttl, time.time()
        good = (seen.record for seen in self._known.values() if seen.at > since)
        return {key.id for key in good if key.lives(now) and key.id not in self._revoked}

    def forget(self, key: str) -> None:
        """A key was revoked: here it is dead at once, whatever a look-up under way may find."""
        _put(self._revoked, key, None)

    async def note(self) -> None:
        """Write down when keys were last used. Raises `StoreUnavailable`; the next time tells
        it then."""
        now = time.time()
        self._noted = {k: at for k, at in self._noted.items() if now - at < NOTE_EVERY}
        due = {k: at for k, at in self._used.items() if k not in self._noted}
        await rows.used(self.database, due)
        self._noted.update(due)
        self._used = {k: at for k, at in self._used.items() if at > due.get(k, 0.0)}

    async def _find(self, digest: str) -> Seen | None:
        now = self._clock()
        seen = self._known.get(digest)
        if seen is not None and now < seen.at + self._ttl:
            return seen
        if seen is None and now < self._unknown.get(digest, 0.0):
            return None
        good = seen is not None and now < seen.at + self._ttl + self._grace
        try:
            asking = self._ask(digest, now)
            if good and self._away:
                return seen  # who is known need not wait for a database to come back
            return await asyncio.shield(asking)
        except StoreUnavailable:
            if good:
                return seen
            raise

    def _ask(self, digest: str, now: float) -> "asyncio.Task[Seen | None]":
        """One look-up for all who wait for it; it goes on when one of them leaves. Raises
        `StoreUnavailable` where it would not be answered."""
        asking = self._asking.get(digest)
        if asking is None:
            if now < self._away_until or len(self._asking) >= MOST_LOOKUPS:
                raise StoreUnavailable("The records cannot be reached.")
            asking = asyncio.create_task(self._look_up(digest, now))
            self._asking[digest] = asking
            asking.add_done_callback(lambda done: self._asked(digest, done))
        return asking

    def _asked(self, digest: str, done: "asyncio.Task[Seen | None]") -> None:
        del self._asking[digest]
        if not done.cancelled():
            done.exception()  # those who waited may all have left

    async def _look_up(self, digest: str, now: float) -> Seen | None:
        try:
            record = await rows.by_hash(self.database, digest)
        except StoreUnavailable:
            self._away, self._away_until = True, self._clock() + AWAY
            raise
        self._away = False
        if record is None or not keys.same(record.hash, digest):
            self._known.pop(digest, None)
            _put(self._unknown, digest, now + UNKNOWN_TTL)
            return None
        seen = Seen(record, _caller(record), now)
        _put(self._known, digest, seen)
        return seen


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


def _put(bounded: dict[str, V], name: str, value: V) -> None:
    """At the end of the dict: the oldest goes first."""
    bounded.pop(name, None)
    bounded[name] = value
    if len(bounded) > MOST_KEYS:
        del bounded[next(iter(bounded))]
