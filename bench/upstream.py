"""Gemini's wire format and nothing else: the upstream of every system in the bench.

    python -m bench.upstream PORT

A prompt says what to send: `[[chunks:100]]` pieces of 24 characters, one every `[[pace:0.02]]`
seconds (0: as fast as the socket takes them), and `[[hold]]` never ends. Frames are made once
and kept; all streams of one pace share one timer, so a thousand of them cost little. A piece
names its number, so a reader knows exactly what text it must have had.
"""

import asyncio
import json
import re
import socket
import sys
from collections import deque
from typing import cast

try:
    from uvloop import run
except ImportError:  # slower, and the same otherwise
    from asyncio import run

GRAIN = 0.001
"""Seconds that a frame may come early, so that one wake-up serves many streams."""

BATCH = 100
"""Frames that one write carries when there is no pace."""

HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    b"Transfer-Encoding: chunked\r\nCache-Control: no-cache\r\n\r\n"
)
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
_CHUNKS, _PACE = re.compile(rb"\[\[chunks:(\d+)\]\]"), re.compile(rb"\[\[pace:([\d.]+)\]\]")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


def piece(n: int) -> str:
    """The text of the n-th chunk: 24 characters."""
    return f"{n:06d} of what was said. "[:24]


def _message(n: int, text: str, last: bool) -> bytes:
    candidate = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}
    tokens = 6 * (n + 1)
    message = {
        "candidates": [{**candidate, **({"finishReason": "STOP"} if last else {})}],
        "usageMetadata": {
            "promptTokenCount": 12,
            "candidatesTokenCount": tokens,
            "totalTokenCount": 12 + tokens,
        },
        "modelVersion": "gemini-3.8-flash",
        "responseId": "a1b2c3d4e5f6a7b8c9d0e1",
    }
    return json.dumps(message).encode()


def _frame(n: int, last: bool = False) -> bytes:
    data = b"data: " + _message(n, piece(n), last) + b"\r\n\r\n"
    return b"%x\r\n%b\r\n" % (len(data), data)


class Frames:
    """The frames of every stream, made when they are first needed."""

    def __init__(self) -> None:
        self._middle: list[bytes] = []
        self._last: dict[int, bytes] = {}

    def some(self, start: int, stop: int, count: int, hold: bool) -> bytes:
        """The frames from `start` up to `stop` of a stream of `count`; with the last, its end."""
        while len(self._middle) < stop:
            self._middle.append(_frame(len(self._middle)))
        if stop < count or hold:
            return b"".join(self._middle[start:stop])
        if count not in self._last:
            self._last[count] = _frame(count - 1, last=True) + b"0\r\n\r\n"
        return b"".join(self._middle[start : count - 1]) + self._last[count]


class Pace:
    """All streams of one pace, in the order in which they are due, and one timer."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._due: deque[tuple[float, Connection]] = deque()
        self._loop = asyncio.get_running_loop()

    def add(self, connection: "Connection") -> None:
        self._due.append((self._loop.time() + self._seconds, connection))
        if len(self._due) == 1:
            self._loop.call_at(self._due[0][0], self._tick)

    def _tick(self) -> None:
        now = self._loop.time() + GRAIN
        due = self._due
        while due and due[0][0] <= now:
            at, connection = due[0]
            if connection.send(1):
                due.append((at + self._seconds, connection))
            due.popleft()
        if due:
            self._loop.call_at(due[0][0], self._tick)


class Connection(asyncio.Protocol):
    """One keep-alive connection: requests one after the other."""

    def __init__(self, frames: Frames, paces: dict[float, Pace]) -> None:
        self._frames, self._paces = frames, paces
        self._buffer = b""
        self._sent = self._count = 0
        self._hold = self._writable = False
        self._pace = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self._writable = cast(asyncio.Transport, transport), True

    def connection_lost(self, error: Exception | None) -> None:
        self._count = self._sent = 0

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        if self._pace == 0:
            self._pour()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, blank, body = self._buffer.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not blank or (length and len(body) < int(length[1])):
            return
        if not length and b"chunked" in head and not body.endswith(b"0\r\n\r\n"):
            return
        self._buffer = b""
        self._answer(head, body)

    def _answer(self, head: bytes, body: bytes) -> None:
        chunks, pace = _CHUNKS.search(body), _PACE.search(body)
        count = int(chunks[1]) if chunks else 3
        if b":streamGenerateContent" not in head.partition(b"\r\n")[0]:
            text = "".join(map(piece, range(count))) if b"POST" in head[:4] else ""
            whole = _message(count - 1, text, last=True)
            said = (
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            )
            self._transport.write(said % len(whole) + whole)
            return
        self._sent, self._count, self._hold = 0, count, b"[[hold]]" in body
        self._pace = float(pace[1]) if pace else 0.0
        self._transport.write(HEAD)
        if self._pace == 0:
            self._pour()
        elif self.send(1):
            self._paces.setdefault(self._pace, Pace(self._pace)).add(self)

    def send(self, most: int) -> bool:
        """Send some frames, where the reader keeps up; whether there are more."""
        if self._writable and self._sent < self._count:
            stop = min(self._sent + most, self._count)
            self._transport.write(self._frames.some(self._sent, stop, self._count, self._hold))
            self._sent = stop
        return self._sent < self._count

    def _pour(self) -> None:
        if self.send(BATCH) and self._writable:
            asyncio.get_running_loop().call_soon(self._pour)


async def serve(port: int) -> None:
    """Serve for ever on loopback."""
    frames, paces = Frames(), dict[float, Pace]()
    listener = socket.create_server(("127.0.0.1", port), backlog=2048)
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(frames, paces), sock=listener, backlog=2048
    )
    await server.serve_forever()


if __name__ == "__main__":
    run(serve(int(sys.argv[1])))
