"""A model with as many calls as it may have: the next request waits, and gets a `wait` event."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from streamapi.emulator import Emulator
from tests.api.wire import Answer, by_get, by_json, by_post, by_socket, calls, follow_later, unique
from tests.conftest import Running, running, until

SHORT = "[[words:3]]"
SILENT = "[[fault:hang_after_text after=1]]"
PATIENT = {"idle_timeout": 30, "first_content_timeout": 20, "attempt_timeout": 10}
TRANSPORTS = {"json": by_json, "post": by_post, "get": by_get, "socket": by_socket}
transport = pytest.mark.parametrize("transport", TRANSPORTS)


@asynccontextmanager
async def busy(emulator: Emulator, **settings: Any) -> AsyncIterator[tuple[Running, str]]:
    """A server on which this address has its one call, of two for all; and the generation that has
    the call."""
    async with running(emulator, **{"upstream_calls": 2, **PATIENT, **settings}) as server:
        prompt = unique(SILENT)
        generation = await follow_later(server, prompt)
        async with asyncio.timeout(5):
            while not await calls(emulator, prompt):
                await asyncio.sleep(0.005)
        yield server, generation


async def cancel(server: Running, generation: str) -> None:
    async with httpx.AsyncClient(base_url=server.url) as client:
        await client.post(f"/v1/generations/{generation}/cancel")


@pytest.mark.parametrize("transport", ["get", "socket"])
async def test_a_request_that_waits_gets_one_event(emulator: Emulator, transport: str) -> None:
    """One `wait` event says `queued`; when a call ends, the next is made, and `queue_ms` says how
    long it waited."""
    async with busy(emulator) as (server, generation):
        prompt = unique(SHORT)
        asking = asyncio.create_task(TRANSPORTS[transport](server, prompt))
        await until(lambda: server.parts.generations.running == 2, "the second one waits")
        assert await calls(emulator, prompt) == []
        await cancel(server, generation)
        events = (await asking).events
    waits = [event for event in events if event.type == "wait"]
    assert [(event.n, event.data["reason"], event.data["attempt"]) for event in waits] == [
        (2, "queued", 1)
    ]
    assert events[-1].type == "done"
    assert 0 < events[-1].data["timings"]["queue_ms"] <= events[-1].data["timings"]["total_ms"]


async def test_a_request_that_need_not_wait_gets_none(server: Running) -> None:
    """It has no `wait` event, and no time in the queue."""
    events = (await by_get(server, unique(SHORT))).events
    assert "wait" not in [event.type for event in events]
    assert events[-1].data["timings"]["queue_ms"] == 0


@transport
async def test_a_full_queue_is_overloaded(emulator: Emulator, transport: str) -> None:
    """It refuses at once, with a `Retry-After`."""
    async with busy(emulator, upstream_queue_per_key=0) as (server, _):
        prompt = unique(SHORT)
        answer: Answer = await TRANSPORTS[transport](server, prompt)
        assert await calls(emulator, prompt) == []
    assert answer.problem["code"] == "overloaded"
    assert answer.problem["retryable"] is True
    assert answer.problem["retry_after"] >= 1
    if transport in ("json", "post"):
        assert answer.status == 503


async def test_a_wait_is_bounded(emulator: Emulator) -> None:
    """After the time for the first content the answer is `overloaded`."""
    bounds = {"first_content_timeout": 0.3, "attempt_timeout": 0.3}
    async with busy(emulator, **bounds) as (server, _):
        answer = await by_json(server, unique(SHORT))
    assert (answer.status, answer.problem["code"]) == (503, "overloaded")


async def test_a_cancelled_request_makes_no_call(emulator: Emulator) -> None:
    """It is cancelled in the queue: it gets its ending, and the others are called."""
    async with busy(emulator) as (server, generation):
        prompt = unique(SHORT)
        waiting = await follow_later(server, prompt)
        await until(lambda: server.parts.generations.running == 2, "it waits")
        await cancel(server, waiting)
        await until(lambda: server.parts.generations.running == 1, "it has ended")
        await cancel(server, generation)
        assert (await by_json(server, unique(SHORT))).status == 200
        assert await calls(emulator, prompt) == []


async def test_a_drain_ends_the_queue(emulator: Emulator) -> None:
    """Requests in the queue end with `shutting_down`, without a call."""
    async with busy(emulator) as (server, _):
        prompt = unique(SHORT)
        asking = asyncio.create_task(by_get(server, prompt))
        await until(lambda: server.parts.generations.running == 2, "it waits")
        await server.parts.generations.close(0.0)
        events = (await asking).events
    assert events[-1].type == "failed"
    assert events[-1].data["problem"]["code"] == "shutting_down"
    assert await calls(emulator, prompt) == []


async def test_one_address_does_not_starve_another(emulator: Emulator) -> None:
    """An address has stalled all its calls and filled its queue. Another address is answered as if
    it were alone."""
    async with busy(emulator, upstream_queue_per_key=20) as (server, _):
        waiting = [asyncio.create_task(by_get(server, unique(SHORT))) for _ in range(20)]
        await until(lambda: server.parts.generations.running == 21, "they wait")
        other = httpx.AsyncHTTPTransport(local_address="127.0.0.2")
        async with httpx.AsyncClient(transport=other, base_url=server.url) as client:
            answer = await client.post("/v1/text", json={"prompt": unique(SHORT)})
        assert answer.status_code == 200
        assert answer.json()["timings"]["queue_ms"] == 0
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)


async def test_one_customer_is_one_address(emulator: Emulator) -> None:
    """A customer has a whole /64 of IPv6. Its addresses share one place in the queue and one limit;
    another /64 has its own."""
    settings: dict[str, Any] = {"upstream_calls": 2, "trusted_hops": 1, **PATIENT}

    async with running(emulator, **settings) as server:

        async def ask(address: str, prompt: str) -> httpx.Response:
            headers = {"X-Forwarded-For": address, "Prefer": "respond-async"}
            async with httpx.AsyncClient(base_url=server.url, headers=headers) as client:
                return await client.post("/v1/text", json={"prompt": prompt})

        first, second, other = (unique(SILENT) for _ in range(3))
        await ask("2001:db8:0:1::1", first)
        async with asyncio.timeout(5):
            while not await calls(emulator, first):
                await asyncio.sleep(0.005)
        await ask("2001:db8:0:1::2", second)
        await ask("2001:db8:0:2::1", other)
        async with asyncio.timeout(5):
            while not await calls(emulator, other):
                await asyncio.sleep(0.005)
        assert await calls(emulator, second) == []
        await server.parts.generations.close(0.0)
