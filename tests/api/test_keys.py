"""Keys at every transport: which requests are accepted, and how the others are refused."""

import asyncio
import contextlib
import json
import re
import time
from typing import Any

import httpx
import pytest
import websockets

from streamapi.access import keys
from streamapi.access.new_key import OTHER_SCOPES
from streamapi.api.routes.keys import KeyList, MadeKey
from streamapi.emulator import Emulator
from tests.api.test_docs import checked
from tests.api.wire import follow, http, parse, receive, send_message, unique
from tests.conftest import RedisServer, Running, bearer, running, until

OWN = {"generations.get", "generations.events", "generations.cancel", "generations.forget"}
"""Routes to a generation, which need a key of its owner with the scope of its task."""


@pytest.fixture
async def client(guarded: Running) -> Any:
    async with http(guarded.url) as client:
        yield client


def requests(server: Running) -> list[tuple[str, Any, str, str]]:
    """Every route of the app: its name, its view, a method and a path that it matches."""
    from streamapi.app import create_app

    found = []
    app = create_app(server.parts.settings)
    for rule in app.url_map.iter_rules():
        path = rule.rule.replace("<generation_id>", "gen_x").replace("<key_id>", "key_x")
        path = path.replace("<model_id>", "gemini-3.8-flash").replace("<path:name>", "style.css")
        path = re.sub("<.*?>", "not_found", path)
        for method in (rule.methods or {"GET"}) - {"HEAD", "OPTIONS"}:
            if not rule.websocket:
                found.append((rule.endpoint, app.view_functions[rule.endpoint], method, path))
    return found


def example(server: Running, endpoint: str) -> dict[str, Any]:
    task = server.parts.tasks.get(endpoint.partition(".")[0])
    return dict(task.example) if task else {"owner": "acme", "scopes": ["text"]}


async def test_every_route_needs_a_key_or_says_why_not(
    guarded: Running, client: httpx.AsyncClient
) -> None:
    """A request without a key gets a 401, unless its route is open to all, with a reason."""
    document = (await client.get("/openapi.json")).json()["paths"]
    for _, view, method, path in requests(guarded):
        answer = await client.request(method, path)
        why = getattr(view, "open_to_all", "")
        assert (answer.status_code != 401) == bool(why), (
            f'{path}: @open_to_all("why") opens a route'
        )
        if not why:
            assert answer.json()["code"] == "unauthenticated", path
            assert answer.headers["WWW-Authenticate"] == "Bearer"
        operation = document.get(path, {}).get(method.lower())
        assert operation is None or ("security" in operation) != bool(why), path


async def test_every_route_needs_its_scope(guarded: Running, client: httpx.AsyncClient) -> None:
    """A key with every other scope gets a 403. A route without a scope says why."""
    scopes = [*guarded.parts.tasks, *OTHER_SCOPES]
    for endpoint, view, method, path in requests(guarded):
        why = getattr(view, "open_to_all", "") or getattr(view, "any_scope", "")
        if why or endpoint in OWN:
            continue
        family = endpoint.partition(".")[0]
        known = {"keys": "admin", "metrics": "usage", **{it: it for it in guarded.parts.tasks}}
        needed = known.get(family) or getattr(view, "needs", None)
        assert needed in scopes, f'{path}: mark it with @needs("scope") or @any_scope("why")'
        key, _ = await guarded.key(*(scope for scope in scopes if scope != needed))
        body = example(guarded, endpoint) if method == "POST" else None
        query = example(guarded, endpoint) if method == "GET" and path.endswith("stream") else None
        answer = await client.request(method, path, json=body, params=query, headers=bearer(key))
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), path
        key, _ = await guarded.key(needed)
        answer = await client.request(method, path, json=body, params=query, headers=bearer(key))
        assert answer.status_code in (200, 201, 404), path


async def test_every_socket_needs_a_key(guarded: Running) -> None:
    """Unless the first message is `auth` with a good key, the socket is closed with 4401."""
    good, _ = await guarded.key()
    firsts: list[Any] = [
        json.dumps({"type": "start", "task": "text", "request": {"prompt": "hello"}}),
        json.dumps({"type": "resume", "generation": "gen_x", "after": 0}),
        json.dumps({"type": "cancel", "generation": "gen_x"}),
        json.dumps({"type": "ping"}),
        json.dumps({"type": "auth", "token": keys.make()}),
        json.dumps({"type": "auth", "token": good, "more": 1}),
        json.dumps({"type": "auth", "token": "x" * 100_000}),
        json.dumps({"type": "auth", "token": 5}),
        "nonsense",
        b"\xff",
    ]
    for name in ("", *(f"/{task}" for task in guarded.parts.tasks)):
        for first in firsts:
            async with websockets.connect(f"{guarded.ws}/v1{name}/ws") as socket:
                await socket.send(first)
                with pytest.raises(websockets.ConnectionClosed) as closed:
                    raise AssertionError(await receive(socket))
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == 4401, first


async def test_a_silent_socket_is_closed(emulator: Emulator, database_url: str) -> None:
    """A socket without a key has `AUTH_TIMEOUT` to send `auth`."""
    async with (
        running(emulator, auth="keys", database_url=database_url, auth_timeout=0.1) as server,
        websockets.connect(f"{server.ws}/v1/ws") as socket,
    ):
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await receive(socket)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4401


@pytest.mark.parametrize("by", ["header", "message"])
async def test_a_socket_has_the_scopes_of_its_key(guarded: Running, by: str) -> None:
    """Each message is checked; a refusal leaves the socket open."""
    key, _ = await guarded.key("text")
    headers = bearer(key) if by == "header" else {}
    async with websockets.connect(f"{guarded.ws}/v1/ws", additional_headers=headers) as socket:
        if by == "message":
            await send_message(socket, "auth", token=key)
        await send_message(socket, "start", task="code", ref=1, request={"prompt": "hello"})
        assert (await receive(socket))["problem"]["code"] == "forbidden"
        await send_message(socket, "auth", token=key, ref=2)
        assert (await receive(socket))["problem"]["code"] == "invalid_request"
        await send_message(socket, "start", task="text", request={"prompt": unique("[[words:3]]")})
        assert (await follow(socket))[-1].type == "done"


async def test_a_bad_key_at_the_handshake_is_401(guarded: Running) -> None:
    """The refusal is an HTTP answer, because there is no socket yet."""
    for shown in (bearer(keys.make()), bearer("x"), {"Authorization": "Basic eDp5"}):
        with pytest.raises(websockets.InvalidStatus) as refused:
            await websockets.connect(f"{guarded.ws}/v1/ws", additional_headers=shown)
        assert refused.value.response.status_code == 401
        assert b"unauthenticated" in refused.value.response.body


def hostile() -> list[bytes]:
    """Headers that an attacker may send in place of a key."""
    key = keys.make().encode()
    return [
        b"",
        b"Bearer",
        b"Basic " + key,
        key,
        b"Bearer " + key,  # well-formed, and unknown
        b"bearer " + key,
        b"Bearer " + key[:-1],
        b"Bearer " + key + b" " + key,
        b"Bearer " + key + b"," + key,
        b"Bearer ' OR '1'='1",
        b"Bearer sk-streamapi-'; DROP TABLE keys; --",
        b"Bearer " + b"x" * 100_000,
        b"Bearer \xc3\xa9\xff",
        b"Bearer sk-streamapi-" + b"%00" * 16,
    ]


async def test_hostile_credentials_are_401(guarded: Running, client: httpx.AsyncClient) -> None:
    """Requests and handshakes refuse each of them, and accept the next good key."""
    good, _ = await guarded.key()
    for value in hostile():
        answer = await client.get("/v1/models", headers=[(b"Authorization", value)])
        assert answer.status_code == 401, value[:60]
        assert answer.json()["code"] == "unauthenticated"
    twice = [("Authorization", f"Bearer {good}"), ("Authorization", f"Bearer {good}")]
    assert (await client.get("/v1/models", headers=twice)).status_code == 401
    assert (await client.get("/v1/models", headers=bearer(good))).status_code == 200


async def test_a_nul_is_no_http(guarded: Running) -> None:
    """The server answers with a 400 and closes the connection."""
    host, port = guarded.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \0\r\n\r\n")
    assert b" 400 " in await reader.readline()
    writer.close()


async def test_a_key_in_an_address_is_refused(guarded: Running, client: httpx.AsyncClient) -> None:
    """In any query parameter, and even beside a good header; the answer says why."""
    good, _ = await guarded.key()
    for query in (f"key={good}", f"prompt=a%20{good}", good, f"x={good.replace('-', '%2D')}"):
        for headers in ({}, bearer(good)):
            answer = await client.get(f"/v1/text/stream?{query}", headers=headers)
            assert answer.status_code == 401
            assert "address" in answer.json()["detail"]
            assert good not in answer.text
    with pytest.raises(websockets.InvalidStatus) as refused:
        await websockets.connect(f"{guarded.ws}/v1/ws?key={good}")
    assert refused.value.response.status_code == 401


async def test_revoked_and_expired_keys_have_different_codes(
    guarded: Running, client: httpx.AsyncClient
) -> None:
    """A revoked key gets `unauthenticated`, an expired one `key_expired`."""
    key_auth = guarded.parts.key_auth
    assert key_auth is not None
    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 1.1))
    expired, _ = await guarded.key(expires=soon)
    revoked, name = await guarded.key()
    await key_auth.store.revoke(name)
    assert (await client.get("/v1/models", headers=bearer(revoked))).json()[
        "code"
    ] == "unauthenticated"

    async with asyncio.timeout(5):
        while (answer := await client.get("/v1/models", headers=bearer(expired))).is_success:
            await asyncio.sleep(0.05)
    assert (answer.status_code, answer.json()["code"]) == (401, "key_expired")
    assert answer.headers["WWW-Authenticate"]


async def test_a_preflight_needs_no_key(emulator: Emulator, database_url: str) -> None:
    """A browser sends a preflight without a key; the request itself needs one."""
    origin = "https://app.example"
    settings = {"auth": "keys", "database_url": database_url, "cors_origins": (origin,)}
    async with running(emulator, **settings) as server, http(server.url) as client:
        headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        headers["Access-Control-Request-Headers"] = "authorization, content-type"
        answer = await client.options("/v1/text", headers=headers)
        assert answer.is_success
        assert "authorization" in answer.headers["Access-Control-Allow-Headers"].lower()
        refused = await client.post("/v1/text", headers={"Origin": origin}, json={"prompt": "a"})
        assert refused.status_code == 401
        assert refused.headers["Access-Control-Allow-Origin"] == origin


async def test_a_key_can_use_only_its_models(guarded: Running, client: httpx.AsyncClient) -> None:
    """The requested or the serving name counts; any other model gets a 403."""
    key, _ = await guarded.key("text", models=["gemini-3.5-flash-lite"])
    body = {"prompt": unique("[[words:3]]")}
    answer = await client.post("/v1/text", json=body, headers=bearer(key))
    assert answer.json()["code"] == "forbidden"
    body["model"] = "gemini-3.5-flash-lite"
    assert (await client.post("/v1/text", json=body, headers=bearer(key))).is_success
    key, _ = await guarded.key("text", models=["gemini-3.8-flash"])
    body["model"] = "gemini-2.0-flash"  # its successor serves it
    assert (await client.post("/v1/text", json=body, headers=bearer(key))).is_success


async def test_a_fallback_must_be_a_model_of_the_key(emulator: Emulator, database_url: str) -> None:
    """No fallback answers a key that may not use it."""
    settings = {"fallback_models": ("gemini-3.5-flash-lite",), "retry_attempts": 1}
    async with (
        running(emulator, auth="keys", database_url=database_url, **settings) as server,
        http(server.url) as client,
    ):
        prompt = unique("[[fault:503]]")
        key, _ = await server.key(models=["gemini-3.8-flash"])
        answer = await client.post("/v1/text", json={"prompt": prompt}, headers=bearer(key))
        assert answer.json()["code"] == "upstream_unavailable"
        made = emulator.history.report(prompt.split()[0])["calls"]
        assert {call["model"] for call in made} == {"gemini-3.8-flash"}


async def test_keys_are_administered(guarded: Running, client: httpx.AsyncClient) -> None:
    """They are made, listed without the keys themselves, and revoked, as the documents describe."""
    admin, _ = await guarded.key("admin", owner="ops")
    client.headers.update(bearer(admin))
    wanted = {
        "owner": "acme",
        "name": "Zoë's laptop",
        "scopes": ["text", "usage", "text"],
        "models": ["gemini-3.8-flash"],
        "expires": "2100-01-31T00:00:00+01:00",
        "limits": {"streams": 3},
    }
    answer = await client.post("/v1/keys", json=wanted)
    assert answer.status_code == 201
    made = answer.json()
    checked(made, MadeKey)
    assert made["scopes"] == ["text", "usage"]
    assert made["expires"] == "2100-01-30T23:00:00Z"
    assert made["limits"]["streams"] == 3
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Location"] == f"/v1/keys/{made['id']}"
    assert (await client.get("/v1/models", headers=bearer(made["key"]))).is_success
    listed = await client.get("/v1/keys")
    checked(listed.json(), KeyList)
    assert made["key"] not in listed.text
    assert {key["id"] for key in listed.json()["data"]} >= {made["id"]}
    for _ in range(2):
        assert (await client.delete(f"/v1/keys/{made['id']}")).status_code == 204
    assert (await client.get("/v1/models", headers=bearer(made["key"]))).status_code == 401
    assert (await client.delete("/v1/keys/key_x")).json()["code"] == "not_found"
    [revoked] = [k for k in (await client.get("/v1/keys")).json()["data"] if k["id"] == made["id"]]
    assert revoked["revoked"]


async def test_keys_come_by_pages(guarded: Running, client: httpx.AsyncClient) -> None:
    """A page has a hundred keys."""
    admin, _ = await guarded.key("admin")
    for _ in range(105):
        await guarded.key("text")
    first = (await client.get("/v1/keys", headers=bearer(admin))).json()
    assert (len(first["data"]), first["has_more"]) == (100, True)
    query = {"before": first["data"][-1]["id"]}
    rest = (await client.get("/v1/keys", params=query, headers=bearer(admin))).json()
    assert (len(rest["data"]), rest["has_more"]) == (6, False)
    wrong = await client.get("/v1/keys", params={"before": ""}, headers=bearer(admin))
    assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (422, "/before")


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"owner": ""}, "/owner"),
        ({"owner": "a/b"}, "/owner"),
        ({"owner": "anonymous"}, "/owner"),
        ({"owner": "acme\n"}, "/owner"),
        ({"name": "\0"}, "/name"),
        ({"scopes": []}, "/scopes"),
        ({"scopes": ["text", "everything"]}, "/scopes/1"),
        ({"models": []}, "/models"),
        ({"models": ["gpt"]}, "/models/0"),
        ({"expires": "yesterday"}, "/expires"),
        ({"expires": 5}, "/expires"),
        ({"expires": "2020-01-01T00:00:00Z"}, "/expires"),
        ({"expires": "2100-01-01T00:00:00"}, "/expires"),
        ({"expires": "9999-12-31T23:59:59-14:00"}, "/expires"),
        ({"expires": "9999-12-31T23:59:59.999999Z"}, "/expires"),
        ({"limits": {"streams": -1}}, "/limits/streams"),
        ({"limits": {"streams": 10**30}}, "/limits/streams"),
        ({"limits": {"wishes": 3}}, "/limits/wishes"),
        ({"key": "sk-mine"}, "/key"),
    ],
)
async def test_an_invalid_key_request_is_422(
    guarded: Running, client: httpx.AsyncClient, change: dict[str, Any], pointer: str
) -> None:
    """The answer names the field."""
    admin, _ = await guarded.key("admin")
    body = {"owner": "acme", "scopes": ["text"], **change}
    answer = await client.post("/v1/keys", json=body, headers=bearer(admin))
    assert answer.status_code == 422, answer.text
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


async def test_an_open_server_has_no_keys(server: Running) -> None:
    """It ignores any key, and its key routes are 404."""
    async with http(server.url) as client:
        for method, path in (("GET", ""), ("POST", ""), ("DELETE", "/key_x")):
            body = {"owner": "acme", "scopes": ["text"]} if method == "POST" else None
            answer = await client.request(method, f"/v1/keys{path}", json=body)
            assert answer.json()["code"] == "not_found"
        assert (await client.get("/v1/models", headers=bearer("anything"))).is_success
    async with websockets.connect(f"{server.ws}/v1/ws") as socket:
        await send_message(socket, "auth", token="anything")
        await send_message(socket, "ping", ref=1)
        assert await receive(socket) == {"type": "pong", "ref": 1}


async def test_an_open_server_serves_its_own_machine_only(emulator: Emulator) -> None:
    """A request that arrives at another address needs a key, whatever the server binds."""
    from streamapi.app import create_app
    from streamapi.settings import Settings

    app = create_app(Settings(gemini_base_url=emulator.url))
    for arrived, status in (("10.0.0.5", 401), ("127.0.0.1", 200), ("::1", 200)):
        base = {"server": (arrived, 8000)}
        answer = await app.test_client().get(
            "/v1/models", scope_base=base, headers={"Host": "localhost"}
        )
        assert answer.status_code == status, arrived


async def test_no_connection_is_held_while_a_stream_runs(
    guarded: Running, client: httpx.AsyncClient
) -> None:
    """A stream uses the database at its start only."""
    key_auth = guarded.parts.key_auth
    assert key_auth is not None
    pool: Any = key_auth.database._engine.pool
    key, _ = await guarded.key()
    body = {"prompt": unique("[[words:30]] [[pace:0.01]]")}
    async with client.stream("POST", "/v1/text/stream", json=body, headers=bearer(key)) as response:
        async for line in response.aiter_lines():
            if line.startswith("event: delta"):
                assert pool.checkedout() == 0


async def reading(client: httpx.AsyncClient, key: str, prompt: str, **more: Any) -> list[Any]:
    body = {"prompt": prompt, **more}
    answer = await client.post("/v1/text/stream", json=body, headers=bearer(key))
    return parse(answer.content) if answer.is_success else [answer]


async def test_revoking_a_key_ends_its_streams(
    guarded: Running, client: httpx.AsyncClient, emulator: Emulator
) -> None:
    """In the same process its streams, waiting answers and sockets end at once, and so do their
    calls to the model, also without a reader. What other keys of its owner started goes on."""
    admin, _ = await guarded.key("admin", owner="ops")
    key, name = await guarded.key()
    other, _ = await guarded.key()
    prompts = [unique("[[fault:hang_after_text]]") for _ in range(4)]

    def calls(prompt: str) -> list[Any]:
        return list(emulator.history.report(prompt.split()[0])["calls"])

    stream = asyncio.create_task(reading(client, key, prompts[0]))
    answer = asyncio.create_task(
        client.post("/v1/text", json={"prompt": prompts[1]}, headers=bearer(key))
    )
    later = {**bearer(key), "Prefer": "respond-async"}
    await client.post("/v1/text", json={"prompt": prompts[2]}, headers=later)
    theirs = {**bearer(other), "Prefer": "respond-async"}
    slow = unique("[[words:60]] [[pace:0.02]]")
    events = (await client.post("/v1/text", json={"prompt": slow}, headers=theirs)).json()["events"]
    follower = asyncio.create_task(client.get(events, headers=bearer(key)))
    async with websockets.connect(f"{guarded.ws}/v1/ws", additional_headers=bearer(key)) as socket:
        await send_message(socket, "start", task="text", request={"prompt": prompts[3]})
        await until(lambda: all(calls(p) for p in prompts), "the model is asked")
        revoked = await client.delete(f"/v1/keys/{name}", headers=bearer(admin))
        assert revoked.status_code == 204
        failed = (await stream)[-1]
        assert failed.type == "failed"
        assert failed.data["problem"]["code"] == "unauthenticated"
        assert (await answer).status_code == 401
        messages = [json.loads(message) async for message in _until_closed(socket)]
        assert messages[-1]["problem"]["code"] == "unauthenticated"
        assert socket.close_code == 4401
    cut = parse((await follower).content)
    assert cut[-1].type == "delta"  # no ending: a good key can resume it
    for prompt in prompts:
        await until(lambda p=prompt: calls(p)[0]["outcome"] == "client_left", "the call ends")
    whole = parse((await client.get(events, headers=bearer(other))).content)
    assert whole[-1].type == "done"


async def _until_closed(socket: Any) -> Any:
    with contextlib.suppress(websockets.ConnectionClosed):
        while True:
            yield await socket.recv()


async def test_a_key_revoked_elsewhere_is_refused_within_its_time(
    emulator: Emulator, database_url: str
) -> None:
    """Another process reads it from the database, and ends what the key started."""
    settings = {"auth": "keys", "database_url": database_url, "key_ttl": 0.3, "idle_timeout": 5}
    async with (
        running(emulator, **settings) as one,
        running(emulator, **settings) as other,
        http(one.url) as client,
        http(other.url) as elsewhere,
    ):
        admin, _ = await one.key("admin")
        key, name = await one.key()
        prompt = unique("[[fault:hang_after_text]]")
        stream = asyncio.create_task(reading(elsewhere, key, prompt))
        report = emulator.history.report
        await until(lambda: report(prompt.split()[0])["calls"], "the model is asked")
        async with websockets.connect(
            f"{other.ws}/v1/ws", additional_headers=bearer(key)
        ) as socket:
            await client.delete(f"/v1/keys/{name}", headers=bearer(admin))
            assert (await stream)[-1].data["problem"]["code"] == "unauthenticated"
            assert [message async for message in _until_closed(socket)] == []
            assert socket.close_code == 4401
        async with asyncio.timeout(2):
            while (await elsewhere.get("/v1/models", headers=bearer(key))).is_success:
                await asyncio.sleep(0.02)


async def test_readers_in_other_processes_get_the_ending_too(
    emulator: Emulator, database_url: str, redis_server: RedisServer
) -> None:
    """A generation of a revoked key ends for every reader in every process. A generation that the
    key has joined goes on for the key that started it."""
    settings = {"auth": "keys", "database_url": database_url, "redis_url": redis_server.url}
    async with (
        running(emulator, **settings) as one,
        running(emulator, **settings) as other,
        http(one.url) as client,
        http(other.url) as elsewhere,
    ):
        admin, _ = await one.key("admin")
        key, name = await one.key()
        sister, _ = await one.key()
        later = {**bearer(key), "Prefer": "respond-async"}
        body = {"prompt": unique("[[fault:hang_after_text]]")}
        events = (await client.post("/v1/text", json=body, headers=later)).json()["events"]
        reader = asyncio.create_task(elsewhere.get(events, headers=bearer(sister)))
        shared = {"prompt": unique("[[words:60]] [[pace:0.02]]"), "cache": "use"}
        first = asyncio.create_task(elsewhere.post("/v1/text", json=shared, headers=bearer(sister)))
        report = emulator.history.report
        await until(lambda: report(shared["prompt"].split()[0])["calls"], "the model is asked")
        joined = asyncio.create_task(reading(client, key, **shared))
        await until(lambda: len(one.parts.generations._readers._readers) == 1, "it has joined")
        await client.delete(f"/v1/keys/{name}", headers=bearer(admin))
        ending = parse((await reader).content)[-1]
        assert ending.data["problem"]["code"] == "unauthenticated"
        assert (await joined)[-1].type != "done"
        assert (await first).json()["status"] == "done"


async def test_while_the_database_is_away(emulator: Emulator, database_url: str) -> None:
    """Cached keys work and streams go on; unknown keys get a 503 at every transport."""
    import sqlite3

    def rename(old: str, new: str) -> None:
        path = database_url.removeprefix("sqlite:///")
        with contextlib.closing(sqlite3.connect(path, timeout=20, isolation_level=None)) as file:
            file.execute("BEGIN EXCLUSIVE")  # it waits for other writers, so it runs in a thread
            file.execute(f"ALTER TABLE {old} RENAME TO {new}")
            file.execute("COMMIT")

    settings = {"auth": "keys", "database_url": database_url, "key_ttl": 0.2}
    async with running(emulator, **settings) as server, http(server.url) as client:
        known, _ = await server.key()
        other, _ = await server.key()
        stream = asyncio.create_task(reading(client, known, unique("[[words:60]] [[pace:0.02]]")))
        assert (await client.get("/v1/models", headers=bearer(known))).is_success
        await asyncio.to_thread(rename, "keys", "gone")
        assert (await stream)[-1].type == "done"
        assert (await client.get("/v1/models", headers=bearer(known))).is_success
        for unknown in (other, keys.make()):
            answer = await client.get("/v1/models", headers=bearer(unknown))
            assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
            assert answer.headers["Retry-After"]
            async with websockets.connect(f"{server.ws}/v1/ws") as socket:
                await send_message(socket, "auth", token=unknown)
                assert [message async for message in _until_closed(socket)] == []
                assert socket.close_code == 1013
        await asyncio.to_thread(rename, "gone", "keys")
        async with asyncio.timeout(5):
            while not (await client.get("/v1/models", headers=bearer(other))).is_success:
                await asyncio.sleep(0.05)
