"""Tickets, which stand for a key in the URL of an `EventSource` or a WebSocket."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
import redis as sync_redis
import websockets

from streamapi.access import keys
from streamapi.access.tickets import MemoryTickets
from streamapi.emulator import Emulator
from tests.api.wire import Event, calls, follow, http, parse, receive, send_message, unique
from tests.conftest import RedisServer, Running, bearer, running

PATH = "/v1/text/stream"
SHORT = "[[words:5]]"


@pytest.fixture
async def client(guarded: Running) -> AsyncIterator[httpx.AsyncClient]:
    async with http(guarded.url) as client:
        yield client


async def ticket(server: Running, path: str = PATH, key: str = "", **headers: str) -> str:
    """A new ticket."""
    key = key or (await server.key("text"))[0]
    async with http(server.url) as client:
        answer = await client.post(
            "/v1/tickets", json={"path": path}, headers={**bearer(key), **headers}
        )
    assert answer.status_code == 201, answer.text
    assert answer.json()["expires_in"] == 60
    assert answer.headers["cache-control"] == "no-store"
    return str(answer.json()["ticket"])


def address(shown: str, prompt: str = "hello", **more: str) -> dict[str, str]:
    return {"prompt": prompt, "ticket": shown, **more}


async def test_a_ticket_opens_a_stream(guarded: Running, client: httpx.AsyncClient) -> None:
    """The request has no header, like that of an `EventSource`."""
    answer = await client.get(PATH, params=address(await ticket(guarded), unique(SHORT)))
    assert answer.status_code == 200
    assert parse(answer.content)[-1].type == "done"


async def test_presented_again_it_joins_its_generation(
    guarded: Running, emulator: Emulator, client: httpx.AsyncClient
) -> None:
    """At the same time, many times, and after the end: one generation, one call to the model."""
    shown, prompt = await ticket(guarded), unique(SHORT)
    params = address(shown, prompt)
    answers = await asyncio.gather(*(client.get(PATH, params=params) for _ in range(5)))
    answers.append(await client.get(PATH, params=params))
    assert {answer.content for answer in answers} == {answers[0].content}
    assert len({answer.headers["generation-id"] for answer in answers}) == 1
    assert len(await calls(emulator, prompt)) == 1


async def test_it_starts_no_second_generation(guarded: Running, client: httpx.AsyncClient) -> None:
    """Another request under the same ticket is refused."""
    shown = await ticket(guarded)
    assert (await client.get(PATH, params=address(shown, unique(SHORT)))).status_code == 200
    answer = await client.get(PATH, params=address(shown, unique(SHORT)))
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")


async def test_it_starts_no_second_after_the_first_was_deleted(
    guarded: Running, emulator: Emulator, client: httpx.AsyncClient
) -> None:
    """A ticket that is found in some log cannot ask a model."""
    key, _ = await guarded.key("text")
    params = address(await ticket(guarded, key=key), unique(SHORT))
    generation = (await client.get(PATH, params=params)).headers["generation-id"]
    await client.delete(f"/v1/generations/{generation}", headers=bearer(key))
    answer = await client.get(PATH, params=params)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert len(await calls(emulator, params["prompt"])) == 1


async def test_it_starts_no_second_after_the_first_was_cancelled(
    guarded: Running, emulator: Emulator, client: httpx.AsyncClient
) -> None:
    """A ticket is good for one generation; only an idempotency key tries again after a failure."""
    key, _ = await guarded.key("text")
    shown, prompt = await ticket(guarded, key=key), unique("[[fault:hang_after_text after=1]]")
    async with client.stream("GET", PATH, params=address(shown, prompt)) as answer:
        generation = answer.headers["generation-id"]
        await client.post(f"/v1/generations/{generation}/cancel", headers=bearer(key))
        await answer.aread()
    again = await client.get(PATH, params=address(shown, prompt))
    assert again.headers["generation-id"] == generation
    assert parse(again.content)[-1].type == "cancelled"
    assert len(await calls(emulator, prompt)) == 1


async def test_it_resumes_at_the_same_url(guarded: Running, client: httpx.AsyncClient) -> None:
    """An `EventSource` reconnects with the same URL and the last event id."""
    params = address(await ticket(guarded), unique(SHORT))
    events = parse((await client.get(PATH, params=params)).content)
    headers = {"Last-Event-ID": str(events[1].id)}
    rest = await client.get(PATH, params=params, headers=headers)
    assert parse(rest.content) == events[2:]


async def test_a_socket_takes_one(guarded: Running, emulator: Emulator) -> None:
    """The URL of the handshake has it; the `start` of the socket is the ticket's generation."""
    shown, prompt = await ticket(guarded, "/v1/ws"), unique(SHORT)
    generations = []
    for _ in range(2):
        async with websockets.connect(f"{guarded.ws}/v1/ws?ticket={shown}") as socket:
            await send_message(socket, "start", task="text", request={"prompt": prompt})
            events = await follow(socket)
            assert events[-1].type == "done"
            generations.append(events[-1].data["id"])
            await send_message(socket, "start", task="text", request={"prompt": unique(SHORT)})
            assert (await receive(socket))["problem"]["code"] == "idempotency_key_reused"
    assert generations[0] == generations[1]
    assert len(await calls(emulator, prompt)) == 1


async def test_it_is_for_one_path(guarded: Running, client: httpx.AsyncClient) -> None:
    """Another path refuses it: with a 403 if the path takes tickets, else with a 401."""
    shown = await ticket(guarded)
    other = await client.get("/v1/code/stream", params=address(shown))
    assert (other.status_code, other.json()["code"]) == (403, "forbidden")
    for method, path in (("POST", "/v1/text"), ("GET", "/v1/models"), ("POST", "/v1/tickets")):
        answer = await client.request(method, path, params={"ticket": shown})
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated"), path
    with pytest.raises(websockets.InvalidStatus) as refused:
        await websockets.connect(f"{guarded.ws}/v1/ws?ticket={shown}")
    assert refused.value.response.status_code == 403


async def test_it_is_for_one_origin(emulator: Emulator, database_url: str) -> None:
    """A page of another allowed origin cannot use it."""
    pages = "https://one.example,https://two.example"
    settings: dict[str, Any] = {"auth": "keys", "database_url": database_url}
    async with running(emulator, cors_origins=pages, **settings) as server:
        one, two = ({"Origin": origin} for origin in pages.split(","))
        shown = await ticket(server, **one)
        async with http(server.url) as client:
            stolen = await client.get(PATH, params=address(shown), headers=two)
            assert (stolen.status_code, stolen.json()["code"]) == (403, "origin_not_allowed")
            own = await client.get(PATH, params=address(shown), headers=one)
            assert own.status_code == 200


@pytest.mark.parametrize(
    "shown",
    ["", "tkt_", "tkt_" + "a" * 32, "x" * 5000, "\x00", "ümlaut", "' OR 1=1 --", keys.make()],
    ids=["nothing", "prefix", "unknown", "long", "nul", "umlaut", "sql", "key"],
)
async def test_an_invalid_ticket_is_401(client: httpx.AsyncClient, shown: str) -> None:
    """Made-up, malformed and hostile tickets are refused, and so is a key."""
    answer = await client.get(PATH, params=address(shown))
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    if len(shown) > 4:
        assert shown not in answer.text


async def test_it_expires_after_a_minute(guarded: Running, client: httpx.AsyncClient) -> None:
    """A ticket that was presented lives as long as its generation instead."""
    now = [0.0]
    guarded.parts.tickets = MemoryTickets(lambda: now[0])
    used, unused = await ticket(guarded), await ticket(guarded)
    params = address(used, unique(SHORT))
    assert (await client.get(PATH, params=params)).status_code == 200
    now[0] = 61.0
    assert (await client.get(PATH, params=params)).status_code == 200
    answer = await client.get(PATH, params=address(unused))
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


Pass = Callable[[float], None]


@pytest.fixture(params=["memory", "redis"])
async def timed(
    request: pytest.FixtureRequest,
    emulator: Emulator,
    redis_server: RedisServer,
    database_url: str,
) -> AsyncIterator[tuple[Running, Pass]]:
    """A server whose tickets follow a clock of the test."""
    settings: dict[str, Any] = {"auth": "keys", "database_url": database_url}
    if request.param == "redis":
        settings["redis_url"] = redis_server.url
    now = [0.0]

    def wait(seconds: float) -> None:
        now[0] += seconds
        if request.param == "redis":
            for name in redis_server.ask("KEYS", "*ticket:*"):
                left = redis_server.ask("PTTL", name) - round(seconds * 1000)
                redis_server.ask("PEXPIRE", name, left)

    async with running(emulator, **settings) as server:
        if request.param == "memory":
            server.parts.tickets = MemoryTickets(lambda: now[0])
        yield server, wait


async def later(server: Running, key: str) -> str:
    """The id of a generation to follow."""
    async with http(server.url) as client:
        headers = {**bearer(key), "Prefer": "respond-async"}
        body = {"prompt": unique("[[words:20]]")}
        answer = await client.post("/v1/text", json=body, headers=headers)
    return str(answer.json()["id"])


async def test_it_lives_as_long_as_the_generation_it_follows(timed: tuple[Running, Pass]) -> None:
    """`EventSource` reconnects with the same URL as long as there are events to read, also when
    more than a minute has passed since its last request."""
    server, wait = timed
    key, _ = await server.key("text")
    generation = await later(server, key)
    path = f"/v1/generations/{generation}/events"
    shown, unused = await ticket(server, path, key), await ticket(server, path, key)
    seen: list[Event] = []
    async with http(server.url) as client:
        while not seen or seen[-1].type != "done":
            headers = {"Last-Event-ID": str(seen[-1].id)} if seen else {}
            answer = await client.get(path, params={"ticket": shown}, headers=headers)
            assert answer.status_code == 200, answer.text
            seen += parse(answer.content)[:4]  # then the connection breaks
            wait(61.0)
        assert [event.n for event in seen] == list(range(1, len(seen) + 1))
        headers = {"Last-Event-ID": str(seen[-1].id)}
        answer = await client.get(path, params={"ticket": shown}, headers=headers)
        assert answer.status_code == 204
        assert (await client.get(path, params={"ticket": unused})).status_code == 401


async def test_a_ticket_that_follows_starts_nothing(
    timed: tuple[Running, Pass], emulator: Emulator
) -> None:
    """At the path of a stream it reads the generation that it resumed, and nothing else."""
    server, wait = timed
    key, _ = await server.key("text")
    one, other = await later(server, key), await later(server, key)
    shown, prompt = await ticket(server, key=key), unique(SHORT)
    async with http(server.url) as client:
        for seconds in (0.0, 61.0):
            wait(seconds)
            at = {"Last-Event-ID": f"{one}.2"}
            answer = await client.get(PATH, params=address(shown), headers=at)
            assert parse(answer.content)[-1].type == "done"
            at = {"Last-Event-ID": f"{other}.2"}
            answer = await client.get(PATH, params=address(shown), headers=at)
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
            answer = await client.get(PATH, params=address(shown, prompt))
            assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
    assert await calls(emulator, prompt) == []


async def test_a_sockets_ticket_follows(timed: tuple[Running, Pass], emulator: Emulator) -> None:
    """A socket that reconnects resumes the generation of the one before it."""
    server, wait = timed
    key, _ = await server.key("text")
    one, other = await later(server, key), await later(server, key)
    shown, prompt = await ticket(server, "/v1/ws", key), unique(SHORT)
    for _ in range(2):
        async with websockets.connect(f"{server.ws}/v1/ws?ticket={shown}") as socket:
            await send_message(socket, "resume", generation=one, after=2)
            assert (await follow(socket))[-1].type == "done"
            for kind in ("resume", "cancel"):
                await send_message(socket, kind, generation=other)
                assert (await receive(socket))["problem"]["code"] == "forbidden"
            await send_message(socket, "start", task="text", request={"prompt": prompt})
            assert (await receive(socket))["problem"]["code"] == "idempotency_key_reused"
        wait(61.0)
    assert await calls(emulator, prompt) == []


async def test_in_use_it_outlives_its_first_claim(
    timed: tuple[Running, Pass], emulator: Emulator
) -> None:
    """Each use extends the ticket, but not the claim under which it started its generation."""
    server, _ = timed
    shown, prompt = await ticket(server), unique(SHORT)
    async with http(server.url) as client:
        first = await client.get(PATH, params=address(shown, prompt))
        logs = server.parts.logs
        memory: Any = getattr(logs, "_local", logs)
        memory._claims.clear()
        if server.parts.settings.redis_url:
            redis = sync_redis.Redis.from_url(server.parts.settings.redis_url)
            for name in redis.keys("*claim:*"):
                redis.delete(name)
            redis.close()
        again = await client.get(PATH, params=address(shown, prompt))
    assert again.headers["generation-id"] == first.headers["generation-id"]
    assert len(await calls(emulator, prompt)) == 1


async def test_it_ends_with_its_key(guarded: Running, client: httpx.AsyncClient) -> None:
    """A ticket of a revoked key is refused."""
    key, key_id = await guarded.key("text")
    shown = await ticket(guarded, key=key)
    admin, _ = await guarded.key("admin")
    await client.delete(f"/v1/keys/{key_id}", headers=bearer(admin))
    answer = await client.get(PATH, params=address(shown))
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


async def test_it_may_not_do_more_than_its_key(guarded: Running, client: httpx.AsyncClient) -> None:
    """There is no ticket for a task outside of the key's scopes, nor for a path without tickets."""
    key, _ = await guarded.key("text")
    answer = await client.post("/v1/tickets", json={"path": "/v1/code/stream"}, headers=bearer(key))
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    slashes = ("//v1/text/stream", "v1/text/stream", "/v1//text/stream", "/v1/text/stream/", "//")
    for path in ("/v1/text", "/v1/keys", "/nowhere", "", f"{PATH}?prompt=a", "\x00", *slashes):
        answer = await client.post("/v1/tickets", json={"path": path}, headers=bearer(key))
        assert answer.status_code == 422, path
        assert answer.json()["errors"][0]["pointer"] == "/path"


async def test_wrong_tickets_are_limited(emulator: Emulator, database_url: str) -> None:
    """Wrong tickets and wrong keys count together, by address."""
    settings: dict[str, Any] = {"auth": "keys", "database_url": database_url}
    async with (
        running(emulator, failures_per_minute=3, **settings) as server,
        http(server.url) as client,
    ):
        codes = [(await client.get(PATH, params=address(f"tkt_{n}"))).status_code for n in range(4)]
        assert codes == [401, 401, 401, 429]
        bad = await client.get("/v1/models", headers=bearer(keys.make()))
        assert bad.status_code == 429


async def test_guesses_do_not_block_known_keys(emulator: Emulator, database_url: str) -> None:
    """Many people can share an address: a key that was good before still works, also when it must
    be looked up again."""
    settings: dict[str, Any] = {"auth": "keys", "database_url": database_url}
    async with (
        running(emulator, failures_per_minute=3, key_ttl=0.001, **settings) as server,
        http(server.url) as client,
    ):
        key, _ = await server.key("text")
        good = (await client.get("/v1/models", headers=bearer(key))).status_code
        bad = [
            (await client.get("/v1/models", headers=bearer(keys.make()))).status_code
            for _ in range(4)
        ]
        assert (good, bad) == (200, [401, 401, 401, 429])
        assert (await client.get("/v1/models", headers=bearer(key))).status_code == 200


async def test_two_processes_share_tickets(
    emulator: Emulator, redis_server: RedisServer, database_url: str
) -> None:
    """A ticket of one process joins at the other; Redis has only its digest."""
    settings: dict[str, Any] = {
        "auth": "keys",
        "database_url": database_url,
        "redis_url": redis_server.url,
    }
    prompt = unique(SHORT)
    async with running(emulator, **settings) as one, running(emulator, **settings) as two:
        shown = await ticket(one)
        answers = []
        for server in (two, one, two):
            async with http(server.url) as client:
                answers.append(await client.get(PATH, params=address(shown, prompt)))
        found = json.dumps([str(key) for key in redis_server.ask("KEYS", "*")])
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.headers["generation-id"] for answer in answers}) == 1
    assert len(await calls(emulator, prompt)) == 1
    assert "ticket:" in found
    assert shown not in found


async def test_an_open_server_has_tickets_too(server: Running) -> None:
    """A page need not know whether the server needs keys."""
    async with http(server.url) as client:
        made = await client.post("/v1/tickets", json={"path": PATH})
        params = address(made.json()["ticket"], unique(SHORT))
        assert (await client.get(PATH, params=params)).status_code == 200
        assert (await client.get(PATH, params=address("tkt_no"))).status_code == 401
