"""Two servers and one Redis: a log belongs to nobody's process."""

import asyncio
import random
from collections.abc import AsyncIterator
from uuid import uuid4

import httpx
import pytest

from streamapi.emulator import Emulator
from tests import sse
from tests.conftest import RedisServer, Running, running, until

Pair = tuple[Running, Running]


@pytest.fixture(scope="module")
async def pair(emulator: Emulator, redis_server: RedisServer) -> AsyncIterator[Pair]:
    """Two servers on one Redis."""
    async with (
        running(emulator, redis_url=redis_server.url) as one,
        running(emulator, redis_url=redis_server.url) as other,
    ):
        yield one, other


async def test_fifty_at_once_over_two_processes_are_one_call(
    pair: Pair, emulator: Emulator
) -> None:
    """Whichever process is asked, identical requests in flight share one upstream call."""
    body = {"prompt": f"share {uuid4().hex}", "cache": "use"}

    async def ask(n: int) -> str:
        async with httpx.AsyncClient(base_url=pair[n % 2].url, timeout=20) as client:
            answer = (await client.post("/v1/text", json=body)).json()
        assert answer["status"] == "done"
        return str(answer["result"]["text"])

    answers = await asyncio.gather(*(ask(n) for n in range(50)))
    assert len(set(answers)) == 1
    assert len(emulator.history.report(body["prompt"])["calls"]) == 1


async def test_a_stream_cut_again_and_again_is_taken_up_elsewhere(
    pair: Pair, emulator: Emulator
) -> None:
    """Each connection is cut, and the next goes to the other process: nothing is lost."""
    prompt = f"long {uuid4().hex} [[words:400]]"
    chance, seen = random.Random(4), list[sse.Seen]()
    here, there = pair
    while not seen or seen[-1].type != "done":
        headers = {"Last-Event-ID": seen[-1].id} if seen else {}
        most = chance.randint(1, 12)
        async with (
            httpx.AsyncClient(base_url=here.url, timeout=20) as client,
            client.stream(
                "GET", "/v1/text/stream", params={"prompt": prompt}, headers=headers
            ) as response,
        ):
            assert response.status_code == 200
            async for event in sse.events(response):
                seen.append(event)
                most -= 1
                if not most:
                    break
        here, there = there, here
    assert [event.n for event in seen] == list(range(1, len(seen) + 1))
    assert sse.text(seen) == seen[-1].data["result"]["text"]
    assert len(emulator.history.report(prompt)["calls"]) == 1


async def test_a_key_is_one_generation_in_both(pair: Pair, emulator: Emulator) -> None:
    """The same key and body, sent to each process, is one generation and one upstream call."""
    prompt, headers = f"key {uuid4().hex}", {"Idempotency-Key": uuid4().hex}
    ids = []
    for server in pair:
        async with httpx.AsyncClient(base_url=server.url, timeout=20) as client:
            answer = await client.post("/v1/text", json={"prompt": prompt}, headers=headers)
            ids.append(answer.json()["id"])
    assert ids[0] == ids[1]
    assert len(emulator.history.report(prompt)["calls"]) == 1


async def test_a_key_pays_once_when_the_connection_to_the_other_is_cut(
    pair: Pair, emulator: Emulator
) -> None:
    """The first connection is cut before its answer; the other process knows what it began."""
    here, there = pair
    body = {"prompt": f"cut {uuid4().hex} [[pace:0.01]]"}
    headers = {"Idempotency-Key": uuid4().hex}
    async with (
        httpx.AsyncClient(base_url=here.url, timeout=20) as one,
        httpx.AsyncClient(base_url=there.url, timeout=20) as other,
    ):
        first = asyncio.create_task(one.post("/v1/text", json=body, headers=headers))
        await until(lambda: emulator.history.report(body["prompt"])["calls"], "the model is asked")
        first.cancel()
        await asyncio.wait({first})
        answer = (await other.post("/v1/text", json=body, headers=headers)).json()
    assert answer["status"] == "done"
    assert len(emulator.history.report(body["prompt"])["calls"]) == 1


async def test_cancelling_here_stops_what_is_written_there(pair: Pair, emulator: Emulator) -> None:
    """A generation is cancelled by whichever process is asked."""
    here, there = pair
    body = {"prompt": f"cancel {uuid4().hex} [[fault:hang_after_text]]"}
    async with (
        httpx.AsyncClient(base_url=here.url, timeout=20) as one,
        httpx.AsyncClient(base_url=there.url, timeout=20) as other,
    ):
        begun = await one.post("/v1/text", json=body, headers={"Prefer": "respond-async"})
        cancelled = await other.post(f"{begun.headers['Location']}/cancel")
    assert cancelled.json()["status"] == "cancelled"
    [call] = emulator.history.report(body["prompt"])["calls"]
    assert call["outcome"] == "client_left"


async def test_a_reader_that_moved_is_still_a_reader(pair: Pair, emulator: Emulator) -> None:
    """The grace of the process that a reader left does not end what it reads elsewhere; when it
    leaves there too, the log is let go of."""
    here, there = pair
    prompt = f"move {uuid4().hex} [[words:300]] [[pace:0.02]]"
    async with (
        httpx.AsyncClient(base_url=here.url, timeout=20) as one,
        httpx.AsyncClient(base_url=there.url, timeout=20) as other,
    ):
        async with one.stream("GET", "/v1/text/stream", params={"prompt": prompt}) as response:
            last = await anext(sse.events(response))
        behind = {"Last-Event-ID": last.id}
        async with other.stream("GET", "/v1/text/stream", headers=behind) as response:
            seen = []
            async for event in sse.events(response):
                seen.append(event)
                if len(seen) == 40:  # 0.8 s: four times the grace
                    break
        assert {event.type for event in seen} == {"delta"}
    await until(
        lambda: emulator.history.report(prompt)["calls"][0]["outcome"] == "client_left",
        "the log is let go of",
    )
