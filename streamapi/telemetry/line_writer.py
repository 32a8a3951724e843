"""Log lines on their way out: written at once where that cannot wait, else by a thread.

Whoever reads the lines can stall, and then a write to a pipe waits: in the thread that serves, it
would stop everybody. So what a file or a pipe takes at once is written at once, without waiting;
the rest is queued for a thread. When the queue is full, new lines are dropped and counted, and a
later line says how many.
"""

import os
import select
import stat
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime

import msgspec

QUEUE_BYTES = 4_000_000
"""Bytes of lines that may wait to be written, some 15,000 access lines; a line beyond it is
dropped."""

GATHER_SECONDS = 0.1
"""How long lines gather behind the first one. At each write the thread contends with the one that
serves for the interpreter, up to 5 ms long: a write for every 16 lines made each request 0.2 ms
dearer."""

CLOSE_SECONDS = 0.5
"""For what waits to be written when the process ends; the rest is lost, the end does not wait."""


class LineWriter:
    """Writes lines to a file descriptor, in their order."""

    def __init__(self, descriptor: int, most: int = QUEUE_BYTES) -> None:
        self.dropped = 0
        self._descriptor = descriptor
        self._pipe = stat.S_ISFIFO(os.fstat(descriptor).st_mode)
        self._ready = _never_waiting(descriptor)
        self._most = most
        self._lines: deque[bytes] = deque()
        self._taken = self._done = 0  # bytes; each is counted by one of the two threads
        self._reported = 0
        self._changed = threading.Condition()
        self._idle = False
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def write(self, line: bytes) -> None:
        """Take a line, with its line feed; never waits for the reader."""
        with self._changed:
            if self._taken == self._done and self._write_now(line):
                return
            if self._taken - self._done + len(line) > self._most:
                self.dropped += 1
                return
            self._lines.append(line)
            self._taken += len(line)
            if self._idle:
                self._changed.notify()
            elif self._thread is None:
                self._thread = threading.Thread(target=self._run, name="log lines", daemon=True)
                self._thread.start()

    def _write_now(self, line: bytes) -> bool:
        """Write a line, if that needs no waiting; False where the thread has to."""
        if self._ready is None or len(line) > select.PIPE_BUF:  # a pipe could take half of it
            return False
        try:
            os.write(self._ready, line)
        except BlockingIOError:
            return False
        except OSError:
            self.dropped += 1
        return True

    def flush(self) -> None:
        """Does nothing: lines are written soon, and by `close`."""

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Write what waits, for so many seconds at most."""
        self._closing.set()
        with self._changed:
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(seconds)
        with self._changed:
            if self._ready not in (None, self._descriptor):
                os.close(self._ready)
            self._ready = None

    def _run(self) -> None:
        while lines := self._next():
            for piece in _pieces(lines) if self._pipe else (b"".join(lines),):
                if not self._send(piece):
                    with self._changed:
                        self.dropped += piece.count(b"\n")
                self._done += len(piece)
            self._report()
            self._closing.wait(GATHER_SECONDS)

    def _next(self) -> list[bytes]:
        """All lines that wait to be written; none at the end."""
        with self._changed:
            self._idle = True
            while not self._lines and not self._closing.is_set():
                self._changed.wait()
            self._idle = False
            lines = list(self._lines)
            self._lines.clear()
            return lines

    def _send(self, lines: bytes) -> bool:
        """Write to the last byte; False when nobody reads any more, or the disk is full."""
        rest = memoryview(lines)
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:  # someone who shares the pipe made it non-blocking
                select.select([], [self._descriptor], [])
            except OSError:
                return False
        return True

    def _report(self) -> None:
        dropped = self.dropped - self._reported
        if dropped:
            line = {
                "dropped": dropped,
                "logger": __name__,
                "level": "warning",
                "timestamp": datetime.now(UTC).isoformat(),
                "pid": os.getpid(),
                "message": "log lines were dropped: they were not read, or not written, in time",
            }
            if self._send(msgspec.json.encode(line) + b"\n"):
                self._reported += dropped


def _never_waiting(descriptor: int) -> int | None:
    """A descriptor of the same file whose writes never wait, where there is one. A pipe is opened
    again: the flag `O_NONBLOCK` of the one that we got is shared with whoever else writes to it."""
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    if stat.S_ISFIFO(mode):
        with suppress(OSError):  # no /proc; or the user was changed, and the pipe is root's
            return os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK)
    return None


def _pieces(lines: list[bytes]) -> Iterator[bytes]:
    """The lines, as many at once as are written in one piece: up to `PIPE_BUF` bytes (pipe(7)).
    Several processes can write to one pipe."""
    piece: list[bytes] = []
    size = 0
    for line in lines:
        if piece and size + len(line) > select.PIPE_BUF:
            yield b"".join(piece)
            piece, size = [], 0
        piece.append(line)
        size += len(line)
    yield b"".join(piece)
