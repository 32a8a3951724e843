"""An answer that comes before the request's body has come is seen, and breaks nothing after it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
from hypercorn.protocol.http_stream import HTTPStream

from streamapi.api.patches import closing
from streamapi.emulator import Emulator
from tests.api.raw import head, raw
from tests.api.wire import http, unique
from tests.conftest import Running, running, until

JSON = "Content-Type: application/json"
EVIL = "Origin: https://evil.example"


def post(path: str, size: int, *more: str, method: str = "POST") -> bytes:
    return head(method, path, JSON, f"Content-Length: {size}", *more)


@pytest.fixture(scope="module")
async def sparing(emulator: Emulator, tmp_path_factory: Any) -> AsyncIterator[Running]:
    """A server with keys, on which the second request of a minute is one too many."""
    url = f"sqlite:///{tmp_path_factory.mktemp('early')}/streamapi.db"
    limits = {"rate_limit": "1/minute", "failures_per_minute": 1000}
    async with running(emulator, auth="keys", database_url=url, **limits) as server:
        yield server


EARLY = {
    "401": post("/v1/text", 200_000),
    "403": post("/v1/text", 200_000, EVIL),
    "404": post("/v1/nothing", 200_000),
    "405": post("/v1/text", 200_000, method="PUT"),
    "429": post("/v1/code", 200_000),
}


@pytest.mark.parametrize("status", EARLY)
async def test_an_early_answer_leaves_the_connection_as_it_was(
    sparing: Running, status: str
) -> None:
    """The answer comes first, then the body, then the next request and its answer."""
    request = EARLY[status]
    if status == "429":
        key, _ = await sparing.key(owner="hasty")
        request = post("/v1/code", 200_000, f"Authorization: Bearer {key}")
        async with raw(sparing, request[:-2] + b"X: 1\r\n\r\n" + b"x" * 200_000) as client:
            await client.answer()
    async with raw(sparing, request) as client:
        answer = await client.answer()
        assert (answer.status, answer.closes) == (int(status), False)
        client.send(b"x" * 200_000 + head("GET", "/healthz"))
        assert (await client.answer()).status == 200


async def test_a_body_that_is_too_large_is_refused_at_once_and_received(server: Running) -> None:
    """The answer says that the connection closes. It closes without a reset: what is on its way is
    still received, so that a client that looks late finds its answer."""
    async with raw(server, post("/v1/text", 5_000_000)) as client:
        answer = await client.answer()
        assert (answer.status, answer.closes) == (413, True)
        client.send(b"x" * 5_000_000)
        await client.writer.drain()
        assert await client.rest() == b""


async def test_a_body_of_unknown_length_is_received_too(server: Running) -> None:
    """Nobody knows how much of a chunked body is to come: the connection is closed, and says so."""
    async with raw(server, head("POST", "/v1/nothing", "Transfer-Encoding: chunked")) as client:
        answer = await client.answer()
        assert (answer.status, answer.closes) == (404, True)
        client.send(b"5\r\nhello\r\n" * 10_000)
        await client.writer.drain()
        assert await client.rest() == b""


async def test_a_client_library_sees_an_early_answer(server: Running) -> None:
    """httpx sends the whole body before it looks."""

    async def slowly() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield b"x" * 20_000
            await asyncio.sleep(0.002)

    async with http(server.url) as client:
        for _ in range(8):
            assert (await client.post("/v1/nothing", content=slowly())).status_code == 404


async def test_1500_early_answers_on_kept_connections(server: Running) -> None:
    """None is lost and none breaks the next, however the body is cut."""
    kinds = [
        (404, post("/v1/nothing", 900), 900),
        (405, post("/v1/text", 5000, method="PUT"), 5000),
        (403, post("/v1/text", 100, EVIL), 100),
        (415, head("POST", "/v1/text", "Content-Length: 3000"), 3000),
        (200, head("GET", "/healthz"), 0),
    ]

    async def many(count: int) -> None:
        async with raw(server) as client:
            for n in range(count):
                status, request, size = kinds[n % len(kinds)]
                client.send(request)
                if n % 3 == 0:
                    answer = await client.answer()
                    client.send(b"x" * size)
                else:
                    client.send(b"x" * size)
                    answer = await client.answer()
                assert (answer.status, answer.closes) == (status, False)

    async with asyncio.TaskGroup() as group:
        for _ in range(5):
            group.create_task(many(300))


async def test_a_body_that_never_comes_is_not_waited_for(emulator: Emulator) -> None:
    """The rest of a body has `BODY_TIMEOUT`, wanted or not."""
    async with running(emulator, body_timeout=0.1) as server:
        for size in (100, 5_000_000):
            async with raw(server, post("/v1/nothing", size)) as client:
                assert (await client.answer()).status == 404
                assert await client.rest() == b""
        await until(lambda: not server.connections.open, "the connections are let go")


async def test_a_client_that_never_stops_is_cut_off(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a body that is refused for its size, so much is received and no more."""
    monkeypatch.setattr(closing, "LINGER_BYTES", 1_000_000)
    async with raw(server, post("/v1/text", 1_000_000_000)) as client:
        assert (await client.answer()).status == 413
        async with asyncio.timeout(10):
            with suppress(OSError):  # a reset, or a broken pipe
                while True:
                    client.send(b"x" * 100_000)
                    await client.writer.drain()
                    await asyncio.sleep(0)


async def test_a_refused_socket_says_that_it_closes(server: Running) -> None:
    """A handshake that is refused ends its connection, and says so."""
    request = head("GET", "/v1/nothing/ws", "Upgrade: websocket", "Connection: Upgrade")
    keys = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    async with raw(server, request[:-2] + keys) as client:
        answer = await client.answer()
        assert (answer.status, answer.closes) == (404, True)
        assert await client.rest() == b""


@pytest.mark.parametrize("behind", [b"\r\n", head("GET", "/healthz"), b"x" * 200_000])
@pytest.mark.parametrize("at_once", [True, False])
async def test_what_comes_behind_the_last_request_is_passed_over(
    server: Running, behind: bytes, at_once: bool
) -> None:
    """The request is answered, and nothing behind it is read as a request (RFC 9112, 9.6)."""
    prompt = json.dumps({"prompt": unique("[[words:2]]")}).encode()
    request = post("/v1/text", len(prompt), "Connection: close") + prompt
    async with raw(server, request + (behind if at_once else b"")) as client:
        if not at_once:
            client.send(behind)
        answer = await client.answer()
        assert (answer.status, answer.closes) == (200, True)
        assert await client.rest() == b""


async def test_the_rest_of_a_body_that_ends_its_connection_is_not_parsed(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flood of one-byte chunks to an address that is not there kept all others waiting."""
    handle, parsed = HTTPStream.handle, 0

    async def count(self: HTTPStream, event: Any) -> None:
        nonlocal parsed
        parsed += 1
        await handle(self, event)

    monkeypatch.setattr(HTTPStream, "handle", count)
    request = head("POST", "/v1/nothing", "Transfer-Encoding: chunked")
    async with raw(server, request + b"1\r\n \r\n" * 10_000) as client:
        answer = await client.answer()
        assert (answer.status, answer.closes) == (404, True)
        assert await client.rest() == b""
    assert parsed < 1000
