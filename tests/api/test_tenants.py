"""The wall between owners: what is another's is not there, on any transport."""

import asyncio
import json
import re
from typing import Any
from uuid import uuid4

import httpx
import pytest
import websockets

from streamapi.emulator import Emulator
from tests.api.wire import follow, http, parse, receive, send_message, unique
from tests.conftest import PATIENT, RedisServer, Running, bearer, running

NEVER = "gen_" + "0" * 22


@pytest.fixture(params=["memory", "redis"])
async def walled(request: pytest.FixtureRequest, emulator: Emulator, database_url: str) -> Any:
    """A server with keys, whose logs are in memory or in a Redis."""
    more: dict[str, Any] = dict(PATIENT)  # what hangs still runs when it is asked for
    if request.param == "redis":
        redis_server: RedisServer = request.getfixturevalue("redis_server")
        more["redis_url"] = redis_server.url
    async with running(emulator, auth="keys", database_url=database_url, **more) as server:
        yield server


async def seen(client: httpx.AsyncClient, method: str, path: str, **more: Any) -> Any:
    """All that a client can see of an answer, but for the request's own id, the date, and the
    name that it asked for."""
    answer = await client.request(method, path, **more)
    body = re.sub(rb"req_[\w-]+", b"", answer.content)
    headers = {k: v for k, v in answer.headers.items() if k not in ("x-request-id", "date")}
    return answer.status_code, headers, body


async def test_anothers_generation_is_not_there(walled: Running) -> None:
    """Byte for byte what is said of one that never was, whatever is asked of it, and whether
    it runs or has ended."""
    mine, _ = await walled.key(owner="acme")
    theirs, _ = await walled.key(owner="globex")
    async with http(walled.url) as client, http(walled.url) as stranger:
        client.headers.update(bearer(mine))
        stranger.headers.update(bearer(theirs))
        ended = (await client.post("/v1/text", json={"prompt": unique("[[words:3]]")})).json()["id"]
        later = {"Prefer": "respond-async"}
        prompt = unique("[[fault:hang_after_text]]")
        runs = (await client.post("/v1/text", json={"prompt": prompt}, headers=later)).json()["id"]
        for known in (ended, runs):
            for method, path, more in (
                ("GET", "/v1/generations/{}", {}),
                ("GET", "/v1/generations/{}/events", {}),
                ("GET", "/v1/generations/{}/events?after=1", {}),
                ("HEAD", "/v1/generations/{}/events", {}),
                ("POST", "/v1/generations/{}/cancel", {}),
                ("DELETE", "/v1/generations/{}", {}),
                ("GET", "/v1/text/stream?after={}.1", {}),
                ("GET", "/v1/code/stream?after={}.1", {}),
                ("GET", "/v1/text/stream", {"headers": {"Last-Event-ID": "{}.1"}}),
                ("POST", "/v1/text/stream", {"headers": {"Last-Event-ID": "{}.999"}}),
            ):
                answers = []
                for name in (known, NEVER):
                    headers = {k: v.format(name) for k, v in more.get("headers", {}).items()}
                    answers.append(await seen(stranger, method, path.format(name), headers=headers))
                assert answers[0] == answers[1], (method, path)
                assert answers[0][0] == 404
        assert (await client.get(f"/v1/generations/{runs}")).json()["status"] == "running"
        assert (await client.get(f"/v1/generations/{ended}")).json()["status"] == "done"


async def test_nor_on_a_socket(walled: Running) -> None:
    """Resuming and cancelling say the same of both."""
    mine, _ = await walled.key(owner="acme")
    theirs, _ = await walled.key(owner="globex")
    async with http(walled.url) as client:
        body = {"prompt": unique("[[fault:hang_after_text]]")}
        headers = {**bearer(mine), "Prefer": "respond-async"}
        runs = (await client.post("/v1/text", json=body, headers=headers)).json()["id"]
        async with websockets.connect(
            f"{walled.ws}/v1/ws", additional_headers=bearer(theirs)
        ) as socket:
            for kind, more in (("resume", {"after": 0}), ("cancel", {})):
                said = []
                for name in (runs, NEVER):
                    await send_message(socket, kind, generation=name, ref=1, **more)
                    said.append(json.dumps(await receive(socket)))
                assert said[0] == said[1]
                assert "not_found" in said[0]
        answer = await client.get(f"/v1/generations/{runs}", headers=bearer(mine))
        assert answer.json()["status"] == "running"


async def test_an_idempotency_key_is_its_owners(walled: Running, emulator: Emulator) -> None:
    """The same key of another owner is another key, with the same body and with another."""
    mine, _ = await walled.key(owner="acme")
    again, _ = await walled.key(owner="acme")
    theirs, _ = await walled.key(owner="globex")
    body, name = {"prompt": unique("[[words:3]]")}, {"Idempotency-Key": uuid4().hex}
    async with http(walled.url) as client:

        async def ask(key: str, body: dict[str, str]) -> Any:
            answer = await client.post("/v1/text", json=body, headers={**bearer(key), **name})
            return answer.json()

        first = await ask(mine, body)
        assert (await ask(again, body))["id"] == first["id"]
        stranger = await ask(theirs, body)
        assert stranger["status"] == "done"
        assert stranger["id"] != first["id"]
        assert len(emulator.history.report(body["prompt"].split()[0])["calls"]) == 2
        third, _ = await walled.key(owner="initech")
        assert (await ask(third, {"prompt": unique("[[words:3]]")}))["status"] == "done"


async def test_the_cache_does_not_cross_the_wall(walled: Running, emulator: Emulator) -> None:
    """Neither a finished answer nor one that is being written."""
    keys = [(await walled.key(owner=owner))[0] for owner in ("acme", "acme", "globex")]
    body = {"prompt": unique("[[words:30]] [[pace:0.01]]"), "cache": "use"}
    async with http(walled.url) as client:

        async def ask(key: str) -> str:
            answer = await client.post("/v1/text", json=body, headers=bearer(key))
            return str(answer.json()["cache"])

        at_once = await asyncio.gather(*map(ask, keys))
        assert sorted(at_once[:2]) == ["collapsed", "miss"]
        assert at_once[2] == "miss"
        assert await ask(keys[0]) == "hit"
        other, _ = await walled.key(owner="initech")
        assert await ask(other) == "miss"
        assert len(emulator.history.report(body["prompt"].split()[0])["calls"]) == 3


async def test_within_the_wall_a_task_is_needed_too(walled: Running) -> None:
    """A key of the same owner sees what is of its tasks; it is told of the rest, for it may."""
    mine, _ = await walled.key("text")
    narrow, _ = await walled.key("classification")
    async with http(walled.url) as client:
        body = {"prompt": unique("[[words:3]]")}
        name = (await client.post("/v1/text", json=body, headers=bearer(mine))).json()["id"]
        answer = await client.get(f"/v1/generations/{name}", headers=bearer(narrow))
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
        events = await client.get(f"/v1/generations/{name}/events", headers=bearer(mine))
        assert parse(events.content)[-1].type == "done"


async def test_owners_share_a_socket_with_nobody(walled: Running) -> None:
    """A socket is its key's; what another key of the owner began can be resumed on it."""
    mine, _ = await walled.key(owner="acme")
    again, _ = await walled.key(owner="acme")
    async with http(walled.url) as client:
        body = {"prompt": unique("[[words:3]]")}
        name = (await client.post("/v1/text", json=body, headers=bearer(mine))).json()["id"]
    async with websockets.connect(f"{walled.ws}/v1/ws") as socket:
        await send_message(socket, "auth", token=again)
        await send_message(socket, "resume", generation=name, after=0)
        assert (await follow(socket))[-1].type == "done"
