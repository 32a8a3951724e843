"""A client so small that it does not disturb what it measures: it keeps bytes and times.

`Stream` is one request on one connection. It sees the end of an answer by the last chunk of its
transfer, or by the last event on a WebSocket; everything else is read afterwards (`formats.py`).
"""

import asyncio
import base64
import os
from time import perf_counter
from typing import cast

CONNECT_WITHIN = 5.0
"""Seconds for a connection: a full backlog would make the kernel try for two minutes."""

END = b"0\r\n\r\n"
WS_ENDS = (b'"type":"done"', b'"type":"failed"')


class Stream(asyncio.Protocol):
    """One answer: what came, and when."""

    def __init__(self, request: bytes, message: bytes = b"") -> None:
        self._request, self._message = request, message
        self._loop = asyncio.get_running_loop()
        self.done: asyncio.Future[None] = self._loop.create_future()
        self.first: asyncio.Future[None] = self._loop.create_future()
        self.arrivals: list[tuple[float, bytes]] = []
        self.sent = perf_counter()
        self.ended: float | None = None
        self.transport: asyncio.Transport | None = None
        self._tail = b""
        self._enough = 1

    def wait_for(self, pieces: int) -> None:
        """`first` is done when this many pieces with data have come."""
        self._enough = pieces

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now = perf_counter()
        if not self.arrivals and self._message:
            assert self.transport is not None
            self.transport.write(self._message)  # the handshake is over
        self.arrivals.append((now, data))
        if not self.first.done() and self.seen() >= self._enough:
            self.first.set_result(None)
        if self._is_end(data):
            self._finish(now)

    def connection_lost(self, error: Exception | None) -> None:
        self._finish(None)
        if not self.first.done():
            self.first.set_result(None)

    def again(self) -> None:
        """Send the request again on the same connection."""
        assert self.transport is not None
        self.arrivals, self.ended, self.done = [], None, self._loop.create_future()
        self.sent = perf_counter()
        self.transport.write(self._request)

    def leave(self) -> None:
        """Close the connection, now."""
        if self.transport is not None:
            self.transport.abort()

    def seen(self) -> int:
        """How many pieces of text have come, roughly: by a word that each has."""
        raw = b"".join(data for _, data in self.arrivals)
        return raw.count(b"of what was")

    def _is_end(self, data: bytes) -> bool:
        if self._message:
            return any(end in data for end in WS_ENDS)
        if len(data) < len(END):
            data = b"".join(data for _, data in self.arrivals[-3:])
        return data.endswith(END)

    def _finish(self, at: float | None) -> None:
        if not self.done.done():
            self.ended = at
            self.done.set_result(None)


async def open_stream(port: int, request: bytes, message: bytes = b"") -> Stream:
    """A stream on a new connection; its clock starts before the connection."""
    stream = Stream(request, message)
    connect = asyncio.get_running_loop().create_connection
    try:
        async with asyncio.timeout(CONNECT_WITHIN):
            await connect(lambda: stream, "127.0.0.1", port)
    except OSError:  # TimeoutError is one
        stream.connection_lost(None)
    return stream


def http(method: str, path: str, port: int, body: bytes = b"", headers: str = "") -> bytes:
    """The bytes of a request."""
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{headers}"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


def handshake(path: str, port: int) -> bytes:
    """A WebSocket's first request (RFC 6455, section 4.1)."""
    key = base64.b64encode(os.urandom(16)).decode()
    return http(
        "GET", path, port, headers="Connection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n",
    )  # fmt: skip


def text_frame(payload: bytes) -> bytes:
    """A client's text frame, masked (with zeros, which mask nothing)."""
    size = len(payload)
    wide = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return b"\x81" + wide + bytes(4) + payload
