"""What answers cost: the estimate, the settlement, streams at once, and what costs nothing."""

import asyncio
from typing import Any

import pytest
import websockets

from streamapi.access.answer_charge import AnswerCharge
from streamapi.access.limits import Limit, Want
from streamapi.emulator import Emulator
from tests.api.wire import calls, http, left, receive, send_message, unique
from tests.conftest import RedisServer, Running, running, until

DAY = "tokens-day/address/127.0.0.1"
ASYNC = {"Prefer": "respond-async"}
SHORT = "[[words:3]]"


async def used(server: Running, most: int) -> int:
    """The tokens that count for this machine, of `most` a day."""
    [state] = await server.parts.limits.take(Want(DAY, Limit(most, 86_400.0), 0))
    return most - state.remaining


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The settings of each backend of the limits. Redis is emptied."""
    if request.param == "memory":
        return {}
    server: RedisServer = request.getfixturevalue("redis_server")
    server.ask("FLUSHALL")
    return {"redis_url": server.url}


async def test_requests_at_once_cannot_exceed_the_limit(
    emulator: Emulator, store: dict[str, Any]
) -> None:
    """Of fifty requests the ten that the estimates allow start. After their end the usage counts
    that the model reported, of aborted answers too."""
    prompt = unique("[[fault:hang_after_text after=3]]")
    most = 10 * 1000
    async with (
        running(emulator, tokens_per_day=most, idle_timeout=5.0, **store) as server,
        http(server.url) as client,
    ):
        # The estimates of the prompt and of the answer make a thousand together.
        estimate = len(prompt) // 4 + 1
        body = {"prompt": prompt, "max_output_tokens": 1000 - estimate}
        started = await asyncio.gather(
            *(client.post("/v1/text", json=body, headers=ASYNC) for _ in range(50))
        )
        codes = sorted(answer.status_code for answer in started)
        assert codes == [202] * 10 + [429] * 40
        assert {it.json()["code"] for it in started if it.status_code == 429} == {"quota_exceeded"}
        assert await used(server, most) == most
        made: list[dict[str, Any]] = []
        async with asyncio.timeout(5):
            while len(made) < 10 or not all(call["tokens"] > 20 for call in made):
                made = await calls(emulator, prompt)
        addresses = [it.headers["location"] for it in started if it.status_code == 202]
        texts = [await client.get(address) for address in addresses]
        while not all(text.json()["result"] for text in texts):
            texts = [await client.get(address) for address in addresses]
        for address in addresses:
            ended = await client.post(f"{address}/cancel")
            assert ended.json()["status"] == "cancelled"
        short = {"prompt": unique(SHORT)}
        done = await client.post("/v1/text", json=short)
        assert done.status_code == 200
        reported = sum(call["tokens"] for call in await calls(emulator, prompt))
        reported += sum(call["tokens"] for call in await calls(emulator, short["prompt"]))
        assert await used(server, most) == pytest.approx(reported, abs=1)
        assert len(await calls(emulator, prompt)) == 10


@pytest.mark.parametrize(
    "fault",
    ["no_finish after=2", "error_after_text after=2", "safety after=2", "hang_after_text after=2"],
)
async def test_a_failure_costs_the_reported_usage(emulator: Emulator, fault: str) -> None:
    """However an answer ends, it costs what the model has written."""
    prompt = unique(f"[[fault:{fault}]]")
    async with running(emulator, tokens_per_day=9000) as server, http(server.url) as client:
        answer = await client.post("/v1/text", json={"prompt": prompt})
        assert answer.status_code != 200
        [call] = await calls(emulator, prompt)
        assert call["tokens"] > 0
        assert await used(server, 9000) == pytest.approx(call["tokens"], abs=1)


async def test_a_model_that_was_never_reached_costs_nothing(emulator: Emulator) -> None:
    """It also holds no stream."""
    body = {"prompt": unique("[[fault:503]]")}
    settings = {"tokens_per_day": 9000, "max_streams": 1, "retry_attempts": 1}
    async with running(emulator, **settings) as server, http(server.url) as client:
        for _ in range(3):
            assert (await client.post("/v1/text", json=body)).status_code == 503
        assert await used(server, 9000) <= 1


async def test_only_a_new_log_costs_tokens(emulator: Emulator) -> None:
    """A caller without tokens still gets a cache hit, a join and a repeated idempotency key."""
    settings = {"tokens_per_day": 1000, "idle_timeout": 5.0}
    async with running(emulator, **settings) as server, http(server.url) as client:
        body = {"prompt": unique("[[words:300]] [[pace:0.02]]"), "cache": "use"}
        key = {"Idempotency-Key": unique().split()[0]}
        first = await client.post("/v1/text", json=body, headers={**ASYNC, **key})
        other = await client.post("/v1/text", json={"prompt": unique()})
        assert (other.status_code, other.json()["code"]) == (429, "quota_exceeded")
        repeated = await client.post("/v1/text", json=body, headers={**ASYNC, **key})
        assert repeated.json()["id"] == first.json()["id"]
        joined = await client.post("/v1/text", json=body)
        assert "collapsed" in joined.headers["cache-status"]
        hit = await client.post("/v1/text", json=body)
        assert "; hit" in hit.headers["cache-status"]
        [call] = await calls(emulator, body["prompt"])
        assert await used(server, 1000) == pytest.approx(call["tokens"], abs=1)


async def test_a_refused_request_leaves_no_log_and_no_claim(
    emulator: Emulator, store: dict[str, Any]
) -> None:
    """The same request and idempotency key work as soon as there are tokens."""
    async with (
        running(emulator, tokens_per_day=1000, idle_timeout=9.0, **store) as server,
        http(server.url) as client,
    ):
        hang = {"prompt": unique("[[fault:hang_after_text]]")}
        first = await client.post("/v1/text", json=hang, headers=ASYNC)
        body: dict[str, Any] = {"prompt": unique(SHORT), "cache": "use", "max_output_tokens": 300}
        key = {"Idempotency-Key": "again"}
        for headers in ({}, key, key):
            refused = await client.post("/v1/text", json=body, headers=headers)
            assert (refused.status_code, refused.json()["code"]) == (429, "quota_exceeded")
            assert int(refused.headers["retry-after"]) > 60
        await client.post(f"{first.headers['location']}/cancel")
        for headers in (key, {}):
            answer = await client.post("/v1/text", json=body, headers=headers)
            assert answer.json()["status"] == "done"
        assert len(await calls(emulator, body["prompt"])) == 1


async def test_a_request_that_joined_a_refused_one_is_refused(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request can join between a claim and its charge: it gets the refusal too."""
    reserve, reserving, go_on = AnswerCharge.reserve, asyncio.Event(), asyncio.Event()

    async def slow(charge: AnswerCharge) -> None:
        reserving.set()
        await go_on.wait()
        await reserve(charge)

    settings = {"tokens_per_day": 1000, "idle_timeout": 9.0}
    async with running(emulator, **settings) as server, http(server.url) as client:
        hang = {"prompt": unique("[[fault:hang_after_text]]")}
        await client.post("/v1/text", json=hang, headers=ASYNC)
        monkeypatch.setattr(AnswerCharge, "reserve", slow)
        body = {"prompt": unique(SHORT), "cache": "use"}
        leader = asyncio.create_task(client.post("/v1/text", json=body))
        await reserving.wait()
        joined = await client.post("/v1/text", json=body, headers=ASYNC)
        assert joined.status_code == 202
        go_on.set()
        assert (await leader).json()["code"] == "quota_exceeded"
        ended = (await client.get(joined.headers["location"])).json()
        assert (ended["status"], ended["problem"]["code"]) == ("failed", "quota_exceeded")


ENDINGS = ["[[words:3]]", "[[fault:no_finish]]", "[[fault:503]]", "[[fault:safety_before_text]]"]


async def test_streams_at_once_are_bounded_and_released(
    emulator: Emulator, store: dict[str, Any]
) -> None:
    """Two at once over all transports. A stream is released however its answer ends."""
    settings: dict[str, Any] = {"max_streams": 2, "idle_timeout": 9.0, "retry_attempts": 1, **store}
    async with running(emulator, **settings) as server, http(server.url) as client:
        hang = {"prompt": unique("[[fault:hang_after_text]]"), "on_disconnect": "cancel"}
        started = [await client.post("/v1/text", json=hang, headers=ASYNC) for _ in range(2)]
        refused = await client.post("/v1/text", json={"prompt": unique(SHORT)})
        assert (refused.status_code, refused.json()["code"]) == (429, "too_many_streams")
        assert refused.headers["retry-after"] == "1"
        assert refused.headers["ratelimit"] == '"streams";r=0'
        async with websockets.connect(f"{server.ws}/v1/ws") as socket:
            await send_message(socket, "start", task="text", request={"prompt": unique(SHORT)})
            assert (await receive(socket))["problem"]["code"] == "too_many_streams"
        await client.post(f"{started[0].headers['location']}/cancel")
        for markers in ENDINGS:
            answer = await client.post("/v1/text", json={"prompt": unique(markers)})
            assert answer.status_code != 429, markers
        async with client.stream("POST", "/v1/text/stream", json=hang):
            pass  # it leaves
        free = {"prompt": unique(SHORT)}
        codes = [429]
        async with asyncio.timeout(5):
            while codes[-1] == 429:
                codes.append((await client.post("/v1/text", json=free)).status_code)
        assert codes[-1] == 200
        await client.delete(started[1].headers["location"])
        again = [await client.post("/v1/text", json=hang, headers=ASYNC) for _ in range(2)]
        assert [answer.status_code for answer in again] == [202, 202]


async def test_the_headers_show_each_limit(emulator: Emulator) -> None:
    """A new log shows one policy per limit, and what remains of it."""
    settings = {"rate_limit": "9/hour", "tokens_per_minute": 5000, "max_streams": 3}
    async with running(emulator, **settings) as server, http(server.url) as client:
        answer = await client.post("/v1/text", json={"prompt": "abc", "max_output_tokens": 999})
    assert answer.headers["ratelimit-policy"] == (
        '"requests";q=9;w=3600, "tokens";q=5000;w=60, "streams";q=3;qu="concurrent-requests"'
    )
    assert '"tokens";r=4000;t=12' in answer.headers["ratelimit"]
    assert answer.headers["ratelimit"].endswith('"streams";r=2')


async def test_two_processes_allow_exactly_the_limit(
    emulator: Emulator, redis_server: RedisServer
) -> None:
    """Of sixty requests over twenty connections to two servers exactly twenty pass."""
    redis_server.ask("FLUSHALL")
    settings = {"rate_limit": "20/hour", "redis_url": redis_server.url}
    prompt = unique(SHORT)

    async def three(url: str) -> list[int]:
        async with http(url) as client:
            body = {"prompt": prompt}
            return [(await client.post("/v1/text", json=body)).status_code for _ in range(3)]

    async with running(emulator, **settings) as one, running(emulator, **settings) as other:
        codes = await asyncio.gather(*(three((one, other)[n % 2].url) for n in range(20)))
    assert sorted(code for three in codes for code in three) == [200] * 20 + [429] * 40
    assert len(await calls(emulator, prompt)) == 20


async def test_the_messages_of_a_socket_are_limited(emulator: Emulator) -> None:
    """A message beyond the limit is refused, and the socket stays open."""
    async with (
        running(emulator, message_limit=5) as server,
        websockets.connect(f"{server.ws}/v1/ws") as socket,
    ):
        for _ in range(5):
            await send_message(socket, "ping")
            assert (await receive(socket))["type"] == "pong"
        await send_message(socket, "ping")
        refused = await receive(socket)
        assert refused["problem"]["code"] == "rate_limited"
        assert 10 < refused["problem"]["retry_after"] <= 12


async def test_an_aborted_stream_is_settled(emulator: Emulator) -> None:
    """It costs what was written until the reader left."""
    prompt = unique("[[fault:hang_after_text after=4]]")
    settings = {"tokens_per_day": 9000, "idle_timeout": 5.0}
    async with running(emulator, **settings) as server:
        async with websockets.connect(f"{server.ws}/v1/ws") as socket:
            await send_message(socket, "start", task="text", request={"prompt": prompt})
            kinds = [(await receive(socket))["type"] for _ in range(4)]
            assert kinds[-1] == "delta"
        call = await left(emulator, prompt)
        assert call["outcome"] == "client_left"
        await until(lambda: not server.parts.generations.running, "it has ended")
        got = await used(server, 9000)
    assert got == pytest.approx(call["tokens"], abs=1)
