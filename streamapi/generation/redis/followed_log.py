"""One log of another process, as it arrives entry by entry from its stream in Redis."""

import asyncio
from collections.abc import Sequence

from streamapi.generation.event import let_go
from streamapi.generation.log import LOST_AT, Entry
from streamapi.generation.memory_log import MemoryLogs
from streamapi.generation.redis.wire import unpack, why_of
from streamapi.generation.stored_log import StoredLog


class FollowedLog:
    """A log of another process, copied into `local` as far as it has come. Its readers share it.

    `cursor` is the last entry of the stream that was taken; `loaded` brings the past. `behind` is
    the tail here when Redis was last found to have more; `missing` since when Redis lacks the
    log. `marks` are the endings of generations that let go, until the log has come so far."""

    __slots__ = ("_local", "_marks", "behind", "cursor", "loaded", "log", "missing", "readers")

    def __init__(self, log: str, local: MemoryLogs) -> None:
        self.log = log
        self.cursor = b"0-0"
        self.readers = 0
        self.loaded: asyncio.Task[None] | None = None
        self.behind = -1
        self.missing: float | None = None
        self._marks: list[tuple[str, Entry]] = []
        self._local = local

    @property
    def stored(self) -> StoredLog | None:
        """The copy in memory, once there is an entry."""
        return self._local.get(self.log)

    @property
    def arriving(self) -> bool:
        """Whether the past is here, and more will come."""
        stored = self.stored
        return (
            stored is not None
            and not stored.ended
            and stored.broken is None
            and self.loaded is not None
            and self.loaded.done()
        )

    def read_again(self) -> None:
        """Read the stream again from its start: something is missing."""
        self.cursor = b"0-0"

    def take(self, at: bytes, values: Sequence[bytes]) -> None:
        """Take an entry of the stream. Events that are known already are skipped: a Redis that was
        emptied gets a log again from its start."""
        fields = dict(zip(values[::2], values[1::2], strict=True))
        self.cursor = at
        n = int(fields[b"n"])
        if b"g" in fields:
            why = why_of(fields[b"w"])
            left = let_go("caller" if why == "shutdown" else why)
            self._marks.append((fields[b"g"].decode(), Entry(n, left, b"")))
        elif not self._append(n, fields):
            return
        self._apply_marks()

    def _append(self, n: int, fields: dict[bytes, bytes]) -> bool:
        """Append the events of an entry. False when they cannot come next."""
        stored = self.stored
        known = 0 if stored is None else len(stored.entries)
        entries = [entry for entry in unpack(n, fields[b"e"]) if entry.n > known]
        if stored is not None and stored.ended:
            return False
        before = int(fields[b"t"]) if n == LOST_AT else n - 1
        if before > known:
            self.read_again()
            return False
        if n == LOST_AT:
            self._local.lose(self.log, entries[0])
        elif entries:
            self._local.put(self.log, entries)
        return True

    def _apply_marks(self) -> None:
        stored = self.stored
        if stored is not None and self._marks:
            for mark in [mark for mark in self._marks if mark[1].n <= len(stored.entries) + 1]:
                self._marks.remove(mark)
                stored.released[mark[0]] = mark[1]
                stored.wake()

    def break_off(self, error: Exception) -> None:
        """The log cannot be followed here: its readers get the error."""
        stored = self.stored
        if stored is not None:
            stored.broken = error
            stored.wake()
        self._local.drop(self.log)
