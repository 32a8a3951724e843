"""Access as a story: who may ask, what a key is, and what it is not.

Read it from top to bottom; each test is one sentence of the manual's chapter.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from uuid import uuid4

import httpx
import pytest
import websockets

from streamapi.emulator import Emulator
from tests import sse
from tests.conftest import Running, bearer, until


def a_prompt(extra: str = "[[words:20]]") -> str:
    """A prompt that no other test asks."""
    return f"Tell me about locks {uuid4().hex} {extra}"


@pytest.fixture
async def client(guarded: Running) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server that asks for keys."""
    async with httpx.AsyncClient(base_url=guarded.url, timeout=20) as client:
        yield client


async def test_a_request_without_a_key_is_refused(client: httpx.AsyncClient) -> None:
    """Every transport answers 401 and says what to send. The pages and documents are open."""
    answer = await client.post("/v1/text", json={"prompt": a_prompt()})
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.json()["code"] == "unauthenticated"
    assert "Authorization: Bearer" in answer.json()["detail"]
    for path in ("/", "/docs", "/openapi.json", "/healthz", "/readyz", "/errors/unauthenticated"):
        assert (await client.get(path)).status_code == 200


async def test_a_key_opens_every_transport(guarded: Running, client: httpx.AsyncClient) -> None:
    """The same header with every request: an answer, a stream, a generation."""
    key, _ = await guarded.key()
    client.headers.update(bearer(key))
    answer = (await client.post("/v1/text", json={"prompt": a_prompt()})).json()
    assert answer["status"] == "done"
    query = {"prompt": a_prompt()}
    async with client.stream("GET", "/v1/text/stream", params=query) as response:
        seen = [event async for event in sse.events(response)]
    assert seen[-1].type == "done"
    again = await client.get(f"/v1/generations/{answer['id']}")
    assert again.json()["result"] == answer["result"]


async def test_a_browser_authenticates_on_its_socket(guarded: Running) -> None:
    """A page cannot set headers on a socket, so its first message is `auth`."""
    key, _ = await guarded.key()
    async with websockets.connect(f"{guarded.ws}/v1/text/ws") as socket:
        await socket.send(json.dumps({"type": "auth", "token": key}))
        await socket.send(json.dumps({"type": "start", "request": {"prompt": a_prompt()}}))
        while (event := json.loads(await socket.recv()))["type"] != "done":
            assert event["type"] in ("start", "delta")


async def test_the_first_key_makes_the_others(guarded: Running, client: httpx.AsyncClient) -> None:
    """A key of the scope `admin`, which the command line made, makes keys for others: each is
    shown once."""
    admin, _ = await guarded.key("admin", owner="ops")
    wanted = {"owner": "acme", "name": "website", "scopes": ["text"]}
    made = (await client.post("/v1/keys", json=wanted, headers=bearer(admin))).json()
    body = {"prompt": a_prompt()}
    assert (await client.post("/v1/text", json=body, headers=bearer(made["key"]))).is_success
    listed = await client.get("/v1/keys", headers=bearer(admin))
    assert made["id"] in listed.text
    assert made["key"] not in listed.text


async def test_a_key_is_for_what_it_is_for(guarded: Running, client: httpx.AsyncClient) -> None:
    """Another task, another model, or the keys themselves: 403."""
    key, _ = await guarded.key("text", models=["gemini-3.8-flash"])
    client.headers.update(bearer(key))
    assert (await client.post("/v1/text", json={"prompt": a_prompt()})).is_success
    other = {"prompt": a_prompt(), "model": "gemini-3.5-flash-lite"}
    for method, path, body in (
        ("POST", "/v1/code", {"prompt": a_prompt()}),
        ("POST", "/v1/text", other),
        ("GET", "/v1/keys", None),
    ):
        answer = await client.request(method, path, json=body)
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


async def test_what_is_anothers_is_not_there(guarded: Running, client: httpx.AsyncClient) -> None:
    """Keys of one owner share; for another owner a generation is a 404."""
    mine, _ = await guarded.key(owner="acme")
    also_mine, _ = await guarded.key(owner="acme")
    theirs, _ = await guarded.key(owner="globex")
    answer = await client.post("/v1/text", json={"prompt": a_prompt()}, headers=bearer(mine))
    place = f"/v1/generations/{answer.json()['id']}"
    assert (await client.get(place, headers=bearer(also_mine))).status_code == 200
    assert (await client.get(place, headers=bearer(theirs))).json()["code"] == "not_found"
    assert (await client.delete(place, headers=bearer(theirs))).status_code == 404


async def test_a_key_never_stands_in_an_address(
    guarded: Running, client: httpx.AsyncClient
) -> None:
    """Browsers, proxies and logs keep addresses, so the server refuses any key in one."""
    key, _ = await guarded.key()
    answer = await client.get("/v1/models", params={"key": key})
    assert answer.status_code == 401
    assert "address" in answer.json()["detail"]


async def test_a_revoked_key_takes_its_streams_with_it(
    guarded: Running, client: httpx.AsyncClient, emulator: Emulator
) -> None:
    """Its stream ends with the reason, and so does the call to the model."""
    admin, _ = await guarded.key("admin", owner="ops")
    key, name = await guarded.key()
    prompt = a_prompt("[[fault:hang_after_text]]")

    async def read() -> list[sse.Seen]:
        query = {"prompt": prompt}
        async with client.stream(
            "GET", "/v1/text/stream", params=query, headers=bearer(key)
        ) as response:
            return [event async for event in sse.events(response)]

    stream = asyncio.create_task(read())
    await until(lambda: emulator.history.report(prompt)["calls"], "the model has the request")
    assert (await client.delete(f"/v1/keys/{name}", headers=bearer(admin))).status_code == 204
    ending = (await stream)[-1]
    assert ending.type == "failed"
    assert ending.data["problem"]["code"] == "unauthenticated"
    await until(
        lambda: emulator.history.report(prompt)["calls"][0]["outcome"] == "client_left",
        "the model's connection is closed",
    )
    refused = await client.get("/v1/models", headers=bearer(key))
    assert refused.json()["code"] == "unauthenticated"


async def test_a_ticket_stands_for_a_key_in_an_address(
    guarded: Running, client: httpx.AsyncClient
) -> None:
    """`EventSource` sends no headers, so a page gets a ticket with its key and sends the ticket. A
    browser that reconnects sends the ticket again, and joins the same generation."""
    key, _ = await guarded.key("text")
    body = {"path": "/v1/text/stream"}
    ticket = (await client.post("/v1/tickets", json=body, headers=bearer(key))).json()["ticket"]
    query = {"prompt": a_prompt(), "ticket": ticket}
    first, again = [await client.get("/v1/text/stream", params=query) for _ in range(2)]
    assert first.status_code == 200
    assert first.headers["generation-id"] == again.headers["generation-id"]
    assert (await client.get("/v1/code/stream", params=query)).status_code == 403


async def test_a_key_may_use_so_much(guarded: Running, client: httpx.AsyncClient) -> None:
    """Beyond the limits of its key, a request gets a 429 that says when to try again. Another key
    has limits of its own, and an answer from the cache is free."""
    admin, _ = await guarded.key("admin", owner="ops")
    made = []
    for _ in range(2):
        wanted = {"owner": "acme", "scopes": ["text"], "limits": {"tokens_per_day": 400}}
        made.append((await client.post("/v1/keys", json=wanted, headers=bearer(admin))).json())
    mine, other = (bearer(key["key"]) for key in made)
    body = {"prompt": a_prompt("[[words:5]]"), "max_output_tokens": 300, "cache": "use"}
    more = {**body, "prompt": a_prompt("[[words:200]]")}
    assert (await client.post("/v1/text", json=body, headers=mine)).is_success
    assert (await client.post("/v1/text", json=more, headers=mine)).is_success
    refused = await client.post("/v1/text", json={**body, "prompt": a_prompt()}, headers=mine)
    assert (refused.status_code, refused.json()["code"]) == (429, "quota_exceeded")
    assert int(refused.headers["Retry-After"]) > 0
    assert 'tokens-day"' in refused.headers["RateLimit-Policy"]
    hit = await client.post("/v1/text", json=body, headers=mine)
    assert (hit.status_code, hit.json()["cache"]) == (200, "hit")
    assert (await client.post("/v1/text", json=more, headers=other)).is_success
