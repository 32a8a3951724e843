"""Redis is away, in every way that it can be: what clients see. Each test has a server and a
Redis of its own to ill-treat; what the backend itself does is in `tests/generation`."""

import asyncio
import re
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from typing import Any
from uuid import uuid4

import httpx
import pytest

from streamapi.emulator import Emulator
from tests import sse
from tests.api.wire import http, unique
from tests.conftest import PATIENT, RedisServer, Running, bearer, running, until
from tests.generation.test_redis_away import HARMS, Harm, _loading, harm, server  # noqa: F401

SOON = 0.3 + 1.2  # what a request may lose, and what a busy machine may add
HEALED = 5.0


@asynccontextmanager
async def a_stream_and_its_client(
    emulator: Emulator, store: RedisServer
) -> AsyncIterator[tuple[httpx.AsyncClient, list[sse.Seen], Running]]:
    """A server, a client of it, and a stream that has begun; behind it, the stream has come to
    its end and lost nothing."""
    seen: list[sse.Seen] = []

    async def follow(client: httpx.AsyncClient) -> None:
        body = {"prompt": unique("[[words:400]] [[pace:0.01]]")}
        async with client.stream("POST", "/v1/text/stream", json=body) as response:
            async for event in sse.events(response):
                seen.append(event)

    async with (
        running(emulator, redis_url=store.url, **PATIENT) as here,
        http(here.url) as client,
    ):
        following = asyncio.create_task(follow(client))
        await until(lambda: len(seen) > 2, "the stream has begun")
        yield client, seen, here
        await following
    assert seen[-1].type == "done"
    assert [event.n for event in seen] == list(range(1, len(seen) + 1))
    assert sse.text(seen) == seen[-1].data["result"]["text"]


async def ask(client: httpx.AsyncClient, *, key: bool = False, **more: Any) -> httpx.Response:
    headers = {"Idempotency-Key": uuid4().hex} if key else {}
    return await client.post("/v1/text", json={"prompt": unique(), **more}, headers=headers)


async def away(client: httpx.AsyncClient) -> None:
    """What needs nobody else is answered; a promise that cannot be kept is not made; whoever must
    come again is told so in the one way that an `EventSource` understands. All of it soon."""
    for asking, status in (
        (lambda: ask(client, key=True), 503),
        (lambda: client.get("/v1/generations/gen_of-another-process"), 503),
        (lambda: client.get("/v1/generations/gen_of-another-process/events"), 200),
        (lambda: ask(client), 200),
        (lambda: ask(client, cache="use"), 200),
    ):
        began = time.monotonic()
        answer = await asking()
        assert time.monotonic() - began < SOON
        assert answer.status_code == status, answer.text
        if status == 503:
            assert answer.json()["code"] == "store_unavailable"
            assert answer.headers["Retry-After"]
        elif "json" in answer.headers["Content-Type"]:
            assert answer.json()["status"] == "done"
        else:
            assert answer.text.startswith("retry: ")
    ready = await client.get("/readyz")
    assert (ready.status_code, ready.json()["logs"]) == (200, "redis is away")


async def healed(client: httpx.AsyncClient, began: float) -> None:
    """By itself and soon: a key is a promise again."""
    headers, body = {"Idempotency-Key": uuid4().hex}, {"prompt": unique()}
    while (one := await client.post("/v1/text", json=body, headers=headers)).status_code != 200:
        assert one.json()["code"] == "store_unavailable"
        assert time.monotonic() - began < HEALED
        await asyncio.sleep(0.02)
    two = await client.post("/v1/text", json=body, headers=headers)
    assert two.json()["id"] == one.json()["id"]
    assert (await client.get("/readyz")).json()["logs"] == "redis"


async def test_away_and_back(
    emulator: Emulator,
    server: RedisServer,  # noqa: F811
    harm: tuple[Harm, Harm],  # noqa: F811
) -> None:
    """Refused, hanging, read-only, without replicas, full: a stream that runs goes on, what needs
    others is refused at once, and it heals."""
    hurt, mend = harm
    async with a_stream_and_its_client(emulator, server) as (client, seen, _):
        hurt(server)
        await away(client)
        assert seen[-1].type == "delta", "the stream was to outlive the outage's begin"
        mend(server)
        await healed(client, time.monotonic())


MISHAPS: dict[str, Callable[[RedisServer], object]] = {
    "emptied": lambda redis: redis.ask("FLUSHALL"),
    "restarted": lambda redis: (redis.stop(), redis.start()),
}


@pytest.mark.parametrize("mishap", MISHAPS)
async def test_a_redis_that_forgot_everything(
    emulator: Emulator,
    server: RedisServer,  # noqa: F811
    mishap: str,
) -> None:
    """A Redis that is empty of a sudden: what runs goes on, and can be read elsewhere again."""
    async with (
        a_stream_and_its_client(emulator, server) as (client, seen, _),
        running(emulator, redis_url=server.url) as other,
        http(other.url) as elsewhere,
    ):
        MISHAPS[mishap](server)
        began = time.monotonic()
        await healed(client, began)
        await healed(elsewhere, began)
        place = f"/v1/generations/{seen[0].data['generation']}/events"
        while "event: done" not in (text := (await elsewhere.get(place)).text):
            assert time.monotonic() - began < HEALED
            await asyncio.sleep(0.05)
        await until(lambda: seen[-1].type == "done", "the stream has come to its end")
        assert text.count("event: delta") == len(seen) - 2


async def test_loading(emulator: Emulator, server: RedisServer) -> None:  # noqa: F811
    """A Redis that reads its data from disk is there, and refuses everything."""
    async with a_stream_and_its_client(emulator, server) as (client, _, here):
        server.stop()
        server.start("--enable-debug-command", "yes")
        server.ask("DEBUG", "POPULATE", "5000", "filler", "100")
        server.ask("SAVE")
        server.stop()
        slowly = ("--key-load-delay", "400", "--loading-process-events-interval-bytes", "1024")
        starting = asyncio.get_running_loop().run_in_executor(None, server.start, *slowly)
        await until(lambda: _loading(server), "it is loading")
        await until(lambda: not here.parts.logs.available, "it is away")
        await away(client)
        await starting
        await healed(client, time.monotonic())


@pytest.mark.parametrize("path", ["/v1/text/stream", "/v1/generations/{}/events"])
@pytest.mark.parametrize("what", ["Redis", "the database"])
@pytest.mark.parametrize("by", ["ticket", "key"])
async def test_who_reconnects_gets_the_time_of_the_next_try(
    emulator: Emulator,
    server: RedisServer,  # noqa: F811
    database_url: str,
    path: str,
    what: str,
    by: str,
) -> None:
    """Also where nobody can say who it is: a 503 would be the end of an `EventSource`. It says
    nothing else, and comes through when all is back. A key needs no Redis to be known."""
    settings: dict[str, Any] = {"redis_url": server.url, "database_url": database_url}
    settings |= {"auth": "keys", "key_ttl": 0.001, "key_grace": 0.0}
    async with running(emulator, **settings) as here, http(here.url) as client:
        key, _ = await here.key("text")
        body, headers = {"prompt": unique("[[words:5]]")}, bearer(key)
        started = await client.post("/v1/text", json=body, headers=headers)
        generation = started.json()["id"]
        path = path.format(generation)
        made = await client.post("/v1/tickets", json={"path": path}, headers=headers)
        params = {"ticket": made.json()["ticket"]} if by == "ticket" else {}
        known = {} if by == "ticket" else headers
        cursors: list[dict[str, Any]] = [
            {"headers": {**known, "Last-Event-ID": f"{generation}.2"}, "params": params},
            {"headers": known, "params": {**params, "after": f"{generation}.2"}},
        ]
        took = await asyncio.gather(*(client.get(path, **it) for it in cursors))
        assert {"event: done" in answer.text for answer in took} == {True}

        with _away(what, server, database_url):
            await until(lambda: what != "Redis" or not here.parts.logs.available, "it is away")
            for cursor in cursors:
                answer = await client.get(path, **cursor)
                assert answer.status_code == 200, answer.text
                if (by, what) != ("key", "Redis"):
                    assert re.fullmatch(r"retry: \d+\n\n", answer.text)
                    assert "generation-id" not in answer.headers
            if (by, what) != ("key", "Redis") and "generations" not in path:
                first = await client.get(path, headers=known, params={**params, **body})
                assert (first.status_code, first.json()["code"]) == (503, "store_unavailable")
        began = time.monotonic()
        while "event: done" not in (text := (await client.get(path, **cursors[0])).text):
            assert time.monotonic() - began < HEALED, text
            await asyncio.sleep(0.05)


@contextmanager
def _away(what: str, redis: RedisServer, database_url: str) -> Iterator[None]:
    """While this lasts, Redis does not answer, or the database has no keys."""
    if what == "Redis":
        redis.freeze()
        yield
        redis.thaw()
        return
    with closing(sqlite3.connect(database_url.removeprefix("sqlite:///"))) as records:
        records.execute("ALTER TABLE keys RENAME TO elsewhere")
        records.commit()
        yield
        records.execute("ALTER TABLE elsewhere RENAME TO keys")
        records.commit()
