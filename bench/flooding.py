"""The floods of `bench.floods`: each is one client that means harm, for a bounded time.

python -m bench.flooding NAME http://127.0.0.1:PORT SECONDS
"""

import asyncio
import itertools
import json
import socket
import struct
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from urllib.parse import urlsplit

import aiohttp

MOST_CONNECTIONS = 2_000
"""Connections that one flood opens at most."""

Place = tuple[str, int]
HANDSHAKE = (
    "GET /v1/ws HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(opcode: int, payload: bytes = b"", final: bool = True) -> bytes:
    """A masked WebSocket frame (RFC 6455, section 5.2); the mask is zero."""
    head = bytes([opcode | (0x80 if final else 0)])
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + struct.pack("!H", size)
    return head + length + b"\0\0\0\0" + payload


def http2_frame(kind: int, payload: bytes = b"") -> bytes:
    """An HTTP/2 frame on stream 0 (RFC 9113, section 4.1)."""
    return struct.pack("!I", len(payload))[1:] + bytes([kind, 0]) + b"\0\0\0\0" + payload


def pour(first: bytes, then: bytes) -> Callable[[Place, float], Awaitable[None]]:
    """A flood of the same bytes on one connection, and on a new one when that is closed."""

    async def flood(place: Place, end: float) -> None:
        for _ in range(MOST_CONNECTIONS):
            if time.monotonic() > end:
                return
            with suppress(OSError):
                reader, writer = await asyncio.open_connection(*place)
                writer.write(first)
                if first.startswith(b"GET"):
                    await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
                drop = asyncio.create_task(_drop(reader))
                while time.monotonic() < end and not drop.done():
                    writer.write(then)
                    with suppress(TimeoutError):
                        await asyncio.wait_for(writer.drain(), 0.5)
                drop.cancel()
                writer.transport.abort()
            await asyncio.sleep(0.01)

    return flood


async def _drop(reader: asyncio.StreamReader) -> None:
    with suppress(OSError):
        while await reader.read(65_536):
            pass


def websocket(blob: bytes) -> Callable[[Place, float], Awaitable[None]]:
    """A flood of frames behind a handshake."""

    async def flood(place: Place, end: float) -> None:
        hello = HANDSHAKE.format(host=place[0], port=place[1]).encode()
        await pour(hello, blob)(place, end)

    return flood


async def floats(place: Place, end: float) -> None:
    """Bodies of numbers near the limits of a double, by POST and as a first message."""
    body = json.dumps({"prompt": "x", "a": [0]}).replace("[0]", f"[{'1e308,' * 160_000}1]")
    async with aiohttp.ClientSession() as session:
        while time.monotonic() < end:
            url = f"http://{place[0]}:{place[1]}/v1/text"
            headers = {"Content-Type": "application/json"}
            with suppress(aiohttp.ClientError):
                async with session.post(url, data=body, headers=headers) as answer:
                    await answer.read()
            with suppress(aiohttp.ClientError):
                async with session.ws_connect(f"ws://{place[0]}:{place[1]}/v1/ws") as channel:
                    await channel.send_str(body)
                    await asyncio.wait_for(channel.receive(), 2)


async def _long_log(place: Place) -> str:
    """The id of a finished generation of some thousand events."""
    async with aiohttp.ClientSession() as session:
        ask = {"prompt": "long [[words:20000]] [[pace:0]] [[chunk:4]]"}
        async with session.post(f"http://{place[0]}:{place[1]}/v1/text", json=ask) as answer:
            told = await answer.json()
    if told.get("status") != "done":
        raise SystemExit(f"there is no long log: {told}")
    return str(told["id"])


async def never_read(place: Place, end: float) -> None:
    """180 readers of a long log that read nothing."""
    generation = await _long_log(place)
    head = (
        f"GET /v1/generations/{generation}/events HTTP/1.1\r\nHost: {place[0]}:{place[1]}\r\n\r\n"
    )
    readers = []
    for _ in range(180):
        reader = socket.socket()
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.connect(place)
        reader.sendall(head.encode())
        readers.append(reader)
    await asyncio.sleep(max(0.0, end - time.monotonic()))
    for reader in readers:
        reader.close()


async def replays(place: Place, end: float) -> None:
    """Replays of a long log, a hundred at a time, as fast as they come."""
    generation = await _long_log(place)
    url = f"http://{place[0]}:{place[1]}/v1/generations/{generation}/events"

    async def one(session: aiohttp.ClientSession) -> None:
        while time.monotonic() < end:
            with suppress(aiohttp.ClientError):
                async with session.get(url, headers={"Last-Event-ID": f"{generation}.1"}) as answer:
                    await answer.read()

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(one(session) for _ in range(100)))


async def socket_replays(place: Place, end: float) -> None:
    """The same on twenty WebSockets."""
    generation = await _long_log(place)
    resume = {"type": "resume", "generation": generation, "after": 1}

    async def one(session: aiohttp.ClientSession) -> None:
        async with session.ws_connect(f"http://{place[0]}:{place[1]}/v1/ws") as socket:
            while time.monotonic() < end:
                await socket.send_json(resume)
                async for message in socket:
                    if message.json()["type"] in ("done", "error"):
                        break

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(one(session) for _ in range(20)))


async def leavers(place: Place, end: float) -> None:
    """Clients that speak before the handshake's answer, and leave: sixty at a time."""
    hello = HANDSHAKE.format(host=place[0], port=place[1]).encode()
    blob = hello + frame(1, b'{"type":"ping"}') * 100
    for _ in range(MOST_CONNECTIONS // 60):
        if time.monotonic() > end:
            return
        clients = []
        for _ in range(60):
            with suppress(OSError):
                client = socket.create_connection(place, 2)
                client.sendall(blob)
                clients.append(client)
        for client in clients:
            client.close()
        await asyncio.sleep(0.1)


async def slow_heads(place: Place, end: float) -> None:
    """200 heads that arrive a byte at a time, and stay open behind the flood's end."""
    head = f"GET /healthz HTTP/1.1\r\nHost: {place[0]}\r\nX-Slow: {'a' * 4000}".encode()
    clients = []
    for _ in range(200):
        with suppress(OSError):
            clients.append(socket.create_connection(place, 2))
    for n in itertools.count():
        if time.monotonic() > end:
            break
        for client in clients:
            with suppress(OSError):
                client.sendall(head[n % len(head)].to_bytes(1, "big"))
        await asyncio.sleep(0.1)


FLOODS: dict[str, Callable[[Place, float], Awaitable[None]]] = {
    "pings": websocket(frame(9, b"x") * 5000),
    "pongs": websocket(frame(10) * 5000),
    "empty_fragments": websocket(frame(1, b"", final=False) + frame(0, b"", final=False) * 5000),
    "byte_fragments": websocket(frame(1, b"{", final=False) + frame(0, b" ", final=False) * 5000),
    "tiny_messages": websocket(frame(1, b"{}") * 5000),
    "http2_settings": pour(PREFACE + http2_frame(4), http2_frame(4) * 5000),
    "http2_unknown": pour(PREFACE + http2_frame(4), http2_frame(200) * 5000),
    "floats": floats,
    "never_read": never_read,
    "replays": replays,
    "socket_replays": socket_replays,
    "leavers": leavers,
    "slow_heads": slow_heads,
}
"""Each flood, by its name."""


if __name__ == "__main__":
    url = urlsplit(sys.argv[2])
    asyncio.run(
        FLOODS[sys.argv[1]](
            (url.hostname or "", url.port or 0), time.monotonic() + float(sys.argv[3])
        )
    )
