"""One log in memory: a list, who holds it, and who waits for more.

A reader that has seen everything leaves a future; the next append resolves it. So an append costs
a list append and a wake-up per waiting reader, and a reader that was slow finds all that has come
since in one batch.
"""

import asyncio
from collections.abc import Callable, Sequence

from streamapi.generation.event import CONTENT, ENDINGS, Cancelled, Event, Wait, encode
from streamapi.generation.log import Conflict, Entry, Stopped
from streamapi.generation.watch import Watch

SHARED = (*CONTENT, Wait)


def entries_of(position: int, events: Sequence[Event]) -> list[Entry]:
    """The events at their places, encoded for all who will read them."""
    return [
        Entry(n, event, encode(event) if isinstance(event, SHARED) else b"")
        for n, event in enumerate(events, position)
    ]


class Kept:
    """One log: its entries, who holds it, and who waits for more. What is `broken` cannot be
    read on here, though it may go on elsewhere."""

    __slots__ = (
        "broken", "ended", "entries", "generations", "holds", "released", "size", "stop",
        "stopping", "waiting",
    )  # fmt: skip

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.ended = False
        self.size = 0
        self.holds: set[str] = set()
        self.released: dict[str | None, Entry] = {}  # the ending of those who let go early
        self.generations: list[str] = []
        self.stopping = False
        self.stop: Callable[[Stopped], None] | None = None
        self.waiting: list[asyncio.Future[None]] = []
        self.broken: Exception | None = None

    def takes(self, log: str, entries: Sequence[Entry]) -> None:
        """Raise `Conflict` unless the entries may come next."""
        if self.ended or entries[0].n != len(self.entries) + 1:
            raise Conflict(f"{log} does not take {entries[0].n}")
        for entry in entries[:-1]:
            if isinstance(entry.event, ENDINGS):
                raise Conflict(f"{log} cannot go on after an ending")

    def leave(self, generation: str, why: Stopped) -> None:
        """The log goes on for others; this generation ends where the log stands now."""
        self.holds.discard(generation)
        if why != "shutdown":
            ending = Entry(len(self.entries) + 1, Cancelled(why), b"")
            self.released[generation] = ending
            self.wake()

    def wake(self) -> None:
        """Something has happened: let all who wait look."""
        waiting, self.waiting = self.waiting, []
        for reader in waiting:
            if not reader.done():
                reader.set_result(None)

    async def news(self, alarm: "Alarm | None") -> bool:
        """Wait for an append. True when the alarm rang instead."""
        reader = asyncio.get_running_loop().create_future()
        self.waiting.append(reader)
        if alarm is not None:
            alarm.watch(reader)
        try:
            await reader
        except asyncio.CancelledError:
            if reader in self.waiting:  # or a log that hangs would collect those who left
                self.waiting.remove(reader)
            raise
        return alarm is not None and alarm.rang()


class Alarm:
    """Wakes a reader after a silence."""

    def __init__(self, seconds: float) -> None:
        self._now = asyncio.get_running_loop().time
        self._seconds = seconds
        self._since = self._now()
        self._reader: asyncio.Future[None] | None = None
        self._rang = False
        self._watch = Watch(self._since + seconds, self._look)

    def watch(self, reader: "asyncio.Future[None]") -> None:
        self._reader = reader
        self._since = self._now()

    def rang(self) -> bool:
        """Whether it rang since this was asked."""
        rang, self._rang = self._rang, False
        return rang

    def stop(self) -> None:
        self._watch.stop()

    def _look(self, now: float) -> float:
        if now < self._since + self._seconds:
            return self._since + self._seconds
        if self._reader is not None and not self._reader.done():
            self._rang = True
            self._reader.set_result(None)
        return now + self._seconds
