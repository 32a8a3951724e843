"""What is no request of HTTP/1.1 is answered with 400, in the one body, and is the last."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamapi.api.patches import request_head
from streamapi.emulator import Emulator
from streamapi.errors import MalformedRequest
from tests.api.raw import HANDSHAKE, RawAnswer, head, raw
from tests.api.wire import http, unique
from tests.conftest import Running, running, until

HOSTS = [
    "a..b",
    ".a",
    "a" * 64,
    "a" * 64 + ".example",
    "evil.example@127.0.0.1",
    "127.0.0.1/evil",
    "127.0.0.1:99999999",
    "127.0.0.1:65536",
    "127.0.0.1:x",
    "[::1",
    "[::1]x",
    "[evil]",
    "a b",
    "a,b",
    "é",
    "a?b",
    "a#b",
    "a.example" * 60,
]
NAMES = ["", "localhost", "127.0.0.1:1", "127.0.0.1:", "[::1]:65535", "my_service", "A.b-c.d.", "a"]


def whole(answer: RawAnswer, status: int = 400) -> dict[str, Any]:
    """The problem of an answer behind which the connection closes."""
    assert answer.status == status, answer.head + answer.body
    assert answer.closes
    assert b"content-type: application/problem+json" in answer.head.lower()
    problem: dict[str, Any] = json.loads(answer.body)
    assert (problem["status"], problem["code"]) == (status, "malformed_request")
    assert f"x-request-id: {problem['request_id']}".lower().encode() in answer.head.lower()
    assert problem["detail"]
    return problem


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("path", ["/v1/models", "/healthz", "/", "/nothing"])
async def test_a_host_that_is_none(server: Running, path: str, host: str) -> None:
    """On every path, and with no traceback: werkzeug raises for some where no handler hears it."""
    request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode("latin-1")
    async with raw(server, request) as client:
        whole(await client.answer())
        assert await client.rest() == b""


@pytest.mark.parametrize("host", NAMES)
def test_a_host_that_is_one(host: str) -> None:
    request_head.check_host(host.encode())


@given(st.text(st.sampled_from("aZ0.-_:[]@/% é"), max_size=80))
def test_a_host_that_passes_can_be_routed(host: str) -> None:
    """werkzeug encodes the name by IDNA, and raises outside of every handler when it cannot."""
    try:
        request_head.check_host(host.encode())
    except MalformedRequest:
        return
    host.rpartition(":")[0].encode("idna")


@pytest.mark.parametrize(
    "first",
    [
        b"get /healthz",
        b"Get /healthz",
        b"GET healthz",
        b"GET *",
        b"GET http://evil.example/healthz",
        b"GET http://localhost:1/healthz",
        b"GET http://localhost@evil.example/healthz",
        b"GET http:///healthz",
        b"GET ftp://localhost/healthz",
        b"GET http://localhost/healthz#a",
        b"CONNECT localhost:80",
        b"GET localhost:80",
        b"POST v1/text",
        b"GET  /healthz",
        b"GET /a b",
        b"",
        b"\x16\x03\x01\x02\x00\x01\x00",
    ],
)
async def test_a_first_line_that_is_none(server: Running, first: bytes) -> None:
    """A method in small letters, a target of another host, a target without a slash."""
    async with raw(server, first + b" HTTP/1.1\r\nHost: localhost\r\n\r\n") as client:
        whole(await client.answer())
        assert await client.rest() == b""


@pytest.mark.parametrize(
    "target", ["http://localhost/healthz", "HTTP://LOCALHOST/healthz?a=b", "/healthz"]
)
async def test_an_absolute_target_of_our_own_host(server: Running, target: str) -> None:
    """A server must take it (RFC 9112, section 3.2.2)."""
    async with raw(server, head("GET", target)) as client:
        answer = await client.answer()
        assert (answer.status, answer.closes) == (200, False)


async def test_a_refusal_is_seen_though_a_body_follows(server: Running) -> None:
    """The connection closes without a reset, as behind every early answer."""
    request = head("POST", "/v1/text", "Content-Length: 200000", host="a..b")
    async with raw(server, request) as client:
        whole(await client.answer())
        client.send(b"x" * 200_000)
        await client.writer.drain()
        assert await client.rest() == b""


async def test_a_head_request_has_no_body_in_its_refusal(server: Running) -> None:
    async with raw(server, head("HEAD", "/healthz", host="a..b")) as client:
        answer = await client.rest()
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert answer.endswith(b"\r\n\r\n")


async def test_a_head_that_is_too_large(server: Running) -> None:
    """431, in the one body."""
    async with raw(server, b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 140_000) as client:
        whole(await client.answer(), 431)


# WebSocket handshakes.


@pytest.mark.parametrize(
    "key",
    [
        b"x",
        b"",
        b"not base64 at all, no no!",
        base64.b64encode(b"a" * 15),
        base64.b64encode(b"a" * 17),
        base64.b64encode(b"a" * 160),
    ],
)
async def test_a_key_that_is_not_16_bytes(server: Running, key: bytes) -> None:
    """RFC 6455, section 4.1."""
    async with raw(server, HANDSHAKE.replace(b"dGhlIHNhbXBsZSBub25jZQ==", key)) as client:
        whole(await client.answer())
        assert await client.rest() == b""


@pytest.mark.parametrize(
    "line",
    [
        b"Connection: Upgrade, \xff",
        b"Sec-WebSocket-Protocol: streamapi.v1, \x80",
        b"Sec-WebSocket-Extensions: \xff",
    ],
)
async def test_a_handshake_that_is_not_ascii(
    server: Running, line: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """It is answered: Hypercorn fails over these headers, and the connection closed in silence."""
    name = line.split(b":")[0]
    rest = [it for it in HANDSHAKE.split(b"\r\n") if not it.startswith(name)]
    async with raw(server, b"\r\n".join([rest[0], line, *rest[1:]])) as client:
        whole(await client.answer())
        assert await client.rest() == b""
    assert not caplog.records


# Percent-encoding.


@pytest.mark.parametrize("escape", ["%ff", "%ED%A0%80", "%c0%af", "%e2%82", "a%80b"])
@pytest.mark.parametrize(
    "path", ["/v1/text/stream", "/v1/models", "/v1/generations/gen_x/events", "/healthz", "/none"]
)
async def test_parameters_are_utf8(server: Running, path: str, escape: str) -> None:
    """What cannot be decoded is refused, in every parameter and on every route: a model would
    be asked for something else than was sent."""
    for query in (f"prompt={escape}", f"after=1&x={escape}", f"{escape}=1"):
        async with http(server.url) as client:
            answer = await client.get(f"{path}?{query}")
            assert (answer.status_code, answer.json()["code"]) == (400, "malformed_request")


async def test_the_parameters_of_a_socket_are_utf8(server: Running) -> None:
    async with raw(server, HANDSHAKE.replace(b"/v1/ws", b"/v1/ws?ticket=%ff")) as client:
        answer = await client.answer()
        assert (answer.status, answer.code) == (400, "malformed_request")


def test_a_lone_percent_sign_stands_for_itself() -> None:
    """As in the URL standard, and in browsers."""
    for query in (b"prompt=100%", b"a=%zz", b"a=%u0041", b"a=%e2%82%ac", b""):
        request_head.check_query(query)


# HTTP/2.


async def test_cleartext_http2_is_refused_at_its_preface(server: Running) -> None:
    """505, in HTTP/1.1, before a frame of it is read."""
    frames = b"\0\0\0\4\0\0\0\0\0" * 2000
    async with raw(server, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frames) as client:
        whole(await client.answer(), 505)
        assert await client.rest() == b""


@pytest.mark.parametrize("version", [b"1.2", b"1.9", b"2.0", b"0.9"])
@pytest.mark.parametrize("request_", [head("GET", "/healthz"), HANDSHAKE])
async def test_a_version_that_is_not_there(
    server: Running, request_: bytes, version: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """505 for a request as for a handshake, which was a 500 with a traceback."""
    async with raw(server, request_.replace(b"HTTP/1.1", b"HTTP/" + version)) as client:
        whole(await client.answer(), 505)
        assert await client.rest() == b""
    assert not caplog.records


async def test_an_offer_of_http2_is_passed_over(server: Running, emulator: Emulator) -> None:
    """Java's client makes it with every request: it is answered in HTTP/1.1; and a client that
    leaves is noticed."""
    offer = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk")
    async with raw(server, head("GET", "/healthz", *offer) + head("GET", "/healthz")) as client:
        for _ in range(2):
            answer = await client.answer()
            assert (answer.status, answer.closes) == (200, False)
    prompt = unique("[[fault:hang]]", "x")
    path = f"/v1/text/stream?prompt={prompt.replace(' ', '+')}&on_disconnect=cancel"
    async with raw(server, head("GET", path, *offer)) as client:
        await until(lambda: server.parts.generations._readers._readers, "the stream is read")
    await until(lambda: not server.parts.generations._readers._readers, "the reader is gone", 0.5)


async def test_a_transfer_coding_that_is_not_known(server: Running) -> None:
    """501 (RFC 9112, section 6.1), and the connection closes."""
    request = head("POST", "/v1/text", "Transfer-Encoding: gzip") + b"x"
    async with raw(server, request) as client:
        whole(await client.answer(), 501)
        assert await client.rest() == b""


# Time.


async def test_a_slow_head_is_not_waited_for(emulator: Emulator) -> None:
    """408 after `HEAD_TIMEOUT`, on a new connection and on one that is kept; a connection that is
    idle between two requests is kept."""
    async with running(emulator, head_timeout=0.2) as server:
        async with raw(server, b"GET /heal") as client:
            whole(await client.answer(), 408)
            assert await client.rest() == b""
        async with raw(server) as client:
            assert await client.rest() == b""
        async with raw(server, head("GET", "/healthz")) as kept, raw(server) as other:
            await kept.answer()
            assert await other.rest() == b""  # a head's time has passed
            kept.send(head("GET", "/healthz") + b"GET /healthz HTT")
            assert (await kept.answer()).status == 200
            whole(await kept.answer(), 408)
        await until(lambda: not server.connections.open, "the connections are let go")
