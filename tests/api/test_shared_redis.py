"""One Redis for several deployments, and for two versions of one deployment."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import httpx
import msgspec
import pytest
import websockets

from streamapi.emulator import Emulator
from streamapi.errors import StoreUnavailable
from streamapi.generation.event import EVENTS
from streamapi.generation.generation import Generation
from streamapi.generation.redis.logs import RedisLogs
from streamapi.generation.redis.wire import FORMAT
from tests.api.wire import http, receive, send_message, unique
from tests.conftest import RedisServer, Running, bearer, running, until
from tests.generation.test_log_contract import START, fresh, hold_on, text
from tests.generation.test_redis_races import process

FORMATS = {1: ["start", "wait", "delta", "label", "done", "failed", "cancelled"]}
"""The events that each version of the format knows."""


def test_the_format_names_its_events() -> None:
    """A version that does not know an event must be told so."""
    assert [kind.type for kind in EVENTS] == FORMATS.get(FORMAT), (
        "an event was added or removed: raise FORMAT in redis_wire.py, and say here what it knows"
    )


# Two deployments.


async def test_two_deployments_share_nothing_but_the_redis(
    emulator: Emulator, redis_server: RedisServer, database_url: str
) -> None:
    """Generations, keys of requests, limits and tickets of one are not the other's."""
    redis_server.ask("FLUSHALL")
    one, other = f"one-{uuid4().hex}:", f"other-{uuid4().hex}:"
    settings = {"redis_url": redis_server.url, "auth": "keys", "database_url": database_url}
    async with (
        running(emulator, redis_prefix=one, rate_limit="2/minute", **settings) as here,
        running(emulator, redis_prefix=other, rate_limit="2/minute", **settings) as there,
    ):
        await until(
            lambda: here.parts.logs.available and there.parts.logs.available, "both have it"
        )
        key, _ = await here.key()
        headers = {**bearer(key), "Idempotency-Key": uuid4().hex}
        body = {"prompt": unique()}
        async with http(here.url) as mine, http(there.url) as theirs:
            first = await mine.post("/v1/text", json=body, headers=headers)
            second = await theirs.post("/v1/text", json=body, headers=headers)
            assert (first.status_code, second.status_code) == (200, 200), first.text + second.text
            assert first.json()["id"] != second.json()["id"]
            path = f"/v1/generations/{first.json()['id']}"
            assert (await theirs.get(path, headers=bearer(key))).status_code == 404
            await mine.post("/v1/text", json=body, headers=bearer(key))
            limited = await mine.post("/v1/text", json=body, headers=bearer(key))
            assert limited.status_code == 429
            answer = await theirs.post("/v1/text", json=body, headers=bearer(key))
            assert answer.status_code == 200
            ticket = await mine.post(
                "/v1/tickets", json={"path": "/v1/text/stream"}, headers=bearer(key)
            )
            query = {"prompt": "p", "ticket": ticket.json()["ticket"]}
            refused = await theirs.get("/v1/text/stream", params=query)
            assert refused.status_code == 401
    names = [name.decode() for name in redis_server.ask("KEYS", "*")]
    assert {name.split(":")[0] + ":" for name in names} == {one, other}


# Two versions: what a newer process writes, as an older one sees it.


@pytest.fixture
async def old(emulator: Emulator, redis_server: RedisServer) -> AsyncIterator[Running]:
    """The server that does not know the newer format."""
    async with running(emulator, redis_url=redis_server.url, redis_prefix="races:") as server:
        await until(lambda: server.parts.logs.available, "it has Redis")
        yield server


async def newer(logs: RedisLogs, redis_server: RedisServer) -> Generation:
    """A running log that says it needs a newer format."""
    log = fresh()
    await logs.append(log, 1, [START, text(2)])
    mine = hold_on(log)
    await logs.hold(mine)
    await asyncio.to_thread(mirrored, redis_server, log)
    assert redis_server.ask("HGET", f"races:meta:{log}", "format") == str(FORMAT).encode()
    redis_server.ask("HSET", f"races:meta:{log}", "format", str(FORMAT + 1))
    return mine


def mirrored(redis_server: RedisServer, log: str) -> None:
    """Redis has both events of a log."""
    for _ in range(500):
        if redis_server.ask("HGET", f"races:meta:{log}", "tail") == b"2":
            return
    raise AssertionError("the log was not mirrored")


async def test_an_older_process_says_that_it_cannot_read_a_newer_log(
    old: Running, redis_server: RedisServer
) -> None:
    """By SSE it sends its reader on, by JSON it is 503, on a WebSocket an error: all can be tried
    again, and find a newer process."""
    async with process(redis_server) as logs, http(old.url) as client:
        mine = await newer(logs, redis_server)
        path = f"/v1/generations/{mine.id}"
        for answer in (
            await client.get(f"{path}/events", headers={"Last-Event-ID": f"{mine.id}.1"}),
            await client.post("/v1/text/stream", headers={"Last-Event-ID": f"{mine.id}.1"}),
        ):
            assert answer.status_code == 200
            assert answer.text.startswith("retry: ")
            assert "data:" not in answer.text
        assert unavailable(await client.get(path))
        async with websockets.connect(f"{old.ws}/v1/ws") as socket:
            await send_message(socket, "resume", generation=mine.id, after=1)
            problem = (await receive(socket))["problem"]
        assert (problem["code"], problem["retryable"]) == ("store_unavailable", True)


def unavailable(answer: httpx.Response) -> bool:
    """Whether it says to come again."""
    return (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")


async def test_an_event_that_is_not_known_is_not_passed_over(redis_server: RedisServer) -> None:
    """Not even in a log that says it is of a known format: its readers are told to come again."""
    async with process(redis_server) as here, process(redis_server) as there:
        log = fresh()
        await here.append(log, 1, [START, text(2)])
        await here.hold(hold_on(log))
        await asyncio.to_thread(mirrored, redis_server, log)
        seen = []

        async def read() -> None:
            async for batch in there.read(log):
                seen.extend(batch)

        reading = asyncio.create_task(read())
        await until(lambda: len(seen) == 2, "it follows")
        unknown = msgspec.msgpack.encode([("picture", b"{}")])
        redis_server.ask("XADD", f"races:log:{log}", "*", "n", "3", "e", unknown)  # type: ignore[arg-type]
        with pytest.raises(StoreUnavailable):
            await asyncio.wait_for(reading, 5)
        with pytest.raises(StoreUnavailable):  # and who comes later
            await read()


async def test_a_generation_that_is_not_known_is_not_never_there(
    redis_server: RedisServer, old: Running
) -> None:
    """It is a 503, not a 404, which would be final."""
    generation = "gen_newer"
    packed = msgspec.msgpack.encode({"id": generation, "on_disconnect": "unheard_of"})
    redis_server.ask("HSET", f"races:gen:{generation}", "is", packed, "log", "log_newer")  # type: ignore[arg-type]
    async with http(old.url) as client:
        answer = await client.get(f"/v1/generations/{generation}")
    redis_server.ask("DEL", f"races:gen:{generation}")
    assert unavailable(answer)


async def test_a_message_that_is_not_known_is_logged(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A request of a newer process for a log here is logged, and the next message is read."""
    async with process(redis_server) as here, process(redis_server) as there:
        log = fresh()
        await here.append(log, 1, [START])
        await here.hold(hold_on(log))
        stopped: list[str] = []
        here.on_stop(log, stopped.append)
        fields = ("k", "pause", "l", log, "g", "", "d", "")
        redis_server.ask("XADD", f"races:inbox:{here.process}", "*", *fields)
        await there.stop(log, "caller")
        await until(lambda: stopped, "the next message is read")
    assert f"ignored message 'pause' about {log}" in caplog.text
