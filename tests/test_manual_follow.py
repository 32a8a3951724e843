"""The manual's `follow`, as it stands there, against connections that are cut, servers that drain,
and failures. Its pauses are written down instead of slept."""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest

from tests.conftest import Running
from tests.manual import BLOCKS, command, run

Piece = tuple[str, dict[str, Any]]
[BLOCK] = [block for block in BLOCKS if "def follow(" in block.text]
GENERATION = "gen_scripted"
MOST_CONNECTIONS = 200
"""A reader that connects more often than this spins."""

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
"""Without a length, so that a close at any byte is a clean end."""
GONE = b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that `follow` makes, in seconds."""
    taken: list[float] = []

    def sleep(seconds: float) -> None:
        taken.append(seconds)
        assert len(taken) < MOST_CONNECTIONS, "it connects again and again"

    monkeypatch.setattr(time, "sleep", sleep)
    return taken


async def follow(url: str, generation: str) -> list[Piece]:
    """Everything that the manual's `follow` yields."""
    definitions = BLOCK.text.partition("ask = ")[0].replace("http://127.0.0.1:8000", url)
    names: dict[str, Any] = {}
    exec(compile(definitions, BLOCK.where, "exec"), names)
    return await asyncio.to_thread(lambda: list(names["follow"](generation)))


@asynccontextmanager
async def listening(serve: Callable[..., Awaitable[None]]) -> AsyncIterator[str]:
    """A TCP server on a free port, by its address."""
    tasks: set[asyncio.Task[Any] | None] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        try:
            await serve(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for task in filter(None, tasks):
            task.cancel()
        await asyncio.gather(*filter(None, tasks), return_exceptions=True)


@asynccontextmanager
async def cutting(url: str, chance: random.Random) -> AsyncIterator[str]:
    """A proxy that cuts each connection after a random number of bytes of the answer."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = urlsplit(url)
        upstream, sink = await asyncio.open_connection(there.hostname, there.port)
        try:
            sink.write(await reader.readuntil(b"\r\n\r\n"))
            left = int(chance.expovariate(1 / 2000))  # seldom enough for the ending, which is long
            while left > 0 and (data := await upstream.read(left)):
                left -= len(data)
                writer.write(data)
                await writer.drain()
        finally:
            sink.close()
        if chance.random() < 0.5:
            writer.transport.abort()  # a reset

    async with listening(serve) as address:
        yield address


@asynccontextmanager
async def scripted(*answers: bytes) -> AsyncIterator[tuple[str, list[str]]]:
    """A server that gives these answers in turn, and closes behind each; and the cursors that it
    was asked with."""
    cursors: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        if len(cursors) == MOST_CONNECTIONS:
            writer.write(GONE)  # which ends a reader that spins
            return
        cursors.append(head.partition("Last-Event-ID: ")[2].partition("\r\n")[0])
        writer.write(answers[min(len(cursors), len(answers)) - 1])

    async with listening(serve) as address:
        yield address, cursors


def frame(n: int, kind: str = "delta", **data: Any) -> bytes:
    """One event of a stream."""
    return f"event: {kind}\nid: {GENERATION}.{n}\ndata: {json.dumps(data)}\n\n".encode()


async def test_cuts_lose_nothing(server: Running, pauses: list[float]) -> None:
    """Connections that are cut at random bytes: every event comes once, and is whole."""
    async with httpx.AsyncClient(base_url=server.url) as client:
        body = {"prompt": f"{uuid4().hex} [[words:400]]"}
        begun = await client.post("/v1/text", json=body, headers={"Prefer": "respond-async"})
    generation = begun.json()["id"]
    async with cutting(server.url, random.Random(7)) as address:
        seen = await follow(address, generation)
    assert seen == await follow(server.url, generation)
    assert seen[0][0] == "start"
    assert seen[-1][0] == "done"
    text = "".join(data["text"] for kind, data in seen if kind == "delta")
    assert text == seen[-1][1]["result"]["text"]
    assert len(pauses) > 5, "hardly anything was cut"


async def test_a_draining_server_says_when_to_come_again(pauses: list[float]) -> None:
    """200, `retry:` and a close: the pause is the one asked for, and the cursor stays."""
    drain = HEAD + b"retry: 700\n\n"
    rest = HEAD + b"retry: 2000\n\n" + frame(2, "done")
    async with scripted(HEAD + frame(1), drain, drain, rest) as (address, cursors):
        seen = await follow(address, GENERATION)
    assert [kind for kind, _ in seen] == ["delta", "done"]
    assert pauses == [2.0, 0.7, 0.7]
    assert cursors == [f"{GENERATION}.{n}" for n in (0, 1, 1, 1)]


@pytest.mark.parametrize("cut", range(1, len(frame(2, text="two"))))
async def test_an_event_that_was_cut_comes_again(pauses: list[float], cut: int) -> None:
    """A clean close in the middle of an event: it counts only once it is whole."""
    whole = frame(2, text="two")
    begin = HEAD + frame(1, text="one")
    async with scripted(begin + whole[:cut], HEAD + whole + frame(3, "done")) as (address, cursors):
        seen = await follow(address, GENERATION)
    assert [data.get("text") for _, data in seen] == ["one", "two", None]
    assert cursors == [f"{GENERATION}.0", f"{GENERATION}.1"]
    assert len(pauses) == 1


async def test_nothing_more_ends_it(pauses: list[float]) -> None:
    """A 204 says that the ending was seen."""
    nothing = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"
    async with scripted(HEAD + frame(1), nothing) as (address, _):
        assert len(await follow(address, GENERATION)) == 1
    assert len(pauses) == 1


async def test_a_proxy_without_its_server_is_asked_again(pauses: list[float]) -> None:
    """A 5xx passes; a 4xx is final."""
    away = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    async with scripted(away, HEAD + frame(1, "done")) as (address, _):
        assert len(await follow(address, GENERATION)) == 1
    async with scripted(GONE) as (address, _):
        with pytest.raises(httpx.HTTPStatusError):
            await follow(address, GENERATION)
    assert len(pauses) == 1


async def test_the_caller_is_told_of_a_failure(server: Running) -> None:
    """The block as a whole: a failure is not a clean end."""
    text = BLOCK.text.replace("http://127.0.0.1:8000", server.url)
    failing = text.replace("rainbows form.", "rainbows form. [[fault:error_after_text]]")
    assert failing != text
    code, output = await run(*command(BLOCK, failing))
    assert code == 1
    assert "upstream_interrupted: " in output
