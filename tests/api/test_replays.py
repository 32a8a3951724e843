"""Replays have limits. A cursor that resumes nothing counts as a request. Live events, and the
reconnections of an `EventSource`, are free."""

import asyncio
import re
from collections import Counter
from typing import Any

import httpx
import pytest
import websockets

from streamapi.emulator import Emulator
from streamapi.settings import Settings
from tests.api.wire import by_json, follow, http, parse, receive, send_message, unique
from tests.conftest import Running, bearer, running

NOBODYS = "gen_aaaaaaaaaaaaaaaaaaaaaa"
DEFAULTS = {
    name: Settings.model_fields[name].default
    for name in ("replays_per_minute", "replay_bytes_per_minute", "rate_limit")
}


async def begun(server: Running, words: int = 20) -> str:
    """The id of a generation that has ended."""
    answer = await by_json(server, unique(f"[[words:{words}]]"))
    return str(answer.body["id"])


def asks_to_reconnect(answer: httpx.Response) -> bool:
    """Whether it is the only refusal after which an `EventSource` reconnects."""
    return answer.status_code == 200 and bool(re.fullmatch(r"retry: \d+\n\n", answer.text))


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/text/stream", 404),
        ("POST", "/v1/text/stream", 404),
        ("GET", f"/v1/generations/{NOBODYS}/events", 404),
    ],
)
async def test_a_cursor_of_nothing_counts(
    emulator: Emulator, method: str, path: str, status: int
) -> None:
    """A well-formed cursor without a generation counts as any request does."""
    cursor = f"{NOBODYS}.1"
    cursors: Any = ({"headers": {"Last-Event-ID": cursor}}, {"params": {"after": cursor}})
    async with running(emulator, rate_limit="4/hour") as server, http(server.url) as client:
        answers = [await client.request(method, path, **it) for it in cursors * 3]
        assert [answer.status_code for answer in answers] == [status] * 4 + [429] * 2
        assert int(answers[-1].headers["retry-after"]) > 0


@pytest.mark.parametrize("cursor", ["x", "5", "", "gen_.1"])
async def test_a_cursor_that_names_nothing_counts(emulator: Emulator, cursor: str) -> None:
    """It resumes nothing, so it counts too."""
    async with running(emulator, rate_limit="2/hour") as server, http(server.url) as client:
        answers = [await client.get("/v1/text/stream", params={"after": cursor}) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [422, 422, 429]


async def test_anothers_generation_is_nothing(emulator: Emulator, database_url: str) -> None:
    """The id of another owner's generation is not a way around the limit."""
    settings: dict[str, Any] = {"auth": "keys", "database_url": database_url}
    async with (
        running(emulator, rate_limit="3/hour", **settings) as server,
        http(server.url) as client,
    ):
        mine, yours = [bearer((await server.key("text", owner=it))[0]) for it in ("one", "two")]
        posted = await client.post("/v1/text", json={"prompt": unique("[[words:3]]")}, headers=mine)
        at = {"Last-Event-ID": f"{posted.json()['id']}.1"}
        codes = [
            (await client.get("/v1/text/stream", headers={**yours, **at})).status_code
            for _ in range(4)
        ]
        assert codes == [404, 404, 404, 429]
        for _ in range(6):
            assert (await client.get("/v1/text/stream", headers={**mine, **at})).status_code == 200


async def test_a_socket_that_resumes_nothing_counts(emulator: Emulator) -> None:
    """Each `resume` counts as a request. The socket stays open."""
    async with (
        running(emulator, rate_limit="2/hour") as server,
        websockets.connect(f"{server.ws}/v1/ws") as socket,
    ):
        codes = []
        for _ in range(3):
            await send_message(socket, "resume", generation=NOBODYS)
            codes.append((await receive(socket))["problem"]["code"])
        assert codes == ["not_found", "not_found", "rate_limited"]


async def test_replays_are_bounded_by_number(emulator: Emulator) -> None:
    """Beyond the limit, a client with a cursor is asked to reconnect later, so that an
    `EventSource` goes on. A client without a cursor gets 429, and a socket gets an `error`."""
    async with running(emulator, replays_per_minute=5) as server, http(server.url) as client:
        generation = await begun(server)
        path = f"/v1/generations/{generation}/events"
        cursor = {"Last-Event-ID": f"{generation}.2"}
        for _ in range(5):
            answer = await client.get("/v1/text/stream", headers=cursor)
            assert parse(answer.content)[-1].type == "done"
        for at in ("/v1/text/stream", path):
            refused = await client.get(at, headers=cursor)
            assert asks_to_reconnect(refused)
            assert 10_000 < int(refused.text.split()[1]) < 14_000
        assert asks_to_reconnect(await client.post("/v1/text/stream", headers=cursor))
        refused = await client.get(path)
        assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
        assert 10 <= int(refused.headers["retry-after"]) <= 12
        async with websockets.connect(f"{server.ws}/v1/ws") as socket:
            await send_message(socket, "resume", generation=generation, ref="r")
            message = await receive(socket)
            assert (message["type"], message["ref"]) == ("error", "r")
            assert message["problem"]["code"] == "rate_limited"
            assert message["problem"]["retry_after"] > 10
            await send_message(socket, "ping")
            assert (await receive(socket))["type"] == "pong"


async def test_replays_are_bounded_by_bytes(emulator: Emulator) -> None:
    """The whole log again and again is refused; what little is left of it still passes."""
    settings = {"replay_bytes_per_minute": 100_000}
    async with running(emulator, **settings) as server, http(server.url) as client:
        generation = await begun(server, words=200)
        path = f"/v1/generations/{generation}/events"
        passed = 0
        while (answer := await client.get(path)).status_code == 200:
            last = parse(answer.content)[-1]
            passed += len(answer.content)
            assert passed < 120_000, "more is sent than charged"
        assert answer.json()["code"] == "rate_limited"
        assert passed > 60_000, "more is charged than sent"
        assert asks_to_reconnect(
            await client.get(path, headers={"Last-Event-ID": f"{generation}.1"})
        )
        async with websockets.connect(f"{server.ws}/v1/ws") as socket:
            await send_message(socket, "resume", generation=generation, after=1)
            assert (await receive(socket))["problem"]["code"] == "rate_limited"
        ended = await client.get(path, headers={"Last-Event-ID": str(last.id)})
        assert ended.status_code == 204


async def test_what_is_read_as_it_comes_is_no_replay(emulator: Emulator) -> None:
    """By a stream, a socket, and a reconnection that has missed nothing."""
    async with (
        running(emulator, replay_bytes_per_minute=1000) as server,
        http(server.url) as client,
    ):
        prompt = unique("[[words:100]]")
        for _ in range(3):
            answer = await client.post("/v1/text/stream", json={"prompt": prompt})
            assert parse(answer.content)[-1].type == "done"
            assert len(answer.content) > 3000
            async with websockets.connect(f"{server.ws}/v1/ws") as socket:
                await send_message(socket, "start", task="text", request={"prompt": prompt})
                assert (await follow(socket))[-1].type == "done"
        body = {"prompt": unique("[[words:60]] [[pace:0.01]]")}
        params = {"on_disconnect": "continue"}
        async with client.stream("POST", "/v1/text/stream", json={**body, **params}) as begun:
            generation = begun.headers["generation-id"]
        for _ in range(3):
            events = await server.parts.generations.events(
                await server.parts.generations.find(_nobody(), generation)
            )
            at = {"Last-Event-ID": f"{generation}.{len(events)}"}
            async with client.stream("GET", "/v1/text/stream", headers=at) as again:
                assert again.headers.get("generation-id") == generation, "it was refused"


def _nobody() -> Any:
    from streamapi.generation.request import Caller

    return Caller()


@pytest.mark.parametrize("store", ["memory", "redis"])
async def test_an_event_source_meets_no_limit(
    emulator: Emulator, request: pytest.FixtureRequest, store: str
) -> None:
    """At the default settings: ten of them, whose connections break twenty times."""
    redis = request.getfixturevalue("redis_server").url if store == "redis" else ""
    settings = {**DEFAULTS, "redis_url": redis, "trusted_hops": 1}
    async with running(emulator, **settings) as server, http(server.url) as client:
        client.headers["X-Forwarded-For"] = "198.51.100.7" if redis else "198.51.100.8"
        made = [await begun(server, words=200) for _ in range(10)]
        seen: Counter[str] = Counter()
        for n in range(2, 22):
            asks = (
                client.get(f"/v1/generations/{it}/events", headers={"Last-Event-ID": f"{it}.{n}"})
                for it in made
            )
            for answer in await asyncio.gather(*asks):
                seen["done" if b"event: done" in answer.content else answer.text] += 1
        assert seen == {"done": 200}


async def test_the_answer_so_far_counts_as_a_request(emulator: Emulator) -> None:
    """The JSON of a generation may be as long as its log."""
    async with running(emulator, rate_limit="3/hour") as server, http(server.url) as client:
        generation = await begun(server)
        answers = [await client.get(f"/v1/generations/{generation}") for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
