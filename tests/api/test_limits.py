"""The request limit at the transports: who is counted, what the headers show, and that it holds."""

import asyncio
import re
from typing import Any

import httpx
import pytest
import websockets

from streamapi.api import limits
from streamapi.emulator import Emulator
from streamapi.generation.request import Allowance, Caller
from tests.api.wire import calls, follow, http, parse, receive, send_message, unique
from tests.conftest import PATIENT, Running, running

SHORT = "[[words:3]]"


@pytest.fixture
async def limited(emulator: Emulator) -> Any:
    """A server that allows three requests an hour."""
    async with running(emulator, rate_limit="3/hour", ping_interval=0.2) as server:
        yield server


@pytest.fixture
async def client(limited: Running) -> Any:
    async with http(limited.url) as client:
        yield client


async def ask(client: httpx.AsyncClient, path: str = "/v1/text", **more: Any) -> httpx.Response:
    return await client.post(path, json={"prompt": unique(SHORT)}, **more)


def rate_limit(answer: httpx.Response) -> tuple[str, int, int]:
    """The policy, what remains, and when it resets."""
    found = re.fullmatch(r'"requests";r=(\d+);t=(\d+)', answer.headers["ratelimit"])
    assert found
    return answer.headers["ratelimit-policy"], int(found[1]), int(found[2])


async def test_each_answer_shows_the_limit(client: httpx.AsyncClient) -> None:
    """Each answer has the policy, and what is left of it."""
    for left in (2, 1, 0):
        answer = await ask(client)
        assert answer.status_code == 200
        policy, remaining, reset = rate_limit(answer)
        assert (policy, remaining) == ('"requests";q=3;w=3600', left)
        assert 0 < reset <= 3600


async def test_one_too_many_is_429(client: httpx.AsyncClient, emulator: Emulator) -> None:
    """With the wait, in the header, in the body and in `RateLimit`; and no model is asked."""
    for _ in range(3):
        await ask(client)
    prompt = unique(SHORT)
    answer = await client.post("/v1/text", json={"prompt": prompt})
    assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-should-retry"] == "true"
    wait = int(answer.headers["retry-after"])
    assert 1190 <= wait <= 1200
    assert rate_limit(answer)[1] == 0
    assert abs(answer.json()["retry_after"] - wait) <= 1
    assert not [name for name in answer.headers if name.startswith(("x-ratelimit", "ratelimit-re"))]
    assert await calls(emulator, prompt) == []


async def test_retry_after_works(emulator: Emulator) -> None:
    """Who waits as long as it says gets through."""
    async with running(emulator, rate_limit="1/second") as server, http(server.url) as client:
        assert (await ask(client)).status_code == 200
        refused = await ask(client)
        assert refused.status_code == 429
        await asyncio.sleep(int(refused.headers["retry-after"]))  # what the test is about
        assert (await ask(client)).status_code == 200


async def test_of_sixty_at_once_exactly_the_limit_passes(emulator: Emulator) -> None:
    """Twenty of sixty concurrent requests pass, and twenty reach the model."""
    prompt = unique(SHORT)
    async with (
        running(emulator, rate_limit="20/hour", **PATIENT) as server,
        http(server.url) as client,
    ):
        answers = await asyncio.gather(
            *(client.post("/v1/text/stream", json={"prompt": prompt}) for _ in range(60))
        )
    codes = sorted(answer.status_code for answer in answers)
    assert codes == [200] * 20 + [429] * 40
    assert len(await calls(emulator, prompt)) == 20


@pytest.mark.parametrize("path", ["/v1/text", "/v1/text/stream", "/v1/code", "/v1/code/stream"])
async def test_every_transport_is_limited(client: httpx.AsyncClient, path: str) -> None:
    """Each endpoint has its count."""
    codes = [(await ask(client, path)).status_code for _ in range(4)]
    assert codes == [200, 200, 200, 429]


async def test_refused_requests_count_too(client: httpx.AsyncClient) -> None:
    """A flood of invalid requests is limited as one of valid ones."""
    codes = [(await client.post("/v1/text", json={})).status_code for _ in range(4)]
    assert codes == [422, 422, 422, 429]


async def test_a_forwarded_address_is_not_believed(client: httpx.AsyncClient) -> None:
    """Anyone could write another into a header, and have a limit of their own."""
    codes = []
    for n in range(4):
        headers = {"X-Forwarded-For": f"10.0.0.{n}", "Forwarded": f"for=10.0.0.{n}"}
        codes.append((await ask(client, headers=headers)).status_code)
    assert codes[-1] == 429


async def test_a_resumption_is_not_counted(client: httpx.AsyncClient) -> None:
    """A reader that comes back is never limited, by any address."""
    answer = await client.post("/v1/text/stream", json={"prompt": unique(SHORT)})
    generation = parse(answer.content)[0].data["generation"]
    for _ in range(8):
        headers = {"Last-Event-ID": f"{generation}.1"}
        resumed = await client.get("/v1/text/stream", headers=headers)
        assert resumed.status_code == 200
        resumed = await client.post("/v1/text/stream", params={"after": f"{generation}.1"})
        assert resumed.status_code == 200
        assert (await client.get(f"/v1/generations/{generation}/events")).status_code == 200
    assert (await client.post("/v1/text/stream", json={})).status_code == 422


@pytest.mark.parametrize("path", ["/v1/text", "/v1/code"])
@pytest.mark.parametrize(
    "more",
    [
        {"headers": {"Last-Event-ID": "gen_aaaaaaaaaaaaaaaaaaaaaa.1"}},
        {"headers": {"Last-Event-ID": "x"}},
        {"params": {"after": "1"}},
        {"params": {"after": ""}},
    ],
    ids=repr,
)
async def test_what_only_looks_like_a_resumption_is_counted(
    client: httpx.AsyncClient, path: str, more: dict[str, Any]
) -> None:
    """A cursor where nothing can be resumed is no way around the limit."""
    codes = [(await ask(client, path, **more)).status_code for _ in range(5)]
    assert codes.count(200) <= 3
    assert 200 not in codes[3:]


async def test_cancelling_is_limited_whatever_its_parameters(client: httpx.AsyncClient) -> None:
    """`after` on an address that resumes nothing changes nothing."""
    path = "/v1/generations/gen_aaaaaaaaaaaaaaaaaaaaaa/cancel"
    codes = [(await client.post(path, params={"after": "1"})).status_code for _ in range(4)]
    assert codes == [404, 404, 404, 429]


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/", "/errors/internal"])
async def test_health_and_pages_are_not_limited(client: httpx.AsyncClient, path: str) -> None:
    """A probe that is refused would take the server out of service."""
    codes = {(await client.get(path)).status_code for _ in range(8)}
    assert codes == {200}


async def test_a_sockets_starts_are_limited(limited: Running, emulator: Emulator) -> None:
    """Each `start` counts as a request, on one socket and on many; the socket stays open."""
    prompt = unique(SHORT)
    request = {"prompt": prompt}
    for _ in range(2):
        async with websockets.connect(f"{limited.ws}/v1/ws") as socket:
            await send_message(socket, "start", task="text", request=request)
            assert (await follow(socket))[-1].type == "done"
    async with websockets.connect(f"{limited.ws}/v1/text/ws") as socket:
        await send_message(socket, "start", request=request)
        assert (await follow(socket))[-1].type == "done"
        await send_message(socket, "start", request=request, ref="r")
        refused = await receive(socket)
        assert (refused["type"], refused["ref"]) == ("error", "r")
        assert refused["problem"]["code"] == "rate_limited"
        assert refused["problem"]["retry_after"] > 1000
        await send_message(socket, "ping")
        assert (await receive(socket))["type"] == "pong"
    assert len(await calls(emulator, prompt)) == 3


@pytest.mark.parametrize("rate", ["off", "2/hour"])
@pytest.mark.parametrize(("own", "passed"), [(3, 3), (0, 6), (None, None)])
async def test_a_key_has_its_own_limit(
    emulator: Emulator,
    monkeypatch: pytest.MonkeyPatch,
    rate: str,
    own: int | None,
    passed: int | None,
) -> None:
    """In place of the default, whatever that is; 0 is none; probes stay free."""
    caller = Caller(key="k", allowance=Allowance(requests_per_minute=own))
    monkeypatch.setattr(limits, "caller", lambda: caller)
    async with running(emulator, rate_limit=rate) as server, http(server.url) as client:
        codes = [(await client.post("/v1/text", json={})).status_code for _ in range(6)]
        assert {(await client.get("/healthz")).status_code for _ in range(6)} == {200}
        most = passed if passed is not None else {"off": 6, "2/hour": 2}[rate]
        assert codes == [422] * most + [429] * (6 - most)


async def test_without_a_limit_no_header_shows_one(emulator: Emulator) -> None:
    """`off` is off, and says nothing."""
    async with running(emulator, rate_limit="off") as server, http(server.url) as client:
        answers = [await client.post("/v1/text", json={}) for _ in range(200)]
    assert {answer.status_code for answer in answers} == {422}
    assert "ratelimit" not in answers[0].headers


async def test_retry_after_is_true_for_tokens_too(emulator: Emulator) -> None:
    """Whoever waits as long as it says has the tokens, though an answer is still being written."""
    settings = {"tokens_per_minute": 60_000, "idle_timeout": 9.0}
    async with running(emulator, **settings) as server, http(server.url) as client:
        big = {"prompt": unique("[[fault:hang_after_text]]"), "max_output_tokens": 59_500}
        await client.post("/v1/text", json=big, headers={"Prefer": "respond-async"})
        small = {"prompt": unique(SHORT), "max_output_tokens": 2_400}
        refused = await client.post("/v1/text", json=small)
        assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
        assert '"tokens";r=' in refused.headers["ratelimit"]
        await asyncio.sleep(int(refused.headers["retry-after"]))  # what the test is about
        assert (await client.post("/v1/text", json=small)).status_code == 200


async def test_whoever_waits_for_tokens_finds_a_request_left(emulator: Emulator) -> None:
    """Where the requests are used up as well, `Retry-After` is the longer wait of both."""
    settings = {"rate_limit": "2/hour", "tokens_per_minute": 60_000, "idle_timeout": 9.0}
    async with running(emulator, **settings) as server, http(server.url) as client:
        big = {"prompt": unique("[[fault:hang_after_text]]"), "max_output_tokens": 59_500}
        await client.post("/v1/text", json=big, headers={"Prefer": "respond-async"})
        refused = await client.post("/v1/text", json=big)
        assert "tokens" in refused.json()["detail"]
        assert 1790 <= int(refused.headers["retry-after"]) <= 1800
        assert abs(refused.json()["retry_after"] - 1800) <= 10
