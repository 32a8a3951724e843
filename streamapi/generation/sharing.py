"""Whether a request is answered by what was asked before: one verb, three features.

A claim points a name at a generation. Under the name of an `Idempotency-Key`, that *is* the
answer: the same generation. Under the name of a canonical request it is the cache, when the
generation's log has ended well, and single-flight, when the log still runs: another generation
holds the *same log*. What ended badly is replaced, by compare-and-set, and never kept.

A name is looked up before it is claimed: who asks again needs no log of its own, and is answered
when there is no room for one.
"""

import hashlib
from collections.abc import Awaitable, Callable
from contextlib import aclosing

import msgspec

from streamapi.errors import IdempotencyKeyReused
from streamapi.generation.event import Done, Event, Start
from streamapi.generation.generation import CacheStatus, Generation
from streamapi.generation.log import Conflict, LogGone, Logs
from streamapi.generation.request import GenerationRequest

Begin = Callable[[], Awaitable[None]]
"""Opens a generation's own log, and holds it (`PendingLog.hold`)."""


class PendingLog:
    """The log of a generation that begins one: opened once, and held once, by who needs it first.

    A name must point at what is held. Who needs no name asks the model first: until it answers,
    a store that is shared has long been told."""

    def __init__(self, logs: Logs, mine: Generation) -> None:
        self._logs = logs
        self._mine = mine
        self._held = False
        self.opened = False

    async def open(self) -> None:
        """Append the start. Raises `Overloaded`."""
        if not self.opened:
            await self._logs.append(self._mine.log, 1, [Start(self._mine.task, self._mine.created)])
            self.opened = True

    async def hold(self) -> None:
        """Open, and hold."""
        await self.open()
        if not self._held:
            await self._logs.hold(self._mine)
            self._held = True


class Sharing:
    """Claims on behalf of a generation that is about to begin. Times in seconds."""

    def __init__(self, logs: Logs, key_ttl: float, cache_ttl: float) -> None:
        self._logs = logs
        self._key_ttl = key_ttl
        self._cache_ttl = cache_ttl

    async def repeated(
        self, ask: GenerationRequest, mine: Generation, begin: Begin
    ) -> Generation | None:
        """The generation that the idempotency key began earlier, unless that one failed or was
        cancelled: who tries again wants an answer, not the same failure. Raises
        `IdempotencyKeyReused`."""
        name = f"key/{mine.owner}/{_tagged(ask.idempotency_key or '')}"
        replaces: str | None = None
        while True:
            earlier = await self._claim(name, mine, begin, self._key_ttl, replaces)
            if earlier is None:
                return None
            if earlier.digest != mine.digest:
                raise IdempotencyKeyReused("This key was used for another request.")
            try:
                last = await self._ending(earlier, own=True)
            except LogGone:
                return earlier  # it was paid for once: who reads it learns that it has expired
            if last is None or ask.once or isinstance(last, Done):
                return earlier
            replaces = earlier.id

    async def joined(
        self, ask: GenerationRequest, mine: Generation, begin: Begin
    ) -> Generation | None:
        """The caller's generation on the log of an earlier one that asked for the same: a hit
        when that log has ended well, collapsed while it runs."""
        name = f"cache/{mine.owner}/{_tagged(ask.cache_key)}"
        refresh = ask.cache == "refresh"
        replaces: str | None = None
        while True:
            leader = await self._claim(name, mine, begin, self._cache_ttl, replaces)
            if leader is None:
                return None
            if not refresh:
                try:
                    if joined := await self._join(leader, mine):
                        return joined
                except (Conflict, LogGone):
                    pass  # it is being stopped, or has expired: lead in its place
            replaces, refresh = leader.id, False

    async def _join(self, leader: Generation, mine: Generation) -> Generation | None:
        """The caller's generation on the leader's log, unless that ended badly."""
        last = await self._ending(leader, own=False)
        if last is not None and not (isinstance(last, Done) and last.finish_reason == "stop"):
            return None
        cache: CacheStatus = "collapsed" if last is None else "hit"
        generation = msgspec.structs.replace(mine, log=leader.log, cache=cache)
        await self._logs.hold(generation)
        return generation

    async def _claim(
        self, name: str, mine: Generation, begin: Begin, ttl: float, replaces: str | None
    ) -> Generation | None:
        winner = await self._logs.claimed(name)
        while winner != mine.id:
            if winner not in (None, replaces):
                if found := await self._logs.find(winner):
                    return found
                replaces = winner  # that one was forgotten, so its name is free
            await begin()  # append first, then claim: a name never points at a log without start
            winner = await self._logs.claim(name, mine.id, ttl, replaces)
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
    """A name of bounded length; the tag says what made it, for who changes that one day."""
    return f"1-{hashlib.sha256(text.encode()).hexdigest()}"
