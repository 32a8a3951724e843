"""One log in memory: its entries, the generations that hold it, and the readers that wait.

A reader that has seen everything waits in a list. The next append wakes it, or hands it the new
entries at once when it is eager. So an append costs a list append and one call or wake-up for each
waiting reader, and a slow reader finds all that has come since in one batch.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

from streamapi.generation.event import CONTENT, ENDINGS, Done, Event, Wait, encode, let_go
from streamapi.generation.generation import Generation
from streamapi.generation.log import LOST_AT, Conflict, Eager, Entry, Stopped
from streamapi.generation.timers import LazyTimer

logger = logging.getLogger(__name__)

SHARED = (*CONTENT, Wait)

SAMPLE = 200
"""Events that are looked at to weigh a log: all events of a long log would take milliseconds."""

FRAME, ENDING = 60, 500
"""Bytes on the wire of an event beside its JSON, and of an ending beside its result."""

ENTRY_COST = 150
"""Bytes of memory that an event takes beside its text and its JSON: the objects around them."""

LOG_COST = 1200
"""The same for a log beside its events."""

HOLD_COST = 900
"""The same for a generation, with the claims that point at it, beside its metadata."""

PAIR_COST = 120
"""The same for a pair of metadata."""


def entries_of(position: int, events: Sequence[Event]) -> list[Entry]:
    """The events at their places, encoded for all who will read them."""
    return [
        Entry(n, event, encode(event) if isinstance(event, SHARED) else b"")
        for n, event in enumerate(events, position)
    ]


def cost_of(entries: Sequence[Entry], ended: bool) -> int:
    """How many bytes of memory the entries take; the last may be an ending.

    Python keeps a text that is not ASCII twice once it was encoded: as one to four bytes for each
    character, and as UTF-8. An ending has no JSON here, but may hold the whole answer."""
    size = sum([ENTRY_COST + len(it.data) * (2 if it.data.isascii() else 3) for it in entries])
    if ended:
        ending = encode(entries[-1].event)
        size += len(ending) * (1 if ending.isascii() else 2)
    return size


def hold_cost(generation: Generation) -> int:
    """How many bytes of memory it takes to remember a generation while its log is there."""
    pairs = generation.metadata.items()
    return HOLD_COST + sum([len(name) + len(value) + PAIR_COST for name, value in pairs])


class StoredLog:
    """One log. A `broken` one cannot be read on here, though it may go on elsewhere.

    `size` is the memory of its events, `held_size` that of all generations on it; `generations`
    has that of each. `owner` is the owner of its holds, who never differ (empty: it was never held
    here). `promised` says that an idempotency key stands for one of them. `released` has the
    endings of generations that let go early, `lost` the one at `LOST_AT` of a log whose writer is
    gone."""

    __slots__ = (
        "broken", "ended", "entries", "generations", "held_size", "holds", "lost", "owner",
        "promised", "released", "size", "stop", "stopping", "waiting",
    )  # fmt: skip

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.ended = False
        self.lost: Entry | None = None
        self.size = 0
        self.holds: set[str] = set()
        self.released: dict[str | None, Entry] = {}
        self.generations: dict[str, int] = {}
        self.held_size = 0
        self.owner = ""
        self.promised = False
        self.stopping = False
        self.stop: Callable[[Stopped], None] | None = None
        self.waiting: list[Reader] = []
        self.broken: Exception | None = None

    @property
    def tail(self) -> int:
        """The position of the last event, or of the ending of a log that is lost."""
        return len(self.entries) if self.lost is None else LOST_AT

    def apart(self, generation: str | None) -> Entry | None:
        """The ending that a generation's readers get and that is not among the entries."""
        return self.released.get(generation, self.lost)

    @property
    def cost(self) -> int:
        """How many bytes of memory it takes, with the generations on it."""
        return LOG_COST + self.size + self.held_size

    def hold(self, generation: Generation, cost: int) -> int:
        """Let a generation hold the log. Returns how many more bytes it takes now."""
        more = cost - self.generations.get(generation.id, 0)
        self.held_size += more
        self.holds.add(generation.id)
        self.generations[generation.id] = cost
        self.owner = generation.owner
        self.promised = self.promised or generation.promise > 0
        return more

    def forget(self, generation: str) -> int:
        """Forget a generation on the log. Returns how many fewer bytes it takes now."""
        less = self.generations.pop(generation, 0)
        self.held_size -= less
        return less

    def takes(self, log: str, entries: Sequence[Entry]) -> None:
        """Raise `Conflict` unless the entries may come next."""
        if self.ended or entries[0].n != len(self.entries) + 1:
            raise Conflict(f"{log} does not take {entries[0].n}")
        for entry in entries[:-1]:
            if isinstance(entry.event, ENDINGS):
                raise Conflict(f"{log} cannot go on after an ending")

    def weigh(self, after: int) -> int:
        """The bytes that a reader behind `after` gets, roughly."""
        events = len(self.entries) - after
        if events <= 0:
            return 0
        step = max(1, events // SAMPLE)
        data = sum([len(self.entries[n].data) for n in range(after, len(self.entries), step)])
        last = self.entries[-1].event
        # An ending has no data of its own yet: it repeats the content in its result.
        texts = last.result.values() if isinstance(last, Done) else ()
        result = sum(len(text) for text in texts if isinstance(text, str))
        return data * step + events * FRAME + (ENDING + result if self.ended else 0)

    def leave(self, generation: str, why: Stopped) -> None:
        """End the generation where the log stands now. The log goes on for other generations."""
        self.holds.discard(generation)
        if why != "shutdown":
            ending = Entry(len(self.entries) + 1, let_go(why), b"")
            self.released[generation] = ending
            self.wake()

    def wake(self) -> None:
        """Wake all waiting readers, because something has happened."""
        waiting, self.waiting = self.waiting, []
        for reader in waiting:
            reader.wake()

    def hand(self, entries: Sequence[Entry]) -> None:
        """Hand new entries (no ending) to the waiting readers. An eager one takes them now; the
        others wake up for them."""
        waiting, self.waiting = self.waiting, []
        self.waiting += [reader for reader in waiting if reader.takes(entries)]


class Reader:
    """One reader of a log: `n` is the last event that it has. With `silence`, it also wakes up
    when nothing has come for so many seconds."""

    __slots__ = ("_eager", "_future", "_now", "_silence", "_silent", "_since", "_timer", "n")

    def __init__(self, after: int, silence: float | None, eager: Eager | None) -> None:
        loop = asyncio.get_running_loop()
        self.n = after
        self._eager = eager
        self._now = loop.time
        self._since = loop.time()
        self._future: asyncio.Future[None] = loop.create_future()
        self._silent = False
        self._silence = silence or 0.0
        self._timer = None if silence is None else LazyTimer(self._since + silence, self._look)

    async def news(self, stored: StoredLog) -> bool:
        """Wait for entries behind `n`. True when a silence has passed instead."""
        self._future = asyncio.get_running_loop().create_future()
        self._since = self._now()
        stored.waiting.append(self)
        try:
            await self._future
        finally:
            if self in stored.waiting:  # a log that hangs must not collect readers that left
                stored.waiting.remove(self)
        rang, self._silent = self._silent, False
        return rang

    def takes(self, entries: Sequence[Entry]) -> bool:
        """Let an eager reader take the entries. False when it wakes up for them instead."""
        eager, follows = self._eager, entries[0].n == self.n + 1
        try:
            if eager is not None and follows and not self._future.done() and eager(entries):
                self.n = entries[-1].n
                self._since = self._now()
                return True
        except Exception:  # no reader harms the writer
            logger.exception("an eager reader failed")
            self._eager = None
        self.wake()
        return False

    def wake(self) -> None:
        """Wake it up, unless it is awake."""
        if not self._future.done():
            self._future.set_result(None)

    def stop(self) -> None:
        """End its timer: it reads no more."""
        if self._timer is not None:
            self._timer.stop()

    def _look(self, now: float) -> float:
        if now < self._since + self._silence:
            return self._since + self._silence
        if not self._future.done():
            self._silent = True
            self._future.set_result(None)
        return now + self._silence
