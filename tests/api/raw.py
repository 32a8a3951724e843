"""A client that sends bytes as they are, which no client library would."""

import asyncio
import json
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tests.conftest import Running

HANDSHAKE = (
    b"GET /v1/ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
TEXT, CONTINUATION, CLOSE, PING, PONG = 1, 0, 8, 9, 10


def head(method: str, path: str, *lines: str, host: str = "localhost") -> bytes:
    """The head of a request."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {host}", *lines, "", ""]).encode()


def frame(opcode: int, payload: bytes = b"", *, final: bool = True) -> bytes:
    """A masked frame (RFC 6455, section 5.2), with a mask of zeros."""
    size = len(payload)
    first = opcode | (0x80 if final else 0)
    if size < 126:
        return struct.pack("!BB4x", first, 0x80 | size) + payload
    if size < 65_536:
        return struct.pack("!BBH4x", first, 0x80 | 126, size) + payload
    return struct.pack("!BBQ4x", first, 0x80 | 127, size) + payload


@dataclass
class RawAnswer:
    """A response as it came."""

    status: int
    head: bytes
    body: bytes

    @property
    def closes(self) -> bool:
        return b"\r\nconnection: close" in self.head.lower()

    @property
    def code(self) -> str:
        return str(json.loads(self.body)["code"])


class RawClient:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self) -> RawAnswer:
        """The next response, whole."""
        async with asyncio.timeout(10):
            found = await self.reader.readuntil(b"\r\n\r\n")
            lower = found.lower()
            body = b""
            if b"\r\ncontent-length: " in lower:
                size = int(lower.split(b"\r\ncontent-length: ")[1].split(b"\r\n")[0])
                body = await self.reader.readexactly(size)
            elif b"transfer-encoding: chunked" in lower:
                while size := int(await self.reader.readline(), 16):
                    body += (await self.reader.readexactly(size + 2))[:-2]
                await self.reader.readexactly(2)
            return RawAnswer(int(found.split(b" ")[1]), found, body)

    async def rest(self, seconds: float = 10) -> bytes:
        """What comes until the server closes. Raises `ConnectionResetError` when it resets."""
        async with asyncio.timeout(seconds):
            return await self.reader.read()

    async def read_until(self, text: bytes, times: int = 1) -> None:
        """Read until the text has come this many times."""
        async with asyncio.timeout(10):
            for _ in range(times):
                await self.reader.readuntil(text)

    async def close_code(self) -> int:
        """The code of the close frame, which comes last."""
        received = await self.rest()
        at = received.rindex(b"\x88")
        return int(struct.unpack("!H", received[at + 2 : at + 4])[0])


@asynccontextmanager
async def raw(server: Running, first: bytes = b"") -> AsyncIterator[RawClient]:
    """A connection on which `first` is sent."""
    url = urlsplit(server.url)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    writer.write(first)
    try:
        yield RawClient(reader, writer)
    finally:
        writer.close()


@asynccontextmanager
async def raw_socket(server: Running) -> AsyncIterator[RawClient]:
    """A WebSocket, its handshake done."""
    async with raw(server, HANDSHAKE) as client:
        opened: Any = await client.reader.readuntil(b"\r\n\r\n")
        assert opened.startswith(b"HTTP/1.1 101 "), opened
        yield client
