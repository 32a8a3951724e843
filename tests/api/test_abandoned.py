"""Clients that leave in the middle of anything: nothing is held, and nothing is an error."""

import asyncio
import json
import logging
import struct
from collections.abc import AsyncIterator
from contextlib import suppress
from socket import SO_LINGER, SO_RCVBUF, SOL_SOCKET
from typing import Any

import pytest

from streamapi.emulator import Emulator
from tests.api.raw import HANDSHAKE, TEXT, frame, head, raw, raw_socket
from tests.api.wire import unique
from tests.conftest import Running, running, until

BEGUN = {
    "a handshake": HANDSHAKE,
    "a handshake with a frame behind it": HANDSHAKE + frame(TEXT, b"{}"),
    "no request": b"GARBAGE\r\n\r\n",
    "a body that is refused": head("POST", "/v1/no", "Transfer-Encoding: chunked"),
    "a body that is too large": head("POST", "/v1/text", "Content-Length: 9000000"),
    "a body that is late": head("POST", "/v1/text", "Content-Length: 15") + b"{",
    "the last request": head("GET", "/healthz", "Connection: close"),
}


@pytest.fixture(scope="module", params=["open", "keys"])
async def abandoned(
    emulator: Emulator, request: Any, tmp_path_factory: Any
) -> AsyncIterator[Running]:
    """A server on which nobody else is connected."""
    url = f"sqlite:///{tmp_path_factory.mktemp('abandoned')}/streamapi.db"
    async with running(emulator, auth=request.param, database_url=url) as server:
        yield server


@pytest.mark.parametrize("begun", BEGUN)
async def test_who_leaves_leaves_no_error(
    abandoned: Running, begun: str, caplog: pytest.LogCaptureFixture
) -> None:
    """With a close or a reset, at once or a moment later: no traceback that anybody could fill the
    log with, and no connection."""
    caplog.set_level(logging.WARNING)
    for turn in range(24):
        async with raw(abandoned, BEGUN[begun]) as client:
            await client.writer.drain()
            if turn % 2:
                peer = client.writer.get_extra_info("socket")
                peer.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
            for _ in range(turn // 2):
                await asyncio.sleep(0)
    await until(lambda: not abandoned.connections.open, "the connections are let go")
    assert [it.getMessage() for it in caplog.records] == []


@pytest.mark.parametrize("resets", [False, True])
async def test_a_request_behind_a_stream_that_is_left_holds_nothing(
    abandoned: Running, resets: bool
) -> None:
    """A connection is not read on while a request waits behind another; that its client has left
    is then noticed by the next write, and the connection is let go all the same."""
    key = (await abandoned.key())[0] if abandoned.parts.key_auth else "none"
    prompt = unique("[[words:4000]]").replace(" ", "+")
    path = f"/v1/text/stream?prompt={prompt}"
    request = head("GET", path, f"Authorization: Bearer {key}")
    async with raw(abandoned, request + head("GET", "/healthz")) as client:
        await client.read_until(b"event: delta")
        if resets:
            peer = client.writer.get_extra_info("socket")
            peer.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
    await until(lambda: not abandoned.connections.open, "the connection is let go")


async def test_who_talks_without_listening_and_leaves_holds_nothing(emulator: Emulator) -> None:
    """The server waits for the client to read, with every queue of messages full, when it leaves:
    its sockets and generations are let go at once, not when `SEND_TIMEOUT` is over."""
    unsent: list[int] = []
    async with running(emulator) as server, raw_socket(server) as client:
        transport: Any = client.writer.transport

        def stuck() -> bool:
            unsent.append(transport.get_write_buffer_size())
            return unsent[-1] > 0 and unsent[-30:] == unsent[-1:] * 30

        transport.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_RCVBUF, 2048)
        transport.pause_reading()
        for _ in range(8):
            request = {"prompt": unique("[[words:20000]]")}
            start = {"type": "start", "task": "text", "request": request}
            client.send(frame(TEXT, json.dumps(start).encode()))
        client.send(frame(TEXT, b'{"type": "ping", "x": "%b"}' % (b"x" * 700)) * 10_000)
        await until(stuck, "the server reads no more", 60)
        transport.abort()
        await until(lambda: server.connections.open == 0, "the connection is let go")
        await until(lambda: not server.parts.generations._readers._readers, "nobody reads")


async def test_a_frame_behind_a_refused_handshake_is_no_error(
    abandoned: Running, caplog: pytest.LogCaptureFixture
) -> None:
    """It comes while the refusal is on its way, and is thrown away: there is one answer."""
    refused = HANDSHAKE.replace(b"/v1/ws", b"/v1/nothing/ws")
    for turn in range(60):
        async with raw(abandoned, refused) as client:
            await client.writer.drain()
            for _ in range(turn):
                await asyncio.sleep(0)
            client.send(frame(TEXT, b"{}"))
            with suppress(ConnectionError):
                assert (await client.rest()).count(b"HTTP/1.1 ") == 1
    assert [it.getMessage() for it in caplog.records] == []
