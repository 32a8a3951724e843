"""Logs in the memory of one process: the default backend, and the one that tests run on.

Bounds, and the fate of who exceeds them: a log too long ends as `output_too_large`; of too many
logs, or bytes, the oldest finished one is forgotten, and when none is finished a new one is
`overloaded`. A restart forgets everything.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence

import msgspec

from streamapi.errors import OutputTooLarge, Overloaded, ProducerLost
from streamapi.generation.event import ENDINGS, Event, Failed
from streamapi.generation.kept import Kept, Reader, entries_of
from streamapi.generation.log import (
    LOST_AT,
    Conflict,
    Eager,
    Entry,
    Generation,
    LogGone,
    Stopped,
    Tail,
)

ENTRY_OVERHEAD = 200  # bytes of memory for an event beside its JSON, roughly
BATCH = 128  # events that a reader takes at once: a replay lets the loop breathe between


class LogBounds(msgspec.Struct, frozen=True):
    """`ttl`: seconds that a log lives after its ending, `expired_ttl`: that its generation is
    remembered after that; `max_total_bytes`: of all logs together."""

    ttl: float = 3600.0
    expired_ttl: float = 86_400.0
    max_bytes: int = 2_000_000
    max_events: int = 100_000
    max_logs: int = 10_000
    max_total_bytes: int = 512_000_000
    max_generations: int = 50_000


class MemoryLogs:
    """See `log.Logs` for the verbs. Lives on one event loop.

    What has outlived its time goes when it is asked for, or when something new comes: timers
    for all of it would outnumber the logs."""

    def __init__(
        self,
        bounds: LogBounds | None = None,
        clock: Callable[[], float] = time.monotonic,
        dropped: Callable[[str], None] | None = None,
    ) -> None:
        self.bounds = bounds or LogBounds()
        self._clock = clock
        self._dropped = dropped
        self._logs: dict[str, Kept] = {}
        self._finished: dict[str, float] = {}  # when each ended; the oldest first
        self._claims: dict[str, _Claim] = {}
        self._held: dict[str, _Held] = {}  # the oldest first
        self._logless: dict[str, float] = {}  # since when a held generation's log is gone
        self._size = 0

    async def append(self, log: str, position: int, events: Sequence[Event]) -> None:
        self.put(log, entries_of(position, events))

    def put(self, log: str, entries: Sequence[Entry]) -> None:
        """Append what has its positions already: here, or in another process."""
        kept = self._logs.get(log) or self._open(log, entries[0].n)
        kept.takes(log, entries)
        ended = isinstance(entries[-1].event, ENDINGS)
        # An ending repeats the content in its result, so it weighs as much again.
        size = sum([len(entry.data) + ENTRY_OVERHEAD for entry in entries])
        size += kept.size if ended else 0
        if not ended and (
            kept.size + size > self.bounds.max_bytes or entries[-1].n >= self.bounds.max_events
        ):
            raise OutputTooLarge(
                f"One answer may hold {self.bounds.max_bytes:,} bytes "
                f"and {self.bounds.max_events:,} events."
            )
        if not ended and self._size + size > self.bounds.max_total_bytes:
            self._make_room(size)
        self._logs[log] = kept
        kept.entries.extend(entries)
        kept.size += size
        self._size += size
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

    def _end(self, log: str, kept: Kept) -> None:
        kept.ended, kept.stop = True, None
        self._finished[log] = self._clock()
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
        self._held[generation].names.append(name)
        self._claims[name] = _Claim(generation, self._clock() + ttl)
        return generation

    async def claimed(self, name: str) -> str | None:
        claim = self._claims.get(name)
        return None if claim is None or claim.until <= self._clock() else claim.generation

    async def hold(self, generation: Generation) -> None:
        kept = self._kept(generation.log)
        if kept.stopping and not kept.ended:
            raise Conflict(f"{generation.log} is being stopped")
        kept.holds.add(generation.id)
        kept.generations.append(generation.id)
        before = self._held.get(generation.id)
        if before is None:
            self._held[generation.id] = _Held(generation, [])
        else:
            self._let_go(before.generation)
            before.generation = generation
        while len(self._held) > self.bounds.max_generations:
            self.forget_generation(next(iter(self._held)))

    async def find(self, generation: str) -> Generation | None:
        self._sweep()
        held = self._held.get(generation)
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

    def get(self, log: str) -> Kept | None:
        """The log itself, for a backend that serves its logs from memory."""
        return self._logs.get(log)

    def holders(self, log: str) -> list[Generation]:
        """The generations that hold a log, as far as they are remembered here."""
        kept = self._logs.get(log)
        found = (self._held.get(generation) for generation in (kept.holds if kept else ()))
        return [held.generation for held in found if held is not None]

    def drop(self, log: str) -> None:
        """Forget a log. Readers on it keep it until they are through."""
        kept = self._logs.pop(log, None)
        self._finished.pop(log, None)
        if kept is None:
            return
        self._size -= kept.size
        now = self._clock()
        for generation in kept.generations:
            held = self._held.get(generation)
            if held is not None and held.generation.log == log:
                self._logless[generation] = now
        if self._dropped is not None:
            self._dropped(log)

    def forget_generation(self, generation: str) -> None:
        """Drop the record of a generation, and its claims."""
        self._logless.pop(generation, None)
        held = self._held.pop(generation, None)
        for name in held.names if held is not None else ():
            if name in self._claims and self._claims[name].generation == generation:
                del self._claims[name]

    def _kept(self, log: str) -> Kept:
        self._sweep()
        kept = self._logs.get(log)
        if kept is None:
            raise LogGone(log)
        return kept

    def _open(self, log: str, position: int) -> Kept:
        if position != 1:
            raise Conflict(f"{log} is gone")
        self._sweep()
        while len(self._logs) >= self.bounds.max_logs and self._finished:
            self.drop(next(iter(self._finished)))
        if len(self._logs) >= self.bounds.max_logs:
            raise Overloaded("As many generations are running as this server can hold.")
        return Kept()

    def _make_room(self, size: int) -> None:
        while self._size + size > self.bounds.max_total_bytes and self._finished:
            self.drop(next(iter(self._finished)))
        if self._size + size > self.bounds.max_total_bytes:
            raise Overloaded("The running answers fill the memory that this server has for them.")

    def _sweep(self) -> None:
        """Forget what has outlived its time. The oldest comes first, so this looks at one."""
        now = self._clock()
        while self._finished:
            log, ended = next(iter(self._finished.items()))
            if now - ended < self.bounds.ttl:
                break
            self.drop(log)
        while self._logless:
            generation, since = next(iter(self._logless.items()))
            if now - since < self.bounds.expired_ttl:
                break
            self.forget_generation(generation)

    def _let_go(self, generation: Generation) -> None:
        """Take the generation off its log, and drop a log that nobody holds."""
        kept = self._logs.get(generation.log)
        if kept is not None:
            kept.holds.discard(generation.id)
            if not kept.holds:
                self.drop(generation.log)


class _Claim(msgspec.Struct, frozen=True):
    generation: str
    until: float


class _Held(msgspec.Struct):
    generation: Generation
    names: list[str]  # of its claims
