"""Clients of every kind on raw connections, at random: slow, tiny-windowed, pipelining, leaving at
any byte, coming back to any point. What each of them got is exactly what was to be got there."""

import asyncio
import random
import re
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from streamapi.emulator import Emulator
from tests.api.wire import ENDINGS, Event, http, parse, unique
from tests.conftest import Running, running, until

CLIENTS = 120
AT_ONCE = 12
KINDS = (
    "[[words:400]] [[chunk:6]] [[pace:0]]",
    "[[words:60]] [[pace:0.003]]",
    "[[words:3000]] [[chunk:40]] [[pace:0.0005]]",
    "[[words:6000]] [[chunk:5000]]",
    "[[words:3]]",
    "[[words:200]] [[fault:reset after=9]]",
)
"""A burst, a slow one, a big one, one of huge events, a short one, one that breaks."""


@pytest.fixture(scope="module")
async def roomy(emulator: Emulator) -> AsyncIterator[Running]:
    """A server that would wait for its clients longer than these tests last."""
    async with running(emulator, send_timeout=20, disconnect_grace=5, ping_interval=0.02) as server:
        yield server


class Client:
    """One connection with habits: how much it reads at once, and whether it dawdles."""

    def __init__(self, server: Running, habits: random.Random) -> None:
        self._url = httpx.URL(server.url)
        self._habits = habits
        self._size = habits.choice((9, 100, 4096, 65536))
        self._dawdles = habits.choice((0, 0, 10))

    async def connect(self) -> None:
        connection = socket.socket()
        if self._habits.random() < 0.5:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.setblocking(False)
        address = (self._url.host, self._url.port)
        await asyncio.get_running_loop().sock_connect(connection, address)
        self._reader, self._writer = await asyncio.open_connection(sock=connection, limit=2**12)

    def ask(self, path: str, after: str | None = None) -> None:
        cursor = f"Last-Event-ID: {after}\r\n" if after else ""
        self._writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{cursor}\r\n".encode())

    async def body(self, most: float = float("inf")) -> tuple[bytes, bool]:
        """The next body, unchunked, as far as it came before `most` bytes; whether it is whole."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        assert b"transfer-encoding: chunked" in head.lower()
        found = bytearray()
        while len(found) < most:
            length = int(await self._reader.readuntil(b"\r\n"), 16)
            left = length
            while left:
                piece = await self._reader.read(min(left, self._size))
                assert piece, "the server left in the middle of a chunk"
                found += piece
                left -= len(piece)
                if len(found) >= most:
                    return bytes(found), False
            if self._dawdles and self._habits.random() < 0.1:
                self._dawdles -= 1
                await asyncio.sleep(self._habits.random() * 0.1)
            assert await self._reader.readexactly(2) == b"\r\n"
            if not length:
                return bytes(found), True
        return bytes(found), False

    async def leave(self) -> None:
        """With a word, with half of one, or without."""
        how = self._habits.choice(("close", "abort", "reset", "half"))
        if how == "half":
            self._writer.write_eof()
        elif how == "abort":
            self._writer.transport.abort()
        elif how == "reset":
            raw: Any = self._writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()


async def all_of_it(server: Running, habits: random.Random) -> None:
    """Ask, leave at some byte, come back, and so on to the ending; then once more, pipelined, on
    one connection."""
    prompt = unique(habits.choice(KINDS))
    path = f"/v1/text/stream?prompt={quote(prompt)}"
    seen: list[Event] = []
    whole = False
    while not whole:
        client = Client(server, habits)
        await client.connect()
        client.ask(path, seen[-1].id if seen else None)
        cut = habits.random() < 0.6
        got, whole = await client.body(habits.randrange(1, 20_000) if cut else float("inf"))
        came = [event for event in parse(got) if event.id]
        assert [event.n for event in came] == list(range(len(seen) + 1, len(seen) + len(came) + 1))
        if not came and not seen and not whole:  # nothing to come back to
            await client.leave()
            return
        seen += came
        if seen[-1].type in ENDINGS:
            whole = True
        await client.leave()
    await check(server, habits, seen)


async def check(server: Running, habits: random.Random, seen: list[Event]) -> None:
    """What was put together is what the log has, read twice from one connection."""
    assert [event.type in ENDINGS for event in seen] == [False] * (len(seen) - 1) + [True]
    assert seen[-1].id is not None
    generation = seen[-1].id.partition(".")[0]
    assert {event.id.partition(".")[0] for event in seen if event.id} == {generation}
    client = Client(server, habits)
    await client.connect()
    after = habits.randrange(1, len(seen))
    client.ask(f"/v1/generations/{generation}/events")
    client.ask(f"/v1/generations/{generation}/events", f"{generation}.{after}")
    for expected in (seen, seen[after:]):
        got, whole = await client.body()
        assert whole
        again = [event for event in parse(got) if event.id]
        assert [without_request(one) for one in again] == [without_request(o) for o in expected]
    await client.leave()


def without_request(event: Event) -> tuple[Any, ...]:
    """An event but for what tells of the request that read it."""
    data = re.sub(r"'request_id': '[^']*'", "", repr(event.data))
    return event.type, event.id, data


@pytest.mark.parametrize("seed", range(3))
async def test_every_client_gets_what_is_its_due(roomy: Running, seed: int) -> None:
    """Nothing twice, nothing missing, no piece of another's; and then nobody is left."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> None:
        async with room, asyncio.timeout(30):
            await all_of_it(roomy, random.Random(f"{seed}/{number}"))

    async with asyncio.TaskGroup() as group:
        for number in range(CLIENTS // 3):
            group.create_task(one(number))
    generations = roomy.parts.generations
    await until(
        lambda: not generations._readers._readers and not generations.running, "all have left", 10
    )
    async with http(roomy.url) as client:
        assert (await client.get("/healthz")).is_success
