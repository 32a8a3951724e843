"""Aborting: when nobody wants an answer any more, the call to the model is closed at once.

The emulator says when its client left, by the clock that this process shares with it.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import httpx
import pytest
import websockets

from streamapi.emulator import Emulator
from tests.api.wire import by_get, calls, follow, http, left, parse, receive, send_message, unique
from tests.conftest import Running, running, until

BOUND = 1.0
"""Seconds that a connection may take to close on a loaded machine; it takes a few milliseconds."""

TALKING = "[[pace:0.02]] [[words:3000]]"
SILENT = "[[fault:hang_after_text after=1]]"
HANGING = "[[fault:hang]]"
MOMENTS = {"talking": TALKING, "silent": SILENT, "before content": HANGING}


@pytest.fixture(scope="module")
async def patient(emulator: Emulator) -> Any:
    """A server that would wait for a model much longer than these tests last."""
    waits = {"attempt_timeout": 30, "first_content_timeout": 30, "idle_timeout": 30}
    async with running(emulator, stream_open_after=0, disconnect_grace=0.3, **waits) as server:
        yield server


async def wait_for_call(emulator: Emulator, prompt: str) -> None:
    """Wait until the emulator has the request, and has sent its first words if it sends any."""
    async with asyncio.timeout(5):
        while True:
            found = await calls(emulator, prompt)
            if found and (found[0]["first_byte"] or HANGING in prompt):
                return
            await asyncio.sleep(0.005)


Abort = Callable[[Running, Emulator, str], Awaitable[float]]


async def cancel(server: Running, emulator: Emulator, prompt: str) -> float:
    """Start with `respond-async`, then cancel. Return the moment of the cancel request."""
    async with http(server.url) as client:
        headers = {"Prefer": "respond-async"}
        answer = await client.post("/v1/text", json={"prompt": prompt}, headers=headers)
        await wait_for_call(emulator, prompt)
        moment = time.monotonic()
        await client.post(f"/v1/generations/{answer.json()['id']}/cancel")
        return moment


async def forget(server: Running, emulator: Emulator, prompt: str) -> float:
    """Start with `respond-async`, then delete."""
    async with http(server.url) as client:
        headers = {"Prefer": "respond-async"}
        answer = await client.post("/v1/text", json={"prompt": prompt}, headers=headers)
        await wait_for_call(emulator, prompt)
        moment = time.monotonic()
        await client.delete(f"/v1/generations/{answer.json()['id']}")
        return moment


def leave_by(method: str, path: str) -> Abort:
    async def leave(server: Running, emulator: Emulator, prompt: str) -> float:
        """Start with `on_disconnect: cancel`, then disconnect."""
        body = {"prompt": prompt, "on_disconnect": "cancel"}
        more: dict[str, Any] = {"params": body} if method == "GET" else {"json": body}
        async with http(server.url) as client:
            asking = asyncio.create_task(client.request(method, path, **more))
            await wait_for_call(emulator, prompt)
            moment = time.monotonic()
            asking.cancel()
            with suppress(asyncio.CancelledError):
                await asking
        return moment

    return leave


async def leave_socket(server: Running, emulator: Emulator, prompt: str) -> float:
    """Start on a socket with `on_disconnect: cancel`, then abort the connection."""
    socket = await websockets.connect(f"{server.ws}/v1/ws")
    request = {"prompt": prompt, "on_disconnect": "cancel"}
    await send_message(socket, "start", task="text", request=request)
    await wait_for_call(emulator, prompt)
    moment = time.monotonic()
    socket.transport.abort()
    return moment


async def cancel_on_socket(server: Running, emulator: Emulator, prompt: str) -> float:
    """Start on a socket, then send `cancel`."""
    async with websockets.connect(f"{server.ws}/v1/ws") as socket:
        await send_message(socket, "start", task="text", request={"prompt": prompt})
        generation = (await receive(socket))["generation"]
        await wait_for_call(emulator, prompt)
        moment = time.monotonic()
        await send_message(socket, "cancel", generation=generation)
        assert (await follow(socket))[-1].data["by"] == "caller"
        return moment


ABORTS: dict[str, Abort] = {
    "cancel": cancel,
    "forget": forget,
    "leave json": leave_by("POST", "/v1/text"),
    "leave post": leave_by("POST", "/v1/text/stream"),
    "leave get": leave_by("GET", "/v1/text/stream"),
    "leave socket": leave_socket,
    "cancel on socket": cancel_on_socket,
}


async def abort(server: Running, emulator: Emulator, how: str, when: str) -> float:
    """Start, abort, and return the seconds until the emulator saw its client leave."""
    prompt = unique(MOMENTS[when])
    moment = await ABORTS[how](server, emulator, prompt)
    call = await left(emulator, prompt)
    assert call["outcome"] == "client_left"
    return float(call["ended"] - moment)


@pytest.mark.parametrize("when", MOMENTS)
@pytest.mark.parametrize("how", ABORTS)
async def test_the_call_to_the_model_is_closed(
    patient: Running, emulator: Emulator, how: str, when: str
) -> None:
    """The connection to the model closes at once, however the caller leaves."""
    assert await abort(patient, emulator, how, when) < BOUND


async def test_many_calls_are_closed_at_once(patient: Running, emulator: Emulator) -> None:
    """Thirty callers that leave together do not wait for each other."""
    hows = ("cancel", "leave post", "leave get")
    took = await asyncio.gather(
        *(abort(patient, emulator, how, when) for how in hows for when in MOMENTS for _ in "123")
    )
    assert max(took) < BOUND


async def test_a_cancelled_generation_makes_no_more_attempts(
    patient: Running, emulator: Emulator
) -> None:
    """A generation that is cancelled between two attempts makes no other attempt."""
    prompt = unique("[[fault:429_delay delay=20]]")
    async with http(patient.url) as client:
        headers = {"Prefer": "respond-async"}
        answer = await client.post("/v1/text", json={"prompt": prompt}, headers=headers)
        path = f"/v1/generations/{answer.json()['id']}"
        await wait_for_call(emulator, prompt)
        async with asyncio.timeout(BOUND):
            shown = await client.post(f"{path}/cancel")
        assert shown.json()["status"] == "cancelled"
        events = parse((await client.get(f"{path}/events")).content)
    assert events[-1].type == "cancelled"
    assert len(await calls(emulator, prompt)) == 1


async def test_cancelling_twice_is_cancelling_once(patient: Running, emulator: Emulator) -> None:
    """The second cancel gives the same answer, also after the end."""
    prompt = unique(TALKING)
    async with http(patient.url) as client:
        headers = {"Prefer": "respond-async"}
        answer = await client.post("/v1/text", json={"prompt": prompt}, headers=headers)
        path = f"/v1/generations/{answer.json()['id']}/cancel"
        first, second = await asyncio.gather(client.post(path), client.post(path))
        third = await client.post(path)
    assert first.status_code == second.status_code == third.status_code == 200
    assert first.json() == second.json() == third.json()
    assert (first.json()["status"], first.json()["cancelled_by"]) == ("cancelled", "caller")


async def test_the_json_route_reports_a_cancel(patient: Running, emulator: Emulator) -> None:
    """The client that waits for the answer gets 409 when another one cancels it."""
    prompt = unique(TALKING)
    key = {"Idempotency-Key": unique().split()[0]}
    async with http(patient.url) as client:
        waiting = asyncio.create_task(client.post("/v1/text", json={"prompt": prompt}, headers=key))
        await wait_for_call(emulator, prompt)
        headers = {**key, "Prefer": "respond-async"}
        same = await client.post("/v1/text", json={"prompt": prompt}, headers=headers)
        await client.post(f"/v1/generations/{same.json()['id']}/cancel")
        answer = await waiting
    assert (answer.status_code, answer.json()["code"]) == (409, "generation_cancelled")
    assert answer.json()["generation"] == same.json()["id"]


async def test_a_forgotten_generation_is_not_found(patient: Running) -> None:
    """After DELETE there is nothing to read, cancel or delete."""
    async with http(patient.url) as client:
        answer = await client.post("/v1/text", json={"prompt": unique("[[words:5]]")})
        path = f"/v1/generations/{answer.json()['id']}"
        assert (await client.delete(path)).status_code == 204
        for method, address in [("GET", ""), ("GET", "/events"), ("POST", "/cancel")]:
            assert (await client.request(method, path + address)).status_code == 404
        assert (await client.delete(path)).status_code == 404


# Grace.


async def part_of(client: httpx.AsyncClient, prompt: str, **more: Any) -> str:
    """Read a stream to its first words, then leave. Return the id of the last event seen."""
    body = {"prompt": prompt, **more}
    async with client.stream("POST", "/v1/text/stream", json=body) as stream:
        seen = b""
        async for piece in stream.aiter_raw():
            seen += piece
            if b"event: delta" in seen and seen.endswith(b"\n\n"):
                return str(parse(seen)[-1].id)
    raise AssertionError("the stream ended before its first words")


async def test_a_reader_that_returns_within_the_grace_resumes_the_stream(
    patient: Running, emulator: Emulator
) -> None:
    """A reader that reconnects gets the whole text, and the model gets one call."""
    prompt = unique("[[pace:0.02]] [[words:150]] [[chunk:40]]")
    async with http(patient.url) as client:
        last = await part_of(client, prompt)
        answer = await client.get("/v1/text/stream", headers={"Last-Event-ID": last})
    rest = parse(answer.content)
    assert rest[-1].type == "done"
    assert rest[0].n == int(last.rpartition(".")[2]) + 1
    assert (await left(emulator, prompt))["outcome"] == "finished"


async def test_a_generation_without_a_reader_ends_after_the_grace(
    patient: Running, emulator: Emulator
) -> None:
    """After the grace the call to the model is closed, and the generation is cancelled."""
    prompt = unique(TALKING)
    async with http(patient.url) as client:
        last = await part_of(client, prompt)
        moment = time.monotonic()
        call = await left(emulator, prompt)
        shown = await client.get(f"/v1/generations/{last.partition('.')[0]}")
    assert call["outcome"] == "client_left"
    assert 0.25 < call["ended"] - moment < 0.3 + BOUND
    assert (shown.json()["status"], shown.json()["cancelled_by"]) == ("cancelled", "disconnect")
    assert shown.json()["result"]["text"]


@pytest.mark.parametrize("how", ["continue", "Idempotency-Key", "respond-async"])
async def test_continue_needs_no_reader(patient: Running, emulator: Emulator, how: str) -> None:
    """With `continue`, which an idempotency key and 202 imply, the answer is completed."""
    prompt = unique("[[pace:0.05]] [[words:80]] [[chunk:40]]")
    body = {"prompt": prompt, "on_disconnect": "continue" if how == "continue" else "cancel"}
    headers = {
        "continue": {},
        "Idempotency-Key": {"Idempotency-Key": unique().split()[0]},
        "respond-async": {"Prefer": "respond-async"},
    }[how]
    async with http(patient.url) as client:
        if how == "respond-async":
            await client.post("/v1/text", json=body, headers=headers)
        else:
            async with client.stream("POST", "/v1/text/stream", json=body, headers=headers):
                pass
    assert (await left(emulator, prompt))["outcome"] == "finished"


async def test_a_reader_that_stays_keeps_what_another_leaves(
    patient: Running, emulator: Emulator
) -> None:
    """With `cancel`, a generation ends when its last reader leaves, not when its first one does."""
    prompt = unique("[[pace:0.02]] [[words:100]] [[chunk:40]]")
    body = {"prompt": prompt, "on_disconnect": "cancel"}
    async with http(patient.url) as client:
        async with client.stream("POST", "/v1/text/stream", json=body) as stream:
            path = f"/v1/generations/{stream.headers['generation-id']}/events"
            staying = asyncio.create_task(client.get(path))
            while patient.parts.generations._readers._readers.get(path.split("/")[3]) != 2:
                await asyncio.sleep(0.001)
        events = parse((await staying).content)
    assert events[-1].type == "done"
    assert (await left(emulator, prompt))["outcome"] == "finished"


async def test_a_generation_that_is_over_leaves_nothing_running(patient: Running) -> None:
    """No generation runs and no reader is left after these tests."""
    async with asyncio.timeout(5):
        while patient.parts.generations.running or patient.parts.generations._readers._readers:
            await asyncio.sleep(0.01)
    assert (await by_get(patient, unique("[[words:5]]"))).code == "done"


async def test_a_client_that_leaves_with_its_body_is_not_a_reader(server: Running) -> None:
    """A client that sends its request and closes at once is not a reader. On Python 3.11 Quart's
    wait for the body swallows the cancellation."""
    prompt = unique("[[fault:hang]]")
    body = json.dumps({"prompt": prompt, "on_disconnect": "cancel"}).encode()
    head = (
        b"POST /v1/text/stream HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n" % len(body)
    )
    host, port = server.url.removeprefix("http://").split(":")
    for _ in range(20):
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(head + body)
        await writer.drain()
        writer.close()
    await until(lambda: not server.parts.generations.running, "all are let go")
    assert not server.parts.generations._readers._readers
