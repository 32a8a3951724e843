"""The product as a story: a model writes a log, a generation holds it, readers read it.

Read it from top to bottom; each test is one sentence about what a client can do.
"""

import asyncio
import json
from uuid import uuid4

import httpx
import websockets

from streamapi.emulator import Emulator
from tests import sse
from tests.conftest import Running, until


def a_prompt(extra: str = "") -> str:
    """A prompt that no other test asks, so that the emulator can be asked about it."""
    return f"Tell me about the sea {uuid4().hex} {extra}"


async def follow(client: httpx.AsyncClient, url: str, **options: object) -> list[sse.Seen]:
    async with client.stream("GET", url, **options) as response:
        assert response.status_code == 200
        return [event async for event in sse.events(response)]


async def test_you_ask_and_get_one_answer(client: httpx.AsyncClient) -> None:
    """POST a task, and its whole answer is the response."""
    answer = (await client.post("/v1/text", json={"prompt": a_prompt()})).json()
    assert answer["status"] == "done"
    assert answer["result"]["text"].startswith("# ")
    assert answer["usage"]["output_tokens"] > 0


async def test_or_you_watch_it_being_written(client: httpx.AsyncClient) -> None:
    """The same answer as events: `start`, then content as it comes, then exactly one ending."""
    body = {"prompt": a_prompt()}
    async with client.stream("POST", "/v1/text/stream", json=body) as response:
        seen = [event async for event in sse.events(response)]
    assert [event.n for event in seen] == list(range(1, len(seen) + 1))
    assert seen[0].type == "start"
    assert {event.type for event in seen[1:-1]} == {"delta"}
    assert seen[-1].type == "done"
    assert seen[-1].data["result"]["text"] == sse.text(seen)


async def test_code_comes_apart_from_its_explanation(client: httpx.AsyncClient) -> None:
    """The code task tells code and explanation apart while they come, and checks the syntax."""
    body = {"prompt": "Count the words of a file", "language": "python"}
    result = (await client.post("/v1/code", json=body)).json()["result"]
    assert "def " in result["code"]
    assert result["explanation"]
    assert result["syntax"] == {"valid": True, "line": None, "column": None}


async def test_labels_come_as_soon_as_they_are_known(client: httpx.AsyncClient) -> None:
    """Classification sends each label on its own, before the rationale is written."""
    query = {"text": "the parcel came late", "labels": ["praise", "late parcel"]}
    seen = await follow(client, "/v1/classification/stream", params=query)
    assert [event.data["label"] for event in seen if event.type == "label"] == ["late parcel"]
    assert seen[-1].data["result"]["label"] == "late parcel"


async def test_a_socket_carries_many_generations(server: Running) -> None:
    """One WebSocket, five generations at once, told apart by their ids."""
    async with websockets.connect(f"{server.ws}/v1/ws") as socket:
        for ref in "abcde":
            request = {"prompt": f"Letter {ref}"}
            message = {"type": "start", "task": "text", "ref": ref, "request": request}
            await socket.send(json.dumps(message))
        started: dict[str, str] = {}
        texts: dict[str, str] = {}
        results: dict[str, str] = {}
        while len(results) < 5:
            event = json.loads(await socket.recv())
            generation = event["generation"]
            if event["type"] == "start":
                started[generation] = event["ref"]
            elif event["type"] == "delta":
                texts[generation] = texts.get(generation, "") + event["text"]
            else:
                assert event["type"] == "done"
                results[generation] = event["result"]["text"]
    assert sorted(started.values()) == list("abcde")
    assert results == texts


async def test_you_ask_now_and_follow_later(client: httpx.AsyncClient) -> None:
    """`Prefer: respond-async` answers 202 at once; the events are read whenever, by whomever."""
    headers = {"Prefer": "respond-async"}
    response = await client.post("/v1/text", json={"prompt": a_prompt()}, headers=headers)
    assert response.status_code == 202
    assert response.headers["Preference-Applied"] == "respond-async"
    seen = await follow(client, response.json()["events"])
    assert seen[-1].type == "done"
    answer = (await client.get(response.headers["Location"])).json()
    assert answer["result"]["text"] == sse.text(seen)


async def test_a_lost_connection_loses_nothing(
    client: httpx.AsyncClient, emulator: Emulator
) -> None:
    """Whoever comes back with the last id seen gets what follows it, and the model is not asked
    again."""
    prompt = a_prompt()
    seen: list[sse.Seen] = []
    async with client.stream("GET", "/v1/text/stream", params={"prompt": prompt}) as response:
        async for event in sse.events(response):
            seen.append(event)
            if event.n == 5:
                break
    again = {"Last-Event-ID": seen[-1].id}
    seen += await follow(client, "/v1/text/stream", params={"prompt": prompt}, headers=again)
    assert [event.n for event in seen] == list(range(1, len(seen) + 1))
    assert sse.text(seen) == seen[-1].data["result"]["text"]
    assert len(emulator.history.report(prompt)["calls"]) == 1


async def test_after_the_end_there_is_nothing_more(client: httpx.AsyncClient) -> None:
    """Resuming behind the ending is 204, which is what stops a browser's `EventSource`."""
    seen = await follow(client, "/v1/text/stream", params={"prompt": a_prompt()})
    headers = {"Last-Event-ID": seen[-1].id}
    response = await client.get("/v1/text/stream", headers=headers)
    assert response.status_code == 204


async def test_two_readers_read_one_log(client: httpx.AsyncClient, emulator: Emulator) -> None:
    """Any number of readers see the same events; the model is asked once."""
    prompt = a_prompt()
    headers = {"Prefer": "respond-async"}
    response = await client.post("/v1/text", json={"prompt": prompt}, headers=headers)
    events = response.json()["events"]
    one, other = await asyncio.gather(follow(client, events), follow(client, events))
    assert one == other
    assert len(emulator.history.report(prompt)["calls"]) == 1


async def test_asking_twice_with_a_key_pays_once(
    client: httpx.AsyncClient, emulator: Emulator
) -> None:
    """A POST repeated with its `Idempotency-Key` gets the generation that it began."""
    prompt = a_prompt()
    headers = {"Idempotency-Key": uuid4().hex}
    first = await client.post("/v1/text", json={"prompt": prompt}, headers=headers)
    second = await client.post("/v1/text", json={"prompt": prompt}, headers=headers)
    assert first.json()["id"] == second.json()["id"]
    assert len(emulator.history.report(prompt)["calls"]) == 1
    other = await client.post("/v1/text", json={"prompt": "other"}, headers=headers)
    assert other.json()["code"] == "idempotency_key_reused"


async def test_a_failure_before_the_first_token_is_retried(
    client: httpx.AsyncClient, emulator: Emulator
) -> None:
    """The model fails twice; the client waits a little longer, sees why, and gets its answer."""
    prompt = a_prompt("[[fault:503 times=2]]")
    seen = await follow(client, "/v1/text/stream", params={"prompt": prompt})
    assert [event.data["reason"] for event in seen if event.type == "wait"] == ["retry", "retry"]
    assert seen[-1].type == "done"
    assert len(emulator.history.report(prompt)["calls"]) == 3


async def test_a_failure_after_it_is_an_ending(
    client: httpx.AsyncClient, emulator: Emulator
) -> None:
    """Once content came, nothing is retried: what came stands, and the ending says what failed."""
    prompt = a_prompt("[[fault:no_finish]]")
    seen = await follow(client, "/v1/text/stream", params={"prompt": prompt})
    assert sse.text(seen)
    assert seen[-1].type == "failed"
    assert seen[-1].data["problem"]["code"] == "upstream_truncated"
    assert len(emulator.history.report(prompt)["calls"]) == 1


async def test_cancelling_stops_the_model(client: httpx.AsyncClient, emulator: Emulator) -> None:
    """A cancelled generation ends for every reader, and the call to the model ends with it."""
    prompt = a_prompt("[[fault:hang_after_text]]")
    headers = {"Prefer": "respond-async"}
    response = await client.post("/v1/text", json={"prompt": prompt}, headers=headers)
    reader = asyncio.create_task(follow(client, response.json()["events"]))
    await until(lambda: emulator.history.report(prompt)["calls"], "the model is asked")
    cancelled = (await client.post(f"{response.headers['Location']}/cancel")).json()
    assert cancelled["status"] == "cancelled"
    assert (await reader)[-1].data["by"] == "caller"
    [call] = emulator.history.report(prompt)["calls"]
    assert call["outcome"] == "client_left"


async def test_a_leaving_reader_stops_the_model(
    client: httpx.AsyncClient, emulator: Emulator
) -> None:
    """With `on_disconnect: cancel`, nobody pays for an answer that nobody reads."""
    prompt = a_prompt("[[fault:hang_after_text]]")
    query = {"prompt": prompt, "on_disconnect": "cancel"}
    async with client.stream("GET", "/v1/text/stream", params=query) as response:
        async for event in sse.events(response):
            if event.type == "delta":
                break
    await until(
        lambda: emulator.history.report(prompt)["calls"][0]["outcome"] == "client_left",
        "the model's connection is closed",
    )


async def test_or_it_is_detached_and_writes_on(client: httpx.AsyncClient) -> None:
    """With `on_disconnect: continue`, the answer is written to its end for whoever comes."""
    query = {"prompt": a_prompt(), "on_disconnect": "continue"}
    async with client.stream("GET", "/v1/text/stream", params=query) as response:
        async for event in sse.events(response):
            generation = event.data["generation"]
            break
    seen = await follow(client, f"/v1/generations/{generation}/events")
    assert seen[-1].type == "done"


async def test_a_generation_is_forgotten_when_you_say_so(client: httpx.AsyncClient) -> None:
    """DELETE forgets a generation; asking for it again is a 404."""
    answer = (await client.post("/v1/text", json={"prompt": a_prompt()})).json()
    place = f"/v1/generations/{answer['id']}"
    assert (await client.delete(place)).status_code == 204
    assert (await client.get(place)).json()["code"] == "not_found"
