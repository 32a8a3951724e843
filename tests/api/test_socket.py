"""The WebSocket transport: many generations on one socket, and clients that do not behave."""

import asyncio
import json
import re
import socket as sockets
import struct
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
import websockets
from websockets.exceptions import ConnectionClosed, InvalidStatus

from streamapi.emulator import Emulator
from tests.api.wire import ENDINGS, calls, follow, http, left, receive, send_message, unique
from tests.conftest import Running, running, until

SHORT = "[[words:12]] [[chunk:24]]"
TALKING = "[[pace:0.02]] [[words:3000]]"


@pytest.fixture(scope="module")
async def server(emulator: Emulator) -> Any:
    """A server whose sockets have low bounds."""
    bounds = {"max_generations_per_socket": 5, "max_body_bytes": 100_000, "ping_interval": 0.2}
    async with running(emulator, **bounds) as server:
        yield server


@pytest.fixture
async def socket(server: Running) -> Any:
    async with websockets.connect(f"{server.ws}/v1/ws", close_timeout=1) as socket:
        yield socket


async def start(socket: Any, markers: str = SHORT, **more: Any) -> str:
    """Start a text generation, and return its prompt."""
    prompt = unique(markers)
    await send_message(socket, "start", task="text", request={"prompt": prompt}, **more)
    return prompt


async def alive(socket: Any) -> None:
    """The socket still works."""
    await send_message(socket, "ping", ref="alive")
    while (message := await receive(socket)).get("ref") != "alive":
        assert message["type"] != "pong"
    assert message == {"type": "pong", "ref": "alive"}


# Messages that are good.


async def test_a_generation_is_a_row_of_frames(socket: Any) -> None:
    """Each frame has its type, generation and number; `start` has the ref and the cache."""
    await start(socket, ref="mine")
    events = await follow(socket)
    assert [event.n for event in events] == list(range(1, len(events) + 1))
    assert len({event.data["generation"] for event in events}) == 1
    assert (events[0].data["ref"], events[0].data["cache"]) == ("mine", "miss")
    assert not [event for event in events[1:] if "ref" in event.data]
    text = "".join(event.data["text"] for event in events if event.type == "delta")
    assert text == events[-1].data["result"]["text"]


async def test_the_frames_are_the_events_of_the_stream(server: Running, socket: Any) -> None:
    """The same data as by SSE, with `type`, `generation` and `n` beside it."""
    await start(socket)
    events = await follow(socket)
    generation = events[0].data["generation"]
    async with http(server.url) as client:
        stream = (await client.get(f"/v1/generations/{generation}/events")).text
    for event in events:
        data = {k: v for k, v in event.data.items() if k not in ("n", "ref")}
        own = json.loads(re.findall(rf"id: {event.id}\ndata: (.*)\n", stream)[0])
        if event.type == "start":
            assert {**own, "cache": "miss"} == data
        else:
            assert {**own, "generation": generation} == data


async def test_five_at_once_on_one_socket(emulator: Emulator, socket: Any) -> None:
    """Five generations have five ids. Each is whole and in order, and has one ending."""
    prompts = [await start(socket, "[[words:60]] [[pace:0.01]]", ref=n) for n in range(5)]
    seen: dict[str, list[dict[str, Any]]] = {}
    over = 0
    while over < 5:
        message = await receive(socket)
        seen.setdefault(message["generation"], []).append(message)
        over += message["type"] in ENDINGS
    assert sorted(messages[0]["ref"] for messages in seen.values()) == [0, 1, 2, 3, 4]
    for messages in seen.values():
        assert [message["n"] for message in messages] == list(range(1, len(messages) + 1))
        assert [message["type"] in ENDINGS for message in messages].count(True) == 1
        text = "".join(m["text"] for m in messages if m["type"] == "delta")
        assert messages[-1]["result"]["text"] == text
    order = [prompts[messages[0]["ref"]] for messages in seen.values()]
    assert len(set(order)) == 5
    for prompt in prompts:
        assert len(await calls(emulator, prompt)) == 1


async def test_a_socket_of_one_task_needs_no_task(server: Running) -> None:
    """On /v1/code/ws the task is known. `task` may name it, but not another task."""
    async with websockets.connect(f"{server.ws}/v1/code/ws") as socket:
        await send_message(socket, "start", request={"prompt": unique()}, ref="a")
        assert (await follow(socket))[-1].data["result"]["code"]
        await send_message(socket, "start", task="code", request={"prompt": unique()}, ref="b")
        assert (await follow(socket))[-1].type == "done"
        await send_message(socket, "start", task="text", request={"prompt": unique()}, ref="c")
        refused = await receive(socket)
        assert (refused["ref"], refused["problem"]["code"]) == ("c", "invalid_request")


async def test_labels_come_on_a_socket(server: Running) -> None:
    """The events of a task are the same on a socket."""
    async with websockets.connect(f"{server.ws}/v1/classification/ws") as socket:
        await send_message(
            socket, "start", request={"text": unique(), "labels": ["tides", "bread"]}
        )
        types = [event.type for event in await follow(socket)]
    assert types[0] == "start"
    assert "label" in types
    assert types[-1] == "done"


async def test_resuming_on_another_socket(server: Running, emulator: Emulator) -> None:
    """After a socket broke, another one resumes behind the last event seen."""
    first = await websockets.connect(f"{server.ws}/v1/ws")
    prompt = await start(first, "[[words:60]] [[pace:0.01]]")
    seen = [await receive(first) for _ in range(4)]
    first.transport.abort()
    async with websockets.connect(f"{server.ws}/v1/ws") as second:
        await send_message(second, "resume", generation=seen[0]["generation"], after=4, ref="again")
        rest = await follow(second)
    assert [event.n for event in rest] == list(range(5, len(rest) + 5))
    text = "".join(message.get("text", "") for message in seen)
    text += "".join(event.data["text"] for event in rest if event.type == "delta")
    assert text == rest[-1].data["result"]["text"]
    assert len(await calls(emulator, prompt)) == 1


async def test_resuming_behind_the_ending_shows_the_ending(socket: Any) -> None:
    """A client that resumes behind the ending gets the ending again, not silence."""
    await start(socket)
    events = await follow(socket)
    generation = events[0].data["generation"]
    await send_message(socket, "resume", generation=generation, after=events[-1].n)
    assert await follow(socket) == events[-1:]


async def test_resuming_twice_on_one_socket_is_one_reader(server: Running, socket: Any) -> None:
    """The second reader replaces the first, so no event comes twice after that. A generation that
    ends with its last reader does not end in between."""
    request = {"prompt": unique("[[words:60]] [[pace:0.02]]"), "on_disconnect": "cancel"}
    await send_message(socket, "start", task="text", request=request)
    first = await receive(socket)
    await send_message(socket, "resume", generation=first["generation"], after=0, ref="again")
    seen = [await receive(socket)]
    while seen[-1]["type"] not in ENDINGS:
        seen.append(await receive(socket))
    assert seen[-1]["type"] == "done"
    again = [m["n"] for m in seen][[m["n"] for m in seen].index(1) :]
    assert again == list(range(1, len(again) + 1))


async def test_cancelling_on_the_socket(emulator: Emulator, socket: Any) -> None:
    """The generation ends as `cancelled`, and the connection to the model closes."""
    prompt = await start(socket, TALKING)
    generation = (await receive(socket))["generation"]
    await send_message(socket, "cancel", generation=generation)
    assert (await follow(socket))[-1].data["by"] == "caller"
    assert (await left(emulator, prompt))["outcome"] == "client_left"


async def test_one_key_is_one_generation(emulator: Emulator, socket: Any) -> None:
    """A second `start` with the same idempotency key joins the generation of the first."""
    request = {"prompt": unique(SHORT)}
    key = unique().split()[0]
    ids = set()
    for _ in range(2):
        await send_message(socket, "start", task="text", request=request, idempotency_key=key)
        ids.add((await follow(socket))[0].data["generation"])
    assert len(ids) == 1
    assert len(await calls(emulator, request["prompt"])) == 1


@pytest.mark.parametrize("ref", ["a", 0, 7, None, "é\u2028", "x" * 200, 10**30])
async def test_the_ref_is_echoed(socket: Any, ref: Any) -> None:
    """A `ref` is a text or a number, and comes back as it was sent."""
    await send_message(socket, "ping", ref=ref)
    assert await receive(socket) == {"type": "pong", "ref": ref}


async def test_auth_is_accepted_without_keys(socket: Any) -> None:
    """A server without keys accepts `auth` and ignores it."""
    await send_message(socket, "auth", token="anything")
    await alive(socket)


# Messages that are bad. The socket stays open.


BAD = {
    "no JSON": ("hello", "malformed_json"),
    "an array": ("[]", "malformed_json"),
    "nothing": ("", "malformed_json"),
    "NaN": ('{"type": "ping", "ref": NaN}', "malformed_json"),
    "a lone surrogate": ('{"type": "ping", "ref": "\\ud800"}', "malformed_json"),
    "deep": ('{"type":' + "[" * 20_000, "malformed_json"),
    "33 levels": ('{"type": "ping", "ref": ' + "[" * 33 + "]" * 33 + "}", "malformed_json"),
    "no type": ("{}", "invalid_request"),
    "an unknown type": ('{"type": "dance"}', "invalid_request"),
    "a type that is none": ('{"type": 1}', "invalid_request"),
    "an unknown field": ('{"type": "ping", "x": 1}', "invalid_request"),
    "a ref that is none": ('{"type": "ping", "ref": {"a": 1}}', "invalid_request"),
    "a long ref": ('{"type": "ping", "ref": "' + "x" * 201 + '"}', "invalid_request"),
    "no task": ('{"type": "start", "request": {"prompt": "a"}}', "invalid_request"),
    "an unknown task": (
        '{"type": "start", "task": "dance", "request": {"prompt": "a"}}',
        "invalid_request",
    ),
    "no request": ('{"type": "start", "task": "text"}', "invalid_request"),
    "a request that is none": (
        '{"type": "start", "task": "text", "request": []}',
        "invalid_request",
    ),
    "a wrong field": (
        '{"type": "start", "task": "text", "request": {"prompt": ""}}',
        "invalid_request",
    ),
    "NUL": (
        '{"type": "start", "task": "text", "request": {"prompt": "\\u0000"}}',
        "invalid_request",
    ),
    "a model that is none": (
        '{"type": "start", "task": "text", "request": {"prompt": "a", "model": "x"}}',
        "model_not_found",
    ),
    "a bad key": (
        '{"type": "start", "task": "text", "request": {"prompt": "a"}, "idempotency_key": "a b"}',
        "invalid_request",
    ),
    "an unknown generation": ('{"type": "resume", "generation": "gen_x"}', "not_found"),
    "a cancel of nothing": ('{"type": "cancel", "generation": "gen_x"}', "not_found"),
    "a negative cursor": (
        '{"type": "resume", "generation": "gen_x", "after": -1}',
        "invalid_request",
    ),
    "a cursor that is none": (
        '{"type": "resume", "generation": "gen_x", "after": "1"}',
        "invalid_request",
    ),
    "auth without a token": ('{"type": "auth"}', "invalid_request"),
}


@pytest.mark.parametrize(("message", "code"), BAD.values(), ids=BAD)
async def test_a_bad_message_gets_an_error_and_the_socket_stays_open(
    socket: Any, message: str, code: str
) -> None:
    """The `error` has the problem and the ref, but no generation. The next message works."""
    await socket.send(message)
    error = await receive(socket)
    assert error["type"] == "error"
    assert "generation" not in error
    assert error["problem"]["code"] == code
    assert error["problem"]["request_id"]
    await alive(socket)


@pytest.mark.parametrize("data", [b"", b"\0", b'{"type": "ping"}', b"\xff" * 1000])
async def test_binary_frames_are_refused(socket: Any, data: bytes) -> None:
    """A binary frame gets an `error`, also when it is empty."""
    await socket.send(data)
    assert (await receive(socket))["problem"]["code"] == "invalid_request"
    await alive(socket)


async def test_a_fragmented_message_is_one_message(socket: Any) -> None:
    """The fragments of a message are joined."""
    await socket.send(iter(['{"type": ', '"ping", ', '"ref": 1}']))
    assert await receive(socket) == {"type": "pong", "ref": 1}


async def test_the_wrong_field_is_pointed_at(socket: Any) -> None:
    """The problem has the same errors as on the other transports."""
    await send_message(socket, "start", task="text", request={"prompt": "a", "stop": [""]}, ref=3)
    error = await receive(socket)
    assert error["ref"] == 3
    assert [error["pointer"] for error in error["problem"]["errors"]] == ["/stop/0"]


async def test_a_failure_is_an_event_of_its_generation(socket: Any) -> None:
    """A failure of the model ends the generation, not the socket."""
    await start(socket, "[[fault:400]]")
    events = await follow(socket)
    assert events[-1].data["problem"]["code"] == "upstream_rejected"
    assert events[-1].data["problem"]["generation"] == events[0].data["generation"]
    await alive(socket)


# Bounds.


async def test_a_bug_in_a_follower_is_an_error_and_the_socket_stays_open(
    server: Running, socket: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The client gets an `error` with its ref. The server's log has the reason."""
    generations = server.parts.generations

    async def broken(*arguments: Any, **more: Any) -> AsyncIterator[Any]:
        async for batch in read(*arguments, **more):
            yield batch
            raise ZeroDivisionError("secret")

    read = generations.read
    monkeypatch.setattr(generations, "read", broken)
    await start(socket, ref="mine")
    while (message := await receive(socket))["type"] != "error":
        assert message["type"] not in ENDINGS
    assert (message["ref"], message["problem"]["code"]) == ("mine", "internal")
    assert message["problem"]["request_id"]
    assert "secret" not in json.dumps(message)
    assert "ZeroDivisionError: secret" in caplog.text
    monkeypatch.undo()
    await alive(socket)
    await start(socket, ref="next")
    assert (await follow(socket))[-1].type == "done"


async def test_too_many_generations_are_refused(socket: Any) -> None:
    """One generation too many gets `too_many_streams`. When one ends, another may start."""
    started = []
    for n in range(5):
        await start(socket, TALKING, ref=n)
        while (message := await receive(socket)).get("ref") != n:
            pass
        started.append(message["generation"])
    await start(socket, TALKING, ref="one more")
    while (message := await receive(socket)).get("ref") != "one more":
        pass
    assert message["problem"]["code"] == "too_many_streams"
    await send_message(socket, "cancel", generation=started[2])
    while (await receive(socket))["type"] != "cancelled":
        pass
    await start(socket, SHORT, ref="now")
    while (message := await receive(socket)).get("ref") != "now":
        pass
    assert message["type"] == "start"


async def test_too_many_followed_are_refused(server: Running, socket: Any) -> None:
    """A resumed generation counts as a started one does."""
    ids = []
    async with http(server.url) as client:
        for _ in range(7):
            answer = await client.post(
                "/v1/text",
                json={"prompt": unique(TALKING)},
                headers={"Prefer": "respond-async"},
            )
            ids.append(answer.json()["id"])
        for n, generation in enumerate(ids):
            await send_message(socket, "resume", generation=generation, ref=n)
        refused = []
        await send_message(socket, "ping", ref="end")
        while (message := await receive(socket))["type"] != "pong":
            if message["type"] == "error":
                refused.append(message["problem"]["code"])
        for generation in ids:
            await client.delete(f"/v1/generations/{generation}")
    assert refused == ["too_many_streams"] * 2


async def closed(socket: Any, seconds: float = 2) -> int:
    """Read until the server closes the socket, and return the close code."""
    async with asyncio.timeout(seconds):
        try:
            while True:
                await socket.recv()
        except ConnectionClosed as error:
            return error.rcvd.code if error.rcvd else 1006


@pytest.mark.parametrize("size", [100_001, 3_000_000])
async def test_a_message_that_is_too_big_closes_the_socket(server: Running, size: int) -> None:
    """The socket closes with 1009."""
    async with websockets.connect(f"{server.ws}/v1/ws", close_timeout=1) as socket:
        with suppress(ConnectionClosed):
            await socket.send("x" * size)
        assert await closed(socket) == 1009


async def test_a_message_that_is_too_big_in_pieces_closes_the_socket(server: Running) -> None:
    """The socket closes with 1009 before the last fragment has come."""
    async with websockets.connect(f"{server.ws}/v1/ws", close_timeout=1) as socket:

        async def pieces() -> Any:
            for _ in range(100):
                yield "x" * 10_000
                await asyncio.sleep(0.002)

        with pytest.raises(ConnectionClosed) as error:
            await socket.send(pieces())
        assert error.value.rcvd is not None
        assert error.value.rcvd.code == 1009


async def test_compression_is_declined(server: Running) -> None:
    """permessage-deflate is declined, because a small frame could inflate to a large one."""
    async with websockets.connect(f"{server.ws}/v1/ws", compression="deflate") as socket:
        assert socket.response.headers.get("Sec-WebSocket-Extensions") is None
        await alive(socket)


async def test_the_subprotocol_is_optional(server: Running) -> None:
    """It is chosen when the client offers it. Others are not chosen, and none is needed."""
    for offered, chosen in [
        (["streamapi.v1"], "streamapi.v1"),
        (["x", "streamapi.v1"], "streamapi.v1"),
        (None, None),
    ]:
        async with websockets.connect(f"{server.ws}/v1/ws", subprotocols=offered) as socket:
            assert socket.subprotocol == chosen
            await alive(socket)


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1", "x"])
@pytest.mark.parametrize("path", ["/v1/ws", "/v1/text/ws"])
async def test_a_page_of_another_site_is_refused(server: Running, origin: str, path: str) -> None:
    """403 at the handshake."""
    with pytest.raises(InvalidStatus) as refused:
        await websockets.connect(server.ws + path, origin=origin)
    assert refused.value.response.status_code == 403


async def test_our_own_page_is_accepted(server: Running) -> None:
    """The origin may be the host's own, or missing."""
    for origin in (server.url, None):
        async with websockets.connect(f"{server.ws}/v1/ws", origin=origin) as socket:
            await alive(socket)


async def test_an_unknown_socket_is_not_found(server: Running) -> None:
    """404 at the handshake."""
    with pytest.raises(InvalidStatus) as refused:
        await websockets.connect(f"{server.ws}/v1/nothing/ws")
    assert refused.value.response.status_code == 404


async def test_an_idle_socket_is_closed_and_a_busy_one_is_not(emulator: Emulator) -> None:
    """4408 comes after a silence, but not while a generation runs or the client sends pings."""
    settings = {"socket_idle_timeout": 0.15, "ping_interval": 0.1, "idle_timeout": 5}
    async with running(emulator, **settings) as server:
        idle = await websockets.connect(f"{server.ws}/v1/ws")
        busy = await websockets.connect(f"{server.ws}/v1/ws")
        await start(busy, "[[fault:hang_after_text]]")
        pinged = await websockets.connect(f"{server.ws}/v1/ws")
        closing = asyncio.create_task(closed(idle))
        while not closing.done():
            await send_message(pinged, "ping")
            await asyncio.sleep(0.03)
        assert await closing == 4408
        for _ in range(5):
            await send_message(pinged, "ping")
            await asyncio.sleep(0.05)
        assert (pinged.state.name, busy.state.name) == ("OPEN", "OPEN")
        busy.transport.abort()
        pinged.transport.abort()


# Clients that do not read.


async def unread_socket(server: Running) -> sockets.socket:
    """A WebSocket whose client reads nothing and has a small receive buffer."""
    raw = sockets.socket()
    raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
    raw.setblocking(False)
    loop = asyncio.get_running_loop()
    host, _, port = server.url.removeprefix("http://").partition(":")
    await loop.sock_connect(raw, (host, int(port)))
    head = (
        f"GET /v1/ws HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        "Sec-WebSocket-Version: 13\r\n\r\n"
    )
    await loop.sock_sendall(raw, head.encode())
    assert b" 101 " in await loop.sock_recv(raw, 300)
    return raw


def frame(message: dict[str, Any]) -> bytes:
    """A masked text frame (RFC 6455, section 5.2), with a mask of zeros."""
    data = json.dumps(message).encode()
    assert len(data) < 65_536
    return struct.pack("!BBH4x", 0x81, 0x80 | 126, len(data)) + data


@pytest.fixture
async def strict(emulator: Emulator) -> Any:
    """A server that soon drops a client that does not read."""
    async with running(emulator, send_timeout=0.3, ping_interval=0.2, disconnect_grace=0) as it:
        yield it


async def test_a_client_that_never_reads_is_dropped(strict: Running, emulator: Emulator) -> None:
    """After `SEND_TIMEOUT` the socket is closed, and its generations end."""
    raw = await unread_socket(strict)
    prompt = unique("[[words:100000]] [[pace:0.0001]] [[chunk:4000]]")
    request = {"prompt": prompt, "max_output_tokens": 65_536}
    message = {"type": "start", "task": "text", "request": request}
    try:
        for n in range(8):
            await asyncio.get_running_loop().sock_sendall(
                raw, frame({**message, "request": {**request, "prompt": f"{prompt} {n}"}})
            )
        await until(lambda: strict.parts.sockets, "the conversation has begun")
        await until(lambda: not strict.parts.sockets, "the socket is dropped", 10)
        await until(lambda: not strict.parts.generations.running, "its generations are freed", 10)
        await until(lambda: not strict.parts.generations._readers._readers, "nobody reads any more")
    finally:
        raw.close()


async def test_a_flood_of_pings_is_not_buffered(strict: Running) -> None:
    """The server stops reading from a client that does not read its pongs, and then drops it. So
    the flood stays in the buffers of the client."""
    raw = await unread_socket(strict)
    loop = asyncio.get_running_loop()
    flood = frame({"type": "ping", "ref": "x" * 190}) * 100
    sent = 0
    try:
        async with asyncio.timeout(15):
            while True:
                await asyncio.wait_for(loop.sock_sendall(raw, flood), 2)
                sent += len(flood)
    except (TimeoutError, OSError):
        pass
    finally:
        raw.close()
    assert sent < 30_000_000
    await until(lambda: not strict.parts.sockets, "the socket is dropped", 5)


async def test_others_are_served_beside_a_client_that_does_not_read(strict: Running) -> None:
    """A client that does not read delays no other client."""
    raw = await unread_socket(strict)
    prompt = unique("[[words:100000]] [[pace:0.0001]] [[chunk:4000]]")
    message = {"type": "start", "task": "text", "request": {"prompt": prompt}}
    await asyncio.get_running_loop().sock_sendall(raw, frame(message))
    try:
        async with websockets.connect(f"{strict.ws}/v1/ws") as socket:
            async with asyncio.timeout(3):
                await start(socket)
                assert (await follow(socket))[-1].type == "done"
    finally:
        raw.close()


async def test_sockets_that_are_gone_leave_nothing_behind(server: Running) -> None:
    """No conversation and no reader is left, however the socket closed."""
    for n in range(20):
        socket = await websockets.connect(f"{server.ws}/v1/ws")
        await send_message(socket, "start", task="text", request={"prompt": unique(SHORT)})
        if n % 2:
            await receive(socket)
        if n % 3:
            socket.transport.abort()
        else:
            await socket.close()
    await until(lambda: not server.parts.sockets, "all conversations are over")
    await until(lambda: not server.parts.generations.running, "all generations are over")
    await until(lambda: not server.parts.generations._readers._readers, "nobody reads any more")


async def test_a_drain_closes_the_socket(emulator: Emulator) -> None:
    """The socket closes with 1001 after its generations have their endings."""
    from streamapi.drain import close

    async with running(emulator, ping_interval=0.1) as server:
        socket = await websockets.connect(f"{server.ws}/v1/ws", close_timeout=1)
        await start(socket, TALKING)
        await receive(socket)
        closing = asyncio.create_task(close(server.parts, 0.05))
        events = await follow(socket)
        assert events[-1].data["problem"]["code"] == "shutting_down"
        assert await closed(socket) == 1001
        await closing
