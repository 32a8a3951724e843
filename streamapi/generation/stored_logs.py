"""What the memory of a process holds: logs, the generations on them, and claims.

Each has a bound. A log that is too long fails as `output_too_large`. When there are too many logs,
or bytes, a finished log is dropped (`finished.py` says which); when none is finished, a new log is
refused as `overloaded`. When there are too many generations, one without a promise is forgotten
(`remembered.py`). A restart forgets everything.
"""

import time
from collections.abc import Callable, Sequence

import msgspec

from streamapi.errors import OutputTooLarge, Overloaded
from streamapi.generation.event import ENDINGS
from streamapi.generation.finished import By, FinishedLogs
from streamapi.generation.generation import Generation
from streamapi.generation.log import Conflict, Entry, LogGone
from streamapi.generation.log_bounds import LogBounds
from streamapi.generation.remembered import Held, Remembered
from streamapi.generation.stored_log import LOG_COST, StoredLog, cost_of, hold_cost


class Claim(msgspec.Struct, frozen=True):
    """The generation that a name points at, and until when."""

    generation: str
    until: float


class StoredLogs:
    """Logs, generations and claims within `bounds`. `dropped` is called with each log that goes.
    `promises` says whether a generation that is forgotten here is forgotten altogether, and so
    must stay while an idempotency key stands for it.

    What is too old goes when someone asks for it, or when something new comes: timers for all of
    it would outnumber the logs."""

    def __init__(
        self,
        bounds: LogBounds,
        clock: Callable[[], float] = time.monotonic,
        dropped: Callable[[str], None] | None = None,
        promises: bool = True,
    ) -> None:
        self.bounds = bounds
        self._clock = clock
        self._dropped = dropped
        self._logs: dict[str, StoredLog] = {}
        self._finished = FinishedLogs()
        self._claims: dict[str, Claim] = {}
        self._generations = Remembered(
            bounds.max_generations, bounds.expired_ttl, clock, promises, self._forgotten
        )
        self._size = 0

    def get(self, log: str) -> StoredLog | None:
        """The log of this name, if it is here."""
        return self._logs.get(log)

    def put(self, log: str, entries: Sequence[Entry]) -> None:
        """Append entries that have their positions already: from here, or from another process.
        Raises `Conflict`, `OutputTooLarge` and `Overloaded`."""
        stored = self._logs.get(log) or self._open(log, entries[0].n)
        stored.takes(log, entries)
        ended = isinstance(entries[-1].event, ENDINGS)
        size = cost_of(entries, ended)
        if not ended and (
            stored.size + size > self.bounds.max_bytes or entries[-1].n >= self.bounds.max_events
        ):
            raise OutputTooLarge(
                f"One answer may hold {self.bounds.max_bytes:,} bytes "
                f"and {self.bounds.max_events:,} events."
            )
        opening = 0 if stored.entries else LOG_COST
        if not ended and self._size + size + opening > self.bounds.max_total_bytes:
            self._make_room(size + opening)
        self._logs[log] = stored
        stored.entries.extend(entries)
        stored.size += size
        self._size += size + opening
        if ended:
            self._end(log, stored)
        else:
            stored.hand(entries)

    def lose(self, log: str, ending: Entry) -> None:
        """End a log whose writer is gone, at `LOST_AT`."""
        stored = self._logs.get(log)
        if stored is not None and not stored.ended:
            stored.lost = ending
            self._end(log, stored)

    def drop(self, log: str) -> None:
        """Forget a log. Its readers keep it until they are through; without an ending, they get
        `LogGone` behind what has come."""
        stored = self._logs.pop(log, None)
        self._finished.remove(log)
        if stored is None:
            return
        if not stored.ended and stored.broken is None:
            stored.broken = LogGone(log)
            stored.wake()
        self._size -= stored.cost
        for generation in stored.generations:
            self._generations.log_gone(generation, log)
        if self._dropped is not None:
            self._dropped(log)

    def add(self, generation: Generation) -> None:
        """Let the generation hold its log, in place of the log that it held before. Raises
        `LogGone`, `Conflict` for a log that is being stopped, and `Overloaded`."""
        stored = self._stored(generation.log)
        if stored.stopping and not stored.ended:
            raise Conflict(f"{generation.log} is being stopped")
        cost = hold_cost(generation)
        before = self._generations.get(generation.id)
        if before is None:
            if stored.generations:  # the one that begins a log got its room with the log
                self._generations.make_room()
                if self._size + cost > self.bounds.max_total_bytes:
                    self._make_room(cost)
                stored = self._stored(generation.log)
            self._generations.add(generation, stored.ended)
        else:
            if before.generation.log != generation.log:
                self._let_go(before.generation)
            self._generations.moved(before, generation, stored.ended)
        self._size += stored.hold(generation, cost)
        if stored.ended:
            self._finished.update(generation.log, stored.cost, stored.owner, stored.promised)

    def holders(self, log: str) -> list[Generation]:
        """The generations that hold a log, as far as they are remembered here; the one that began
        it comes first."""
        stored = self._logs.get(log)
        if stored is None:
            return []
        found = (self._generations.get(it) for it in stored.generations if it in stored.holds)
        return [held.generation for held in found if held is not None]

    def forget_generation(self, generation: str) -> None:
        """Drop the record of a generation, and its claims."""
        self._generations.forget(generation)

    def _end(self, log: str, stored: StoredLog) -> None:
        stored.ended, stored.stop = True, None
        self._finished.add(log, self._clock(), stored.cost, stored.owner, stored.promised)
        for generation in stored.generations:
            self._generations.ended(generation)
        stored.wake()

    def _forgotten(self, held: Held) -> None:
        generation = held.generation
        for name in held.names:
            if name in self._claims and self._claims[name].generation == generation.id:
                del self._claims[name]
        stored = self._logs.get(generation.log)
        if stored is not None:
            self._size -= stored.forget(generation.id)

    def _stored(self, log: str) -> StoredLog:
        self._sweep()
        stored = self._logs.get(log)
        if stored is None:
            raise LogGone(log)
        return stored

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
        """Drop what is too old. The oldest comes first, so this looks at one."""
        before = self._clock() - self.bounds.ttl
        while (log := self._finished.expired(before)) is not None:
            self.drop(log)
        self._generations.sweep()

    def _let_go(self, generation: Generation) -> None:
        """Take the generation off its log, and drop a log without a hold."""
        stored = self._logs.get(generation.log)
        if stored is not None:
            stored.holds.discard(generation.id)
            self._size -= stored.forget(generation.id)
            if not stored.holds:
                self.drop(generation.log)
