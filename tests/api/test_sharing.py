"""Repeated requests: the cache, single-flight and idempotency keys, over HTTP and sockets."""

import asyncio
import json
from typing import Any
from uuid import uuid4

import httpx
import pytest
import websockets

from streamapi.emulator import Emulator
from tests import sse
from tests.conftest import Running, until


def text_request(extra: str = "", **more: Any) -> dict[str, Any]:
    """A request that no other test asks."""
    return {"prompt": f"share {uuid4().hex} {extra}", "cache": "use", **more}


def call_count(emulator: Emulator, body: dict[str, Any]) -> int:
    """How many calls the model got for this prompt."""
    return len(emulator.history.report(body["prompt"])["calls"])


async def by_socket(server: Running, body: dict[str, Any]) -> dict[str, Any]:
    async with websockets.connect(f"{server.ws}/v1/text/ws") as socket:
        await socket.send(json.dumps({"type": "start", "request": body}))
        while True:
            event: dict[str, Any] = json.loads(await socket.recv())
            if event["type"] == "done":
                return event


async def by_stream(client: httpx.AsyncClient, body: dict[str, Any]) -> dict[str, Any]:
    async with client.stream("POST", "/v1/text/stream", json=body) as response:
        seen = [event async for event in sse.events(response)]
    assert sse.text(seen) == seen[-1].data["result"]["text"]
    answer: dict[str, Any] = seen[-1].data
    return answer


async def by_json(client: httpx.AsyncClient, body: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = (await client.post("/v1/text", json=body)).json()
    return answer


async def test_fifty_at_once_are_one_call(
    server: Running, client: httpx.AsyncClient, emulator: Emulator
) -> None:
    """Identical requests at the same time share one call to the model, on all transports."""
    body = text_request()
    asks = [by_json(client, body) for _ in range(20)]
    asks += [by_stream(client, body) for _ in range(20)]
    asks += [by_socket(server, body) for _ in range(10)]
    answers = await asyncio.gather(*asks)
    assert call_count(emulator, body) == 1
    assert len({answer["result"]["text"] for answer in answers}) == 1
    assert len({answer.get("id") or answer["generation"] for answer in answers}) == 50
    assert sorted(answer["cache"] for answer in answers).count("miss") == 1


async def test_an_answer_is_given_again(client: httpx.AsyncClient, emulator: Emulator) -> None:
    """A hit is another generation on the same log; its usage tells what it cost once."""
    body = text_request()
    first = await client.post("/v1/text", json={**body, "metadata": {"user": "one"}})
    second = await client.post("/v1/text", json={**body, "metadata": {"user": "two"}})
    one, two = first.json(), second.json()
    assert first.headers["Cache-Status"] == "streamapi; fwd=miss"
    assert second.headers["Cache-Status"] == "streamapi; hit"
    assert (one["cache"], two["cache"]) == ("miss", "hit")
    assert one["result"] == two["result"]
    assert one["usage"] == two["usage"]
    assert one["id"] != two["id"]
    assert two["metadata"] == {"user": "two"}
    assert two["timings"]["total_ms"] == 0
    assert call_count(emulator, body) == 1


async def test_a_replay_comes_in_the_pieces_it_was_written_in(client: httpx.AsyncClient) -> None:
    """A cached stream has the same events as the one that was written."""
    body = text_request()

    async def pieces() -> list[Any]:
        async with client.stream("POST", "/v1/text/stream", json=body) as response:
            return [e.data async for e in sse.events(response) if e.type == "delta"]

    first = await pieces()
    assert await pieces() == first
    assert len(first) > 10


async def test_refresh_asks_again_and_is_kept(
    client: httpx.AsyncClient, emulator: Emulator
) -> None:
    """`refresh` calls the model and replaces the cached answer."""
    body = text_request()
    await by_json(client, body)
    refreshed = await by_json(client, {**body, "cache": "refresh"})
    again = await by_json(client, body)
    assert (refreshed["cache"], again["cache"]) == ("miss", "hit")
    assert call_count(emulator, body) == 2


@pytest.mark.parametrize("cache", ["off", None])
async def test_text_is_not_shared_unless_asked(
    cache: str | None, client: httpx.AsyncClient, emulator: Emulator
) -> None:
    """Text and code are written anew by default."""
    body = text_request(cache=cache)
    await by_json(client, body)
    assert (await by_json(client, body))["cache"] == "miss"
    assert call_count(emulator, body) == 2


async def test_classification_is_shared_by_default(client: httpx.AsyncClient) -> None:
    """The same text and labels have the same answer."""
    body = {"text": f"late parcel {uuid4().hex}", "labels": ["late parcel", "praise"]}
    await client.post("/v1/classification", json=body)
    assert (await client.post("/v1/classification", json=body)).json()["cache"] == "hit"
    other = {**body, "labels": ["praise", "late parcel"]}
    assert (await client.post("/v1/classification", json=other)).json()["cache"] == "miss"


@pytest.mark.parametrize("fault", ["no_finish", "safety", "max_tokens", "error_after_text"])
async def test_what_ended_badly_is_not_kept(
    fault: str, client: httpx.AsyncClient, emulator: Emulator
) -> None:
    """Failed, blocked and truncated answers are not cached."""
    body = text_request(f"[[fault:{fault} times=1]]")
    await client.post("/v1/text", json=body)
    again = await by_json(client, body)
    assert (again["status"], again["cache"]) == ("done", "miss")
    assert call_count(emulator, body) == 2


async def test_a_leader_that_is_cancelled_leaves_its_followers(
    client: httpx.AsyncClient, emulator: Emulator
) -> None:
    """Cancelling one generation leaves the others on the same log running."""
    body = text_request("[[pace:0.02]] [[words:60]]")
    later = {"Prefer": "respond-async"}
    leader = (await client.post("/v1/text", json=body, headers=later)).json()
    follower = asyncio.create_task(by_stream(client, body))
    await until(lambda: emulator.history.open, "the model writes")
    cancelled = (await client.post(f"/v1/generations/{leader['id']}/cancel")).json()
    assert cancelled["status"] == "cancelled"
    answer = await follower
    assert (answer["status"], answer["cache"]) == ("done", "collapsed")
    assert call_count(emulator, body) == 1
    seen = sse.parse((await client.get(leader["events"])).text.splitlines())
    assert seen[-1].type == "cancelled"
    assert seen[-1].n == len(seen)
    behind = {"Last-Event-ID": seen[-1].id}
    assert (await client.get(leader["events"], headers=behind)).status_code == 204


async def test_the_last_to_cancel_stops_the_model(
    client: httpx.AsyncClient, emulator: Emulator
) -> None:
    """A log stops with its last generation. The next request starts a new log."""
    body = text_request("[[fault:hang_after_text times=1]]")
    later = {"Prefer": "respond-async"}
    both = [(await client.post("/v1/text", json=body, headers=later)).json() for _ in "ab"]
    await until(lambda: call_count(emulator, body), "the model is asked")
    for generation in both:
        await client.post(f"/v1/generations/{generation['id']}/cancel")
    [call] = emulator.history.report(body["prompt"])["calls"]
    assert call["outcome"] == "client_left"
    assert (await by_json(client, body))["cache"] == "miss"


async def test_a_key_and_the_cache_go_together(
    client: httpx.AsyncClient, emulator: Emulator
) -> None:
    """A request with a key may be a hit; sent again, it is the same generation."""
    body = text_request()
    await by_json(client, body)
    headers = {"Idempotency-Key": uuid4().hex}
    one = (await client.post("/v1/text", json=body, headers=headers)).json()
    two = (await client.post("/v1/text", json=body, headers=headers)).json()
    assert one["cache"] == "hit"
    assert one["id"] == two["id"]
    assert call_count(emulator, body) == 1


async def test_a_failure_under_a_key_may_be_tried_again(
    client: httpx.AsyncClient, emulator: Emulator
) -> None:
    """A repeated request gets a new answer, not the failure of the first one."""
    body = text_request("[[fault:no_finish times=1]]", cache="off")
    headers = {"Idempotency-Key": uuid4().hex}
    assert (await client.post("/v1/text", json=body, headers=headers)).status_code == 502
    assert (await client.post("/v1/text", json=body, headers=headers)).status_code == 200
    assert call_count(emulator, body) == 2


async def test_a_key_pays_once_when_the_connection_is_cut(
    server: Running, emulator: Emulator
) -> None:
    """The first connection is cut before its answer; the second gets the generation it began."""
    body = text_request("[[pace:0.01]]", cache="off")
    headers = {"Idempotency-Key": uuid4().hex}
    async with httpx.AsyncClient(base_url=server.url, timeout=20) as client:
        first = asyncio.create_task(client.post("/v1/text", json=body, headers=headers))
        await until(lambda: call_count(emulator, body), "the model is asked")
        first.cancel()
        await asyncio.wait({first})
        answer = (await client.post("/v1/text", json=body, headers=headers)).json()
    assert answer["status"] == "done"
    assert call_count(emulator, body) == 1
