"""A writer is killed while its reader has seen events that Redis does not have.

The reader is 0, 1, 2 or 20 events ahead of Redis, and resumes on the surviving process over each
transport. It gets one ending, `failed producer_lost`, under an id that meant nothing else before.
"""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import websockets

from streamapi.emulator import Emulator
from streamapi.generation.event import Delta, Event, Start
from streamapi.generation.generation import Generation
from streamapi.generation.redis.logs import RedisLogs
from tests import sse
from tests.api.wire import ENDINGS, http, receive, send_message
from tests.conftest import RedisServer, Running, running, until

AHEAD = pytest.mark.parametrize("ahead", [0, 1, 2, 20])
MIRRORED = 2
"""Events that Redis has when the writer is killed."""

Seen = list[tuple[str, int]]
"""The types and numbers of the events that one reader got."""


@pytest.fixture(scope="module")
async def survivor(emulator: Emulator, redis_server: RedisServer) -> AsyncIterator[Running]:
    """The process that lives on."""
    async with running(emulator, redis_url=redis_server.url, ping_interval=0.3) as server:
        await until(lambda: server.parts.logs.available, "it has Redis")
        yield server


@pytest.fixture
async def writer(emulator: Emulator, redis_server: RedisServer) -> AsyncIterator[Running]:
    """The process that is killed: nothing that it writes reaches Redis any more."""
    async with running(emulator, redis_url=redis_server.url) as server:
        await until(lambda: server.parts.logs.available, "it has Redis")
        yield server


def redis_logs(server: Running) -> RedisLogs:
    """The logs of a server."""
    logs = server.parts.logs
    assert isinstance(logs, RedisLogs)
    return logs


def delta(n: int) -> Event:
    return Delta(f"<{n}>", "text")


async def killed(writer: Running, survivor: Running, ahead: int) -> Generation:
    """A generation whose writer no longer reaches Redis, after it showed `ahead` events more."""
    logs = redis_logs(writer)
    name = f"{id(writer):x}{ahead}"
    mine = Generation(
        id=f"gen_{name}", log=f"log_{name}", owner="anonymous", task="text", model="m", created=1.0
    )
    await logs.append(mine.log, 1, [Start("text", 1.0), delta(MIRRORED)])
    await logs.hold(mine)
    tails = redis_logs(survivor)
    while (await tails.tail(mine.log)).n < MIRRORED:
        await asyncio.sleep(0.01)
    for task in logs._tasks:
        task.cancel()
    await asyncio.gather(*logs._tasks, return_exceptions=True)
    last = MIRRORED + ahead
    if ahead:
        await logs.append(mine.log, MIRRORED + 1, [delta(n) for n in range(MIRRORED + 1, last + 1)])
    assert await shown(writer, mine, last) == list(range(1, last + 1))
    return mine


async def shown(server: Running, generation: Generation, last: int) -> list[int]:
    """The numbers of the events that a reader on a server gets, up to `last`."""
    seen: list[int] = []
    path = f"/v1/generations/{generation.id}/events"
    async with http(server.url) as client, client.stream("GET", path) as response:
        async for event in sse.events(response):
            seen.append(event.n)
            if event.n >= last:
                break
    return seen


async def expire(redis_server: RedisServer, writer: Running) -> None:
    """Let the lease of the writer end now."""
    redis_server.ask("DEL", f"streamapi:lease:{redis_logs(writer).process}")


async def by_post(server: Running, generation: Generation, after: int) -> Seen:
    """Resume once by POST."""
    return await _by_sse(server, "POST", "/v1/text/stream", generation, after)


async def by_event_source(server: Running, generation: Generation, after: int) -> Seen:
    """Resume by GET as an `EventSource` without a `close()` does: until the answer is 204."""
    path, seen = f"/v1/generations/{generation.id}/events", Seen()
    while True:
        found = await _by_sse(server, "GET", path, generation, after)
        if not found:
            return seen
        seen += found
        after = seen[-1][1]


async def _by_sse(
    server: Running, method: str, path: str, generation: Generation, after: int
) -> Seen:
    headers = {"Last-Event-ID": f"{generation.id}.{after}"}
    body = {"json": {"prompt": "p"}} if method == "POST" else {}
    async with (
        http(server.url) as client,
        client.stream(method, path, headers=headers, **body) as response,
    ):
        assert response.status_code in (200, 204)
        return [(event.type, event.n) async for event in sse.events(response) if event.id]


async def by_socket(server: Running, generation: Generation, after: int) -> Seen:
    """Resume on a WebSocket, up to the ending."""
    seen = Seen()
    async with websockets.connect(f"{server.ws}/v1/ws") as socket:
        await send_message(socket, "resume", generation=generation.id, after=after)
        while not seen or seen[-1][0] not in ENDINGS:
            message = await receive(socket)
            assert message["type"] != "error", message
            if message["type"] != "ping":
                seen.append((message["type"], message["n"]))
    return seen


TRANSPORTS = {"post": by_post, "EventSource": by_event_source, "socket": by_socket}


def one_loss(seen: Seen, after: int) -> None:
    """Exactly one ending came, and no reader has seen its number before."""
    assert [kind for kind, _ in seen] == ["failed"]
    assert seen[0][1] > after


@AHEAD
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_reader_ahead_of_a_killed_writer_has_one_ending(
    writer: Running, survivor: Running, redis_server: RedisServer, ahead: int, transport: str
) -> None:
    """Who resumes before the loss is noticed, and who resumes after it, get the same ending; it
    ends their resumptions."""
    resume: Callable[[Running, Generation, int], Awaitable[Seen]] = TRANSPORTS[transport]
    generation = await killed(writer, survivor, ahead)
    after = MIRRORED + ahead
    early = asyncio.create_task(resume(survivor, generation, after))
    await until(lambda: survivor.parts.generations._readers._readers, "the survivor has a reader")
    await expire(redis_server, writer)
    async with asyncio.timeout(15):
        first = await early
        one_loss(first, after)
        assert await resume(survivor, generation, after) == first
        for reached in (1, MIRRORED):  # readers that were behind
            assert (await resume(survivor, generation, reached))[-1] == first[-1]
    path = f"/v1/generations/{generation.id}/events"
    async with http(survivor.url) as client:
        assert (await client.get(path, params={"after": first[-1][1]})).status_code == 204


@AHEAD
async def test_the_javascript_client_gets_the_ending(
    writer: Running, survivor: Running, redis_server: RedisServer, ahead: int
) -> None:
    """Over each of its transports, and it throws nothing."""
    if shutil.which("node") is None:
        pytest.skip("Node is not installed")
    generation = await killed(writer, survivor, ahead)
    await expire(redis_server, writer)
    said = await javascript(survivor.url, generation.id, MIRRORED + ahead)
    assert set(said) == {"post", "follow", "eventsource", "websocket"}
    for transport, seen in said.items():
        assert isinstance(seen, list), f"{transport}: {seen}"
        one_loss([(kind, n) for kind, n in seen], MIRRORED + ahead)


async def javascript(url: str, generation: str, after: int) -> dict[str, Any]:
    """What the JavaScript client gets behind a position, by each of its transports."""
    process = await asyncio.create_subprocess_exec(
        "node", "--no-warnings", "--experimental-websocket", "--experimental-eventsource",
        str(Path(__file__).parents[1] / "static" / "resume.mjs"), url, generation, str(after),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await asyncio.wait_for(process.communicate(), 20)
    return dict(json.loads(out))


async def test_the_stalled_writers_own_readers_get_the_same_ending(
    writer: Running, survivor: Running, redis_server: RedisServer
) -> None:
    """A writer that was only stalled wakes up: who reads it there ends under the same id."""
    generation = await killed(writer, survivor, 2)
    await expire(redis_server, writer)
    [lost] = await by_post(survivor, generation, MIRRORED + 2)
    here = asyncio.create_task(by_post(writer, generation, MIRRORED + 2))
    redis_logs(writer)._connection.tried.clear()
    await redis_logs(writer).start()
    async with asyncio.timeout(15):
        assert await here == [lost]
    assert await by_event_source(writer, generation, MIRRORED) == [("delta", 3), ("delta", 4), lost]


async def test_the_answer_of_a_lost_log_is_a_failure(
    writer: Running, survivor: Running, redis_server: RedisServer
) -> None:
    """`GET /v1/generations/{id}` says `failed`, with what Redis had."""
    generation = await killed(writer, survivor, 20)
    await expire(redis_server, writer)
    async with http(survivor.url) as client:
        answer = (await client.get(f"/v1/generations/{generation.id}")).json()
    assert (answer["status"], answer["problem"]["code"]) == ("failed", "producer_lost")
    assert answer["result"] == {"text": "<2>"}
