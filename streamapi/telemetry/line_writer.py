"""Log lines on their way out: a bounded queue, and a thread that writes.

Whoever reads the lines can stall, and then a write to a pipe waits: in the thread that serves, it
would stop everybody. So lines are queued. When the queue is full, new lines are dropped and
counted, and a later line says how many.
"""

import os
import select
import threading
from collections import deque
from datetime import UTC, datetime

import msgspec

QUEUE_BYTES = 4_000_000
"""Bytes of lines that may wait to be written, some 15,000 access lines; a line beyond it is
dropped."""

GATHER_SECONDS = 0.02
"""How long the thread lets lines gather when it has written all: it would otherwise contend with
the thread that serves for the interpreter at each line."""

CLOSE_SECONDS = 0.5
"""For what waits to be written when the process ends; the rest is lost, the end does not wait."""


class LineWriter:
    """Writes lines to a file descriptor, in their order."""

    def __init__(self, descriptor: int, most: int = QUEUE_BYTES) -> None:
        self.dropped = 0
        self._descriptor = descriptor
        self._most = most
        self._lines: deque[bytes] = deque()
        self._size = 0
        self._reported = 0
        self._changed = threading.Condition()
        self._idle = False
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def write(self, line: bytes) -> None:
        """Take a line, with its line feed; never waits for the reader."""
        with self._changed:
            if self._size + len(line) > self._most:
                self.dropped += 1
                return
            self._lines.append(line)
            self._size += len(line)
            if self._idle:
                self._changed.notify()
            elif self._thread is None:
                self._thread = threading.Thread(target=self._run, name="log lines", daemon=True)
                self._thread.start()

    def flush(self) -> None:
        """Does nothing: lines are written soon, and by `close`."""

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Write what waits, for so many seconds at most."""
        self._closing.set()
        with self._changed:
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(seconds)

    def _run(self) -> None:
        while lines := self._next():
            if not self._send(lines):
                with self._changed:
                    self.dropped += lines.count(b"\n")
            if not self._lines:
                self._report()
                self._closing.wait(GATHER_SECONDS)

    def _next(self) -> bytes:
        """The next lines; nothing at the end. Several processes can write to one pipe, and up to
        `PIPE_BUF` bytes are written in one piece (pipe(7))."""
        with self._changed:
            self._idle = True
            while not self._lines and not self._closing.is_set():
                self._changed.wait()
            self._idle = False
            found: list[bytes] = []
            size = 0
            while self._lines and (not found or size + len(self._lines[0]) <= select.PIPE_BUF):
                found.append(self._lines.popleft())
                size += len(found[-1])
            self._size -= size
            return b"".join(found)

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
