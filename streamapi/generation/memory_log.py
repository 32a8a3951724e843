"""Logs in the memory of one process: the default backend, and the one that tests run on.

`stored_logs.py` has the logs and their bounds; here are the verbs.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence

from streamapi.errors import ProducerLost
from streamapi.generation.event import Event, Failed
from streamapi.generation.generation import Generation
from streamapi.generation.log import LOST_AT, Eager, Entry, LogGone, Stopped, Tail
from streamapi.generation.stored_log import Reader, entries_of
from streamapi.generation.stored_logs import Claim, StoredLogs

BATCH = 128
"""Events that a reader takes at once. Between two batches, the event loop runs other tasks."""

BEYOND = "The answer was lost before the event you resume from. Send the request again."


class MemoryLogs(StoredLogs):
    """See `log.Logs` for the verbs. Lives on one event loop."""

    async def append(self, log: str, position: int, events: Sequence[Event]) -> None:
        self.put(log, entries_of(position, events))

    async def read(
        self,
        log: str,
        after: int = 0,
        silence: float | None = None,
        hold: str | None = None,
        eager: Eager | None = None,
    ) -> AsyncGenerator[Sequence[Entry], None]:
        stored = self._stored(log)
        reader = Reader(after, silence, eager)
        try:
            while True:
                last, ending = len(stored.entries), stored.apart(hold)
                if ending is not None:
                    last = min(last, ending.n - 1)
                if reader.n < last:
                    batch = stored.entries[reader.n : min(last, reader.n + BATCH)]
                    reader.n = batch[-1].n
                    yield batch
                    if reader.n < last:
                        await asyncio.sleep(0)
                elif ending is not None or stored.ended:
                    break
                elif stored.broken is not None:
                    raise stored.broken
                elif await reader.news(stored):
                    yield ()  # silence
            if ending is not None and reader.n < ending.n:
                yield (ending,)
            elif (last if ending is None else ending.n) < reader.n < LOST_AT:
                lost = ProducerLost(BEYOND)
                yield (Entry(LOST_AT, Failed(lost.problem()), b""),)
        finally:
            reader.stop()

    async def tail(self, log: str, hold: str | None = None) -> Tail:
        stored = self._stored(log)
        ending = stored.apart(hold)
        return Tail(stored.tail, stored.ended) if ending is None else Tail(ending.n, True)

    def weigh(self, log: str, after: int) -> int | None:
        stored = self._logs.get(log)
        return None if stored is None else stored.weigh(after)

    async def claim(
        self, name: str, generation: str, ttl: float, replaces: str | None = None
    ) -> str:
        earlier = await self.claimed(name)
        if earlier not in (None, replaces):
            return earlier
        held = self._generations.get(generation)
        if held is None:
            raise LogGone(generation)
        if earlier is not None:
            self._generations.unclaimed(earlier, name)
        held.names = (*held.names, name)
        self._claims[name] = Claim(generation, self._clock() + ttl)
        return generation

    async def claimed(self, name: str) -> str | None:
        claim = self._claims.get(name)
        return None if claim is None or claim.until <= self._clock() else claim.generation

    async def hold(self, generation: Generation) -> None:
        self.add(generation)

    async def find(self, generation: str) -> Generation | None:
        self._sweep()
        held = self._generations.get(generation)
        return None if held is None else held.generation

    def arrive(self, generation: Generation) -> None:
        pass  # there is no other process

    async def release(self, generation: Generation, why: Stopped) -> None:
        stored = self._logs.get(generation.log)
        if stored is None or stored.ended or generation.id not in stored.holds:
            return
        if stored.holds == {generation.id}:
            stored.holds.clear()
            await self.stop(generation.log, why)
        else:
            stored.leave(generation.id, why)

    async def forget(self, generation: Generation) -> None:
        await self.release(generation, "caller")
        self._let_go(generation)
        self.forget_generation(generation.id)

    async def stop(self, log: str, why: Stopped) -> None:
        stored = self._logs.get(log)
        if stored is not None and not stored.ended and stored.stop is not None:
            stored.stopping = True
            stored.stop(why)

    @property
    def available(self) -> bool:
        return True

    async def start(self) -> None:
        pass  # nothing runs beside

    async def aclose(self) -> None:
        pass  # nothing is held outside

    def on_stop(self, log: str, stop: Callable[[Stopped], None]) -> None:
        self._stored(log).stop = stop

    def on_lost(self, report: Callable[[Generation], None]) -> None:
        pass  # the writer of a log in memory is in this process
