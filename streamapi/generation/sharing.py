"""Whether a request is answered by what was asked before: one verb, three features.

A claim points a name at a generation. The name of an `Idempotency-Key` gives the same generation
again. The name of a canonical request is the cache, when the log of that generation has ended
well; it is single-flight, while the log still runs: another generation holds the *same log*. A log
that ended badly is replaced, by compare-and-set, and never served again.

A name is looked up before it is claimed. So a repeated request needs no log of its own, and is
answered when there is no room for one.
"""

import hashlib
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress

import msgspec

from streamapi.errors import IdempotencyKeyReused, StoreUnavailable
from streamapi.generation.event import Done, Event
from streamapi.generation.generation import CacheStatus, Generation
from streamapi.generation.log import Conflict, LogGone, Logs
from streamapi.generation.request import GenerationRequest

Begin = Callable[[], Awaitable[None]]
"""Opens a generation's own log, and holds it (`PendingLog.hold`)."""


class Sharing:
    """Claims names for a generation that is about to begin. Times are in seconds."""

    def __init__(self, logs: Logs, idempotency_ttl: float, cache_ttl: float) -> None:
        self._logs = logs
        self._idempotency_ttl = idempotency_ttl
        self._cache_ttl = cache_ttl

    async def earlier(
        self, request: GenerationRequest, generation: Generation, begin: Begin
    ) -> Generation | None:
        """The generation that answers the request without a new log: an earlier one, or this one
        on the log of another. None: this one has to begin. Raises `IdempotencyKeyReused`."""
        if request.idempotency_key is not None:
            earlier = await self._repeated(request, generation, begin)
            if earlier is not None:
                return earlier
        if request.cache == "off":
            return None
        try:
            return await self._joined(request, generation, begin)
        except StoreUnavailable:
            return None  # sharing only saves work; without the store, the model is asked

    async def moved(self, generation: Generation) -> Generation | None:
        """The generation on the log that it has joined since it was found, if it has."""
        with suppress(StoreUnavailable):
            found = await self._logs.find(generation.id)
            if found is not None and found.log != generation.log:
                return found
        return None

    async def _repeated(
        self, request: GenerationRequest, generation: Generation, begin: Begin
    ) -> Generation | None:
        """The generation that the idempotency key began earlier, unless that one failed or was
        cancelled: a caller who tries again wants an answer, not the same failure. Raises
        `IdempotencyKeyReused`."""
        name = f"key/{generation.owner}/{_tagged(request.idempotency_key or '')}"
        replaces: str | None = None
        while True:
            earlier = await self._claim(name, generation, begin, self._idempotency_ttl, replaces)
            if earlier is None:
                return None
            if earlier.digest != generation.digest:
                raise IdempotencyKeyReused(
                    "This Idempotency-Key was sent with another body. Use a new key."
                )
            try:
                last = await self._ending(earlier, own=True)
            except LogGone:
                return earlier  # it was paid for once: its reader learns that it has expired
            if last is None or request.once or isinstance(last, Done):
                return earlier
            replaces = earlier.id

    async def _joined(
        self, request: GenerationRequest, generation: Generation, begin: Begin
    ) -> Generation | None:
        """The caller's generation on the log of an earlier one that asked for the same: a hit
        when that log has ended well, collapsed while it runs."""
        name = f"cache/{generation.owner}/{_tagged(request.cache_key)}"
        refresh = request.cache == "refresh"
        replaces: str | None = None
        while True:
            leader = await self._claim(name, generation, begin, self._cache_ttl, replaces)
            if leader is None:
                return None
            if not refresh:
                try:
                    if joined := await self._join(leader, generation):
                        return joined
                except (Conflict, LogGone):
                    pass  # its log is being stopped, or has expired: lead in its place
            replaces, refresh = leader.id, False

    async def _join(self, leader: Generation, generation: Generation) -> Generation | None:
        """The caller's generation on the leader's log, unless that ended badly."""
        last = await self._ending(leader, own=False)
        if last is not None and not (isinstance(last, Done) and last.finish_reason == "stop"):
            return None
        cache: CacheStatus = "collapsed" if last is None else "hit"
        joined = msgspec.structs.replace(generation, log=leader.log, cache=cache)
        await self._logs.hold(joined)
        return joined

    async def _claim(
        self, name: str, generation: Generation, begin: Begin, ttl: float, replaces: str | None
    ) -> Generation | None:
        """The generation that the name points at, or None once it points at this one."""
        winner = await self._logs.claimed(name)
        while winner != generation.id:
            if winner not in (None, replaces):
                if found := await self._logs.find(winner):
                    return found
                replaces = winner  # that one was forgotten, so its name is free
            await begin()  # append first, then claim: a name never points at a log without start
            winner = await self._logs.claim(name, generation.id, ttl, replaces)
        return None

    async def _ending(self, generation: Generation, own: bool) -> Event | None:
        """The ending of a generation's log, or (`own`) the generation's; None while it runs."""
        hold = generation.id if own else None
        tail = await self._logs.tail(generation.log, hold)
        if not tail.ended:
            return None
        async with aclosing(self._logs.read(generation.log, tail.n - 1, hold=hold)) as batches:
            async for batch in batches:
                return batch[-1].event
        return None


def _tagged(text: str) -> str:
    """A name of bounded length. The tag says how it was made, in case that changes one day."""
    return f"1-{hashlib.sha256(text.encode()).hexdigest()}"
