"""Writes log lines without waiting for their reader.

A reader of stdout can stall, and then a write to the pipe waits. In the thread that serves, such
a wait would stop every request. So a line is written at once if a file or a pipe takes it at
once; otherwise it is queued for a thread. When the queue is full, new lines are dropped and
counted, and a later line says how many.
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
"""Bytes of lines that may wait to be written, some 15,000 access lines. A line beyond it is
dropped."""

GATHER_SECONDS = 0.1
"""Seconds in which the thread lets lines gather before its next write. At each write it contends
for the interpreter with the thread that serves, for up to 5 ms: a write for every 16 lines cost
each request 0.2 ms."""

CLOSE_SECONDS = 0.5
"""Seconds to write the queued lines when the process ends. The rest is lost."""


class LineWriter:
    """Writes lines to a file descriptor, in their order. Up to `most` bytes wait in the queue;
    `dropped` counts the lines that were not written."""

    def __init__(self, descriptor: int, most: int = QUEUE_BYTES) -> None:
        self.dropped = 0
        self._descriptor = descriptor
        self._pipe = stat.S_ISFIFO(os.fstat(descriptor).st_mode)
        self._nonblocking = _nonblocking_descriptor(descriptor)
        self._most = most
        self._lines: deque[bytes] = deque()
        self._queued = self._done = 0  # bytes since the start; each thread counts one of the two
        self._reported = 0
        self._changed = threading.Condition()
        self._idle = False
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def write(self, line: bytes) -> None:
        """Write or queue a line, which ends with its line feed. Never waits for the reader."""
        with self._changed:
            if self._queued == self._done and self._write_now(line):
                return
            if self._queued - self._done + len(line) > self._most:
                self.dropped += 1
                return
            self._lines.append(line)
            self._queued += len(line)
            if self._idle:
                self._changed.notify()
            elif self._thread is None:
                self._thread = threading.Thread(target=self._run, name="log lines", daemon=True)
                self._thread.start()

    def _write_now(self, line: bytes) -> bool:
        """Write a line if that needs no waiting. Returns False if the thread must write it."""
        if self._nonblocking is None or len(line) > select.PIPE_BUF:  # or written in parts
            return False
        try:
            os.write(self._nonblocking, line)
        except BlockingIOError:
            return False
        except OSError:
            self.dropped += 1
        return True

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Write the queued lines, for so many seconds at most."""
        self._closing.set()
        with self._changed:
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(seconds)
        with self._changed:
            if self._nonblocking not in (None, self._descriptor):
                os.close(self._nonblocking)
            self._nonblocking = None

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
        """Wait for queued lines, and take all of them. Returns none when the writer closes."""
        with self._changed:
            self._idle = True
            while not self._lines and not self._closing.is_set():
                self._changed.wait()
            self._idle = False
            lines = list(self._lines)
            self._lines.clear()
            return lines

    def _send(self, lines: bytes) -> bool:
        """Write to the last byte. Returns False when the reader is gone, or the disk is full."""
        rest = memoryview(lines)
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:  # another process that shares the pipe made it so
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
                "message": "log lines were dropped: the reader of stdout is too slow, or the disk "
                "is full",
            }
            if self._send(msgspec.json.encode(line) + b"\n"):
                self._reported += dropped


def _nonblocking_descriptor(descriptor: int) -> int | None:
    """A descriptor of the same file whose writes never wait, or None where there is none. A pipe
    is opened again, because other processes share the flag `O_NONBLOCK` of the given descriptor."""
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    if stat.S_ISFIFO(mode):
        with suppress(OSError):  # there is no /proc, or the pipe belongs to another user
            return os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK)
    return None


def _pieces(lines: list[bytes]) -> Iterator[bytes]:
    """Join lines to pieces of up to `PIPE_BUF` bytes: the kernel writes such a piece as a whole
    (pipe(7)), so the lines of several processes on one pipe do not mix."""
    piece: list[bytes] = []
    size = 0
    for line in lines:
        if piece and size + len(line) > select.PIPE_BUF:
            yield b"".join(piece)
            piece, size = [], 0
        piece.append(line)
        size += len(line)
    yield b"".join(piece)
