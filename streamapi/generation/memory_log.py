"""Logs in the memory of one process: the default backend, and the one that tests run on.

Bounds, and the fate of who exceeds them: a log too long ends as `output_too_large`; of too many
logs, or bytes, a finished one is forgotten (`finished.py` says which), and when none is finished a
new one is `overloaded`; of too many generations, one without a promise (`remembered.py`). A restart
forgets everything.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence

import msgspec

from streamapi.errors import OutputTooLarge, Overloaded, ProducerLost
from streamapi.generation.event import ENDINGS, Event, Failed
from streamapi.generation.finished import By, FinishedLogs
from streamapi.generation.generation import Generation
from streamapi.generation.log import LOST_AT, Conflict, Eager, Entry, LogGone, Stopped, Tail
from streamapi.generation.remembered import Held, Remembered
from streamapi.generation.stored_log import (
    LOG_COST,
    Reader,
    StoredLog,
    cost_of,
    entries_of,
    hold_cost,
)

BATCH = 128
"""Events that a reader takes at once. Between two batches, the event loop runs other tasks."""


class LogBounds(msgspec.Struct, frozen=True):
    """`ttl`: seconds that a log lives after its ending, `expired_ttl`: that its generation is
    remembered after that; `max_total_bytes`: of all logs together, `max_bytes` of the events of
    one."""

    ttl: float = 3600.0
    expired_ttl: float = 86_400.0
    max_bytes: int = 2_000_000
    max_events: int = 100_000
    max_logs: int = 10_000
    max_total_bytes: int = 512_000_000
    max_generations: int = 200_000


class MemoryLogs:
    """See `log.Logs` for the verbs. Lives on one event loop. `promises`: whether a generation
    that is forgotten here is forgotten altogether, and so must not be while a key stands for it.

    What has outlived its time goes when it is asked for, or when something new comes: timers
    for all of it would outnumber the logs."""

    def __init__(
        self,
        bounds: LogBounds | None = None,
        clock: Callable[[], float] = time.monotonic,
        dropped: Callable[[str], None] | None = None,
        promises: bool = True,
    ) -> None:
        self.bounds = bounds or LogBounds()
        self._clock = clock
        self._dropped = dropped
        self._logs: dict[str, StoredLog] = {}
        self._finished = FinishedLogs()
        self._claims: dict[str, _Claim] = {}
        self._generations = Remembered(
            self.bounds.max_generations, self.bounds.expired_ttl, clock, promises, self._forgotten
        )
        self._size = 0

    async def append(self, log: str, position: int, events: Sequence[Event]) -> None:
        self.put(log, entries_of(position, events))

    def put(self, log: str, entries: Sequence[Entry]) -> None:
        """Append what has its positions already: here, or in another process."""
        kept = self._logs.get(log) or self._open(log, entries[0].n)
        kept.takes(log, entries)
        ended = isinstance(entries[-1].event, ENDINGS)
        size = cost_of(entries, ended)
        if not ended and (
            kept.size + size > self.bounds.max_bytes or entries[-1].n >= self.bounds.max_events
        ):
            raise OutputTooLarge(
                f"One answer may hold {self.bounds.max_bytes:,} bytes "
                f"and {self.bounds.max_events:,} events."
            )
        opening = 0 if kept.entries else LOG_COST
        if not ended and self._size + size + opening > self.bounds.max_total_bytes:
            self._make_room(size + opening)
        self._logs[log] = kept
        kept.entries.extend(entries)
        kept.size += size
        self._size += size + opening
        if ended:
            self._end(log, kept)
        else:
            kept.hand(entries)

    def lose(self, log: str, ending: Entry) -> None:
        """End a log whose writer is gone, at `LOST_AT`."""
        kept = self._logs.get(log)
        if kept is not None and not kept.ended:
            kept.lost = ending
            self._end(log, kept)

    def _end(self, log: str, kept: StoredLog) -> None:
        kept.ended, kept.stop = True, None
        self._finished.add(log, self._clock(), kept.cost, kept.owner, kept.promised)
        for generation in kept.generations:
            self._generations.ended(generation)
        kept.wake()

    async def read(
        self,
        log: str,
        after: int = 0,
        silence: float | None = None,
        hold: str | None = None,
        eager: Eager | None = None,
    ) -> AsyncGenerator[Sequence[Entry], None]:
        kept = self._kept(log)
        reader = Reader(after, silence, eager)
        try:
            while True:
                last, ending = len(kept.entries), kept.apart(hold)
                if ending is not None:
                    last = min(last, ending.n - 1)
                if reader.n < last:
                    batch = kept.entries[reader.n : min(last, reader.n + BATCH)]
                    reader.n = batch[-1].n
                    yield batch
                    if reader.n < last:
                        await asyncio.sleep(0)
                elif ending is not None or kept.ended:
                    break
                elif kept.broken is not None:
                    raise kept.broken
                elif await reader.news(kept):
                    yield ()  # silence
            if ending is not None and reader.n < ending.n:
                yield (ending,)
            elif (last if ending is None else ending.n) < reader.n < LOST_AT:
                lost = ProducerLost("This log ended before the event that was asked for.")
                yield (Entry(LOST_AT, Failed(lost.problem()), b""),)
        finally:
            reader.stop()

    async def tail(self, log: str, hold: str | None = None) -> Tail:
        kept = self._kept(log)
        ending = kept.apart(hold)
        return Tail(kept.tail, kept.ended) if ending is None else Tail(ending.n, True)

    def weigh(self, log: str, after: int) -> int | None:
        kept = self._logs.get(log)
        return None if kept is None else kept.weigh(after)

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
        self._claims[name] = _Claim(generation, self._clock() + ttl)
        return generation

    async def claimed(self, name: str) -> str | None:
        claim = self._claims.get(name)
        return None if claim is None or claim.until <= self._clock() else claim.generation

    async def hold(self, generation: Generation) -> None:
        kept = self._kept(generation.log)
        if kept.stopping and not kept.ended:
            raise Conflict(f"{generation.log} is being stopped")
        cost = hold_cost(generation)
        before = self._generations.get(generation.id)
        if before is None:
            if kept.generations:  # who begins a log had its room when the log was opened
                self._generations.make_room()
                if self._size + cost > self.bounds.max_total_bytes:
                    self._make_room(cost)
                kept = self._kept(generation.log)
            self._generations.add(generation, kept.ended)
        else:
            if before.generation.log != generation.log:
                self._let_go(before.generation)
            self._generations.moved(before, generation, kept.ended)
        self._size += kept.hold(generation, cost)
        if kept.ended:
            self._finished.update(generation.log, kept.cost, kept.owner, kept.promised)

    async def find(self, generation: str) -> Generation | None:
        self._sweep()
        held = self._generations.get(generation)
        return None if held is None else held.generation

    def arrive(self, generation: Generation) -> None:
        pass  # there is no other process

    async def release(self, generation: Generation, why: Stopped) -> None:
        kept = self._logs.get(generation.log)
        if kept is None or kept.ended or generation.id not in kept.holds:
            return
        if kept.holds == {generation.id}:
            kept.holds.clear()
            await self.stop(generation.log, why)
        else:
            kept.leave(generation.id, why)

    async def forget(self, generation: Generation) -> None:
        await self.release(generation, "caller")
        self._let_go(generation)
        self.forget_generation(generation.id)

    async def stop(self, log: str, why: Stopped) -> None:
        kept = self._logs.get(log)
        if kept is not None and not kept.ended and kept.stop is not None:
            kept.stopping = True
            kept.stop(why)

    @property
    def available(self) -> bool:
        return True

    async def start(self) -> None:
        pass  # nothing runs beside

    async def aclose(self) -> None:
        pass  # nothing is held outside

    def watch(self, log: str, stop: Callable[[Stopped], None]) -> None:
        self._kept(log).stop = stop

    def on_lost(self, report: Callable[[Generation], None]) -> None:
        pass  # the writer of a log in memory is in this process

    def get(self, log: str) -> StoredLog | None:
        """The log itself, for a backend that serves its logs from memory."""
        return self._logs.get(log)

    def holders(self, log: str) -> list[Generation]:
        """The generations that hold a log, as far as they are remembered here; the one that began
        it comes first."""
        kept = self._logs.get(log)
        if kept is None:
            return []
        found = (self._generations.get(it) for it in kept.generations if it in kept.holds)
        return [held.generation for held in found if held is not None]

    def drop(self, log: str) -> None:
        """Forget a log. Readers on it keep it until they are through."""
        kept = self._logs.pop(log, None)
        self._finished.remove(log)
        if kept is None:
            return
        self._size -= kept.cost
        for generation in kept.generations:
            self._generations.log_gone(generation, log)
        if self._dropped is not None:
            self._dropped(log)

    def forget_generation(self, generation: str) -> None:
        """Drop the record of a generation, and its claims."""
        self._generations.forget(generation)

    def _forgotten(self, held: Held) -> None:
        generation = held.generation
        for name in held.names:
            if name in self._claims and self._claims[name].generation == generation.id:
                del self._claims[name]
        kept = self._logs.get(generation.log)
        if kept is not None:
            self._size -= kept.forget(generation.id)

    def _kept(self, log: str) -> StoredLog:
        self._sweep()
        kept = self._logs.get(log)
        if kept is None:
            raise LogGone(log)
        return kept

    def _open(self, log: str, position: int) -> StoredLog:
        if position != 1:
            raise Conflict(f"{log} is gone")
        self._sweep()
        self._generations.make_room()
        while len(self._logs) >= self.bounds.max_logs and self._give_way("logs"):
            pass
        if len(self._logs) >= self.bounds.max_logs:
            raise Overloaded("As many generations are running as this server can hold.")
        return StoredLog()

    def _make_room(self, size: int) -> None:
        while self._size + size > self.bounds.max_total_bytes and self._give_way("bytes"):
            pass
        if self._size + size > self.bounds.max_total_bytes:
            raise Overloaded("The running answers fill the memory that this server has for them.")

    def _give_way(self, by: By) -> bool:
        log = self._finished.gives_way(by)
        if log is not None:
            self.drop(log)
        return log is not None

    def _sweep(self) -> None:
        """Forget what has outlived its time. The oldest comes first, so this looks at one."""
        before = self._clock() - self.bounds.ttl
        while (log := self._finished.expired(before)) is not None:
            self.drop(log)
        self._generations.sweep()

    def _let_go(self, generation: Generation) -> None:
        """Take the generation off its log, and drop a log that nobody holds."""
        kept = self._logs.get(generation.log)
        if kept is not None:
            kept.holds.discard(generation.id)
            self._size -= kept.forget(generation.id)
            if not kept.holds:
                self.drop(generation.log)


class _Claim(msgspec.Struct, frozen=True):
    generation: str
    until: float
