"""The fault matrix: each way in which the model fails, through each transport.

One table says what a fault becomes and how many requests it costs; the emulator, which plays the
fault, counts them. `RETRY_ATTEMPTS` is 3 here.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from streamapi.emulator import FAULTS, Emulator
from streamapi.errors import every_error
from tests.api.wire import TRANSPORTS, Answer, calls, http, unique
from tests.conftest import Running, running

STATUS = {error.code: error.status for error in every_error()}

BEFORE = {
    "400": ("upstream_rejected", 1),
    "401": ("upstream_rejected", 1),
    "403": ("upstream_rejected", 1),
    "404": ("upstream_rejected", 1),
    "429": ("upstream_unavailable", 3),
    "429_delay delay=0.05": ("upstream_unavailable", 3),
    "429_delay delay=30": ("upstream_unavailable", 1),
    "500": ("upstream_unavailable", 3),
    "503": ("upstream_unavailable", 3),
    "html": ("upstream_unavailable", 3),
    "error_before_text": ("upstream_unavailable", 3),
    "error_after_text after=0": ("upstream_unavailable", 3),
    "no_finish after=0": ("upstream_unavailable", 3),
    "reset": ("upstream_unavailable", 3),
    "reset_after_text after=0": ("upstream_unavailable", 3),
    "cut_chunk after=0": ("upstream_unavailable", 3),
    "bad_json after=0": ("upstream_unavailable", 3),
    "empty": ("upstream_unavailable", 3),
    "hang": ("upstream_timeout", 3),
    "hang_after_text after=0": ("upstream_timeout", 3),
    "blocked_prompt": ("content_blocked", 1),
    "safety_before_text": ("content_blocked", 1),
}
"""Before the first content."""

AFTER = {
    "error_after_text": ("upstream_interrupted", 1),
    "no_finish": ("upstream_truncated", 1),
    "reset_after_text": ("upstream_interrupted", 1),
    "cut_chunk": ("upstream_interrupted", 1),
    "bad_json": ("upstream_interrupted", 1),
    "hang_after_text": ("upstream_timeout", 1),
    "safety": ("content_blocked", 1),
    "recitation": ("content_blocked", 1),
}
"""After it: always one request."""

NONE = {
    "max_tokens": ("done", 1),
    "thoughts": ("done", 1),
    "one_byte": ("done", 1),
    "hostile": ("done", 1),
}
"""What is no failure at all."""

TABLE = {**BEFORE, **AFTER, **NONE}
PASSING = [fault for fault, (_, requests) in BEFORE.items() if requests == 3]


def faulty(fault: str) -> str:
    return unique(f"[[fault:{fault}]] [[words:60]] [[chunk:16]]")


async def through(transport: str, server: Running, prompt: str, **more: Any) -> Answer:
    return await TRANSPORTS[transport](server, prompt, **more)


@pytest.fixture(scope="module")
async def hasty(emulator: Emulator) -> AsyncIterator[Running]:
    """A server that does not wait long for a model that hangs, so that tests do not either. The
    first request of a server waits for LangChain, which can take longer than an attempt may."""
    async with running(emulator, attempt_timeout=0.12, idle_timeout=0.12, ping_interval=0.1) as it:
        async with asyncio.timeout(20):
            while (await through("json", it, unique("[[words:3]]"))).status != 200:
                pass
        yield it


@pytest.fixture
async def serving(
    fault: str, server: Running, hasty: Running, emulator: Emulator
) -> AsyncIterator[Running]:
    """The server for a fault. A reset before any byte cannot be told from a pooled connection
    that the provider had closed, so the server that meets it has no pooled connections."""
    if fault.startswith("reset"):
        async with running(emulator) as fresh:
            yield fresh
    else:
        yield hasty if "hang" in fault else server


def test_the_table_knows_every_fault() -> None:
    """A fault that the emulator learns must be given its place here."""
    assert {fault.split()[0] for fault in TABLE} == set(FAULTS)


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("fault", TABLE)
async def test_a_fault_has_its_code_and_its_cost(
    serving: Running, emulator: Emulator, transport: str, fault: str
) -> None:
    """The documented code, exactly the documented requests, one ending, nothing behind it."""
    prompt = faulty(fault)
    code, requests = TABLE[fault]
    answer = await through(transport, serving, prompt)
    assert answer.code == code
    assert len(await calls(emulator, prompt)) == requests
    if answer.events:
        ids = [event.n for event in answer.events]
        assert ids == list(range(1, len(ids) + 1))
        assert bool(answer.text) == (fault not in BEFORE)
        assert len(answer.waits) == requests - 1
    if code != "done":
        problem = answer.problem
        assert problem["status"] == STATUS[code]
        assert problem["type"] == f"/errors/{code}"
        assert problem["generation"].startswith("gen_")
        assert problem["request_id"]
        assert "tides" not in str(problem)


@pytest.mark.parametrize("fault", [*BEFORE, *AFTER])
async def test_a_json_answer_has_the_true_status(serving: Running, fault: str) -> None:
    """The status, the headers and the body say the same."""
    code, _ = TABLE[fault]
    answer = await through("json", serving, faulty(fault))
    assert answer.status == STATUS[code] == answer.body["status"]
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-should-retry"] == str(answer.body["retryable"]).lower()
    assert answer.headers["generation-id"] == answer.body["generation"]
    assert ("retry-after" in answer.headers) == ("retry_after" in answer.body)
    assert ("retry-after" in answer.headers) == (answer.status in (429, 503))


QUICK = [fault for fault in BEFORE if "hang" not in fault]


@pytest.mark.parametrize("fault", QUICK)
async def test_an_early_failure_of_a_posted_stream_has_its_true_status(
    server: Running, fault: str
) -> None:
    """A failure within the time that a posted stream waits is an HTTP status, not an event."""
    answer = await through("post", server, faulty(fault))
    code, _ = TABLE[fault]
    assert answer.status == STATUS[code]
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("fault", AFTER)
async def test_a_late_failure_of_a_posted_stream_is_an_event(serving: Running, fault: str) -> None:
    """After the first content the status was 200, and the failure is an event of the stream."""
    answer = await through("post", serving, faulty(fault))
    assert answer.status == 200
    assert answer.ending.type == "failed"


@pytest.mark.parametrize("fault", ["400", "503", "empty", "hang", "blocked_prompt"])
async def test_a_posted_stream_that_does_not_wait_fails_in_the_stream(
    emulator: Emulator, eager: Running, fault: str
) -> None:
    """With a tiny `STREAM_OPEN_AFTER` the same failure is a `failed` event of a 200 stream."""
    prompt = faulty(fault)
    answer = await through("post", eager, prompt)
    code, requests = TABLE[fault]
    assert answer.status == 200
    assert answer.ending.type == "failed"
    assert answer.code == code
    assert len(await calls(emulator, prompt)) == requests


@pytest.fixture(scope="module")
async def eager(emulator: Emulator) -> AsyncIterator[Running]:
    """A server whose posted streams open at once."""
    async with running(emulator, stream_open_after=0.0001, attempt_timeout=0.12) as server:
        yield server


@pytest.mark.parametrize("transport", ["post", "get", "socket"])
@pytest.mark.parametrize("fault", PASSING)
async def test_what_passes_by_itself_is_only_a_wait(
    serving: Running, emulator: Emulator, transport: str, fault: str
) -> None:
    """A fault that goes away after two attempts costs three requests, and the answer is whole."""
    prompt = faulty(f"{fault} times=2")
    answer = await through(transport, serving, prompt)
    assert answer.code == "done"
    assert [event.type for event in answer.events][:4] == ["start", "wait", "wait", "delta"]
    assert [wait["reason"] for wait in answer.waits] == ["retry", "retry"]
    assert [wait["attempt"] for wait in answer.waits] == [2, 3]
    assert answer.text == answer.ending.data["result"]["text"] != ""
    assert len(await calls(emulator, prompt)) == 3


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_wait_beyond_the_budget_fails_at_once(server: Running, transport: str) -> None:
    """The provider wants half a minute, and there are two seconds: the answer fails."""
    began = time.monotonic()
    answer = await through(transport, server, faulty("429_delay delay=30"))
    assert time.monotonic() - began < 1
    assert answer.problem["retry_after"] == 30
    if not answer.events:
        assert answer.headers["retry-after"] == "30"


async def test_the_providers_wait_is_waited(server: Running, emulator: Emulator) -> None:
    """A wait that fits is honoured to the millisecond, and is an event."""
    prompt = faulty("429_delay delay=0.3 times=1")
    answer = await through("get", server, prompt)
    first, second = await calls(emulator, prompt)
    assert answer.waits[0]["delay"] == 0.3
    assert second["started"] - first["ended"] >= 0.29


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_the_text_before_a_failure_stands(server: Running, transport: str) -> None:
    """What came before is in the generation, on every transport."""
    answer = await through(transport, server, faulty("no_finish after=2"))
    async with http(server.url) as client:
        shown = (await client.get(f"/v1/generations/{answer.problem['generation']}")).json()
    assert shown["status"] == "failed"
    assert len(shown["result"]["text"]) == 32
    assert shown["problem"]["code"] == "upstream_truncated"


async def test_the_next_model_is_asked(emulator: Emulator) -> None:
    """With a fallback a model that is gone costs one request, and another answers."""
    async with running(emulator, fallback_models="gemini-3.8-flash") as server:
        prompt = unique("[[fault:404 times=1]]")
        answer = await through("get", server, prompt, model="gemini-3.5-flash")
        called = [call["model"] for call in await calls(emulator, prompt)]
    assert called == ["gemini-3.5-flash", "gemini-3.8-flash"]
    assert [wait["reason"] for wait in answer.waits] == ["fallback"]
    assert answer.ending.data["model"]["requested"] == "gemini-3.5-flash"
    assert answer.ending.data["model"]["served"] == "gemini-3.8-flash"


async def test_thoughts_are_content_when_they_are_asked_for(
    server: Running, emulator: Emulator
) -> None:
    """A thought that the caller asked to see comes before the text, as a part of its own."""
    prompt = unique("[[fault:thoughts]]")
    answer = await through("get", server, prompt, include_thoughts="true")
    parts = [event.data["part"] for event in answer.events if event.type == "delta"]
    assert parts == sorted(parts, key=lambda part: part != "thought")
    assert "thought" in parts
    assert answer.ending.data["usage"]["thought_tokens"] > 0
    assert len(await calls(emulator, prompt)) == 1


async def test_a_model_that_thinks_is_not_silent(emulator: Emulator) -> None:
    """Thoughts that nobody asked for take longer than an attempt may: it is asked once."""
    async with running(emulator, attempt_timeout=1.0, first_content_timeout=1.0) as server:
        prompt = unique("[[fault:thoughts]] [[pace:0.55]] [[words:3]] [[chunk:100]]")
        answer = await through("get", server, prompt)
    assert answer.code == "done"
    assert answer.waits == []
    assert answer.ending.data["timings"]["first_token_ms"] > 1000
    assert len(await calls(emulator, prompt)) == 1


@pytest.mark.parametrize("transport", ["post", "get", "socket"])
async def test_hostile_text_arrives_whole(server: Running, transport: str) -> None:
    """Line breaks of all kinds, `data:` lines and emoji do not break a frame."""
    answer = await through(transport, server, faulty("hostile"))
    assert answer.text == answer.ending.data["result"]["text"]
    assert "\u2028" in answer.text
    assert "\r" in answer.text
    assert "data:" in answer.text
