"""Clients that leave in the middle of anything: nothing is held, and nothing is an error."""

import asyncio
import logging
import struct
from collections.abc import AsyncIterator
from socket import SO_LINGER, SOL_SOCKET
from typing import Any

import pytest

from streamapi.emulator import Emulator
from tests.api.raw import HANDSHAKE, TEXT, frame, head, raw
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
    key = (await abandoned.key())[0] if abandoned.parts.entrance else "none"
    prompt = unique("[[words:4000]]").replace(" ", "+")
    path = f"/v1/text/stream?prompt={prompt}"
    request = head("GET", path, f"Authorization: Bearer {key}")
    async with raw(abandoned, request + head("GET", "/healthz")) as client:
        await client.hear(b"event: delta")
        if resets:
            peer = client.writer.get_extra_info("socket")
            peer.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
    await until(lambda: not abandoned.connections.open, "the connection is let go")
