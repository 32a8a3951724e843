"""Floods: who sends more than it can want is closed, and holds nothing afterwards."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from streamapi.api import body
from streamapi.api.patches.connections import ConnectionBounds
from streamapi.api.patches.websocket import PIECES_PER_TURN, SMALL_AT_ONCE
from streamapi.api.socket.authentication import AUTH_BYTES
from streamapi.emulator import Emulator
from streamapi.errors import MalformedJson
from streamapi.settings import Settings
from tests.api.raw import (
    CLOSE,
    CONTINUATION,
    HANDSHAKE,
    PING,
    PONG,
    TEXT,
    frame,
    head,
    raw,
    raw_socket,
)
from tests.conftest import Running, running, until

FLOODS = {
    "empty fragments": (frame(TEXT, b"{", final=False), frame(CONTINUATION, final=False)),
    "one-byte fragments": (frame(TEXT, b"{", final=False), frame(CONTINUATION, b" ", final=False)),
    "pings": (b"", frame(PING)),
    "pongs": (b"", frame(PONG, b"x" * 125)),
    "tiny messages": (b"", frame(TEXT, b'{"type":"ping"}')),
}


@pytest.fixture(scope="module")
async def alone(emulator: Emulator) -> AsyncIterator[Running]:
    """A server on which nobody else is connected."""
    async with running(emulator) as server:
        yield server


@pytest.mark.parametrize("kind", FLOODS)
async def test_a_flood_is_closed(alone: Running, kind: str) -> None:
    """1008, which the client sees; and its connection is let go though it goes on."""
    first, small = FLOODS[kind]
    async with raw_socket(alone) as client:
        client.send(first + small * int(4 * SMALL_AT_ONCE))
        assert await client.close_code() == 1008
        await until(lambda: not alone.parts.sockets, "the conversation is over")


async def test_many_small_frames_are_no_flood(alone: Running) -> None:
    """A message may come in many pieces."""
    message = b'{"type": "ping", "ref": "' + b"r" * 150 + b'"}'
    async with raw_socket(alone) as client:
        for _ in range(5):
            client.send(frame(TEXT, message[:1], final=False))
            for byte in message[1:-1]:
                client.send(frame(CONTINUATION, bytes([byte]), final=False))
            client.send(frame(CONTINUATION, message[-1:]) + frame(PONG))
        await client.read_until(b'"type":"pong"', 5)


async def test_others_have_their_turns_in_between(alone: Running) -> None:
    """Of what was received at once, only so much is parsed in one turn of the event loop."""
    frames = int(SMALL_AT_ONCE) - 200
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with raw_socket(alone) as client:
        counting = asyncio.create_task(count())
        client.send(frame(PONG) * frames + frame(CLOSE, b"\x03\xe8"))
        await client.rest()
        counting.cancel()
    assert turns >= frames // PIECES_PER_TURN


async def test_the_size_of_a_message_is_in_bytes(alone: Running) -> None:
    """Characters may have four bytes; the bound holds across fragments."""
    most = alone.parts.settings.max_body_bytes
    piece = "€".encode() * 20_000
    async with raw_socket(alone) as client:
        client.send(frame(TEXT, piece, final=False))
        for _ in range(most // len(piece)):
            client.send(frame(CONTINUATION, piece, final=False))
        assert await client.close_code() == 1009


@pytest.mark.parametrize(("payload", "code"), [(b"\xff\xfe", 1007), (None, 1002)])
async def test_a_frame_that_cannot_be_read_is_said(
    alone: Running, payload: bytes | None, code: int
) -> None:
    """RFC 6455, section 7.4.1: 1007 for what is not UTF-8, 1002 for what is no frame."""
    async with raw_socket(alone) as client:
        client.send(b"\x8f\x80\0\0\0\0" if payload is None else frame(TEXT, payload))
        assert await client.close_code() == code


# Before anyone is known.


async def test_the_auth_message_is_small(guarded: Running) -> None:
    """Who has shown no key cannot have a megabyte decoded; in one piece or in many."""
    many = b'{"type":"auth","token":[' + b"1e308," * 1000 + b"1]}"
    for pieces in (
        frame(TEXT, many),
        frame(TEXT, many[:3000], final=False) + frame(CONTINUATION, many[3000:], final=False),
    ):
        async with raw_socket(guarded) as client:
            client.send(pieces)
            assert await client.close_code() == 4401


async def test_what_follows_a_good_auth_message_may_be_large(guarded: Running) -> None:
    """Also when it is sent without waiting."""
    key, _ = await guarded.key()
    auth = json.dumps({"type": "auth", "token": key}).encode()
    ping = json.dumps({"type": "ping", "ref": 1, "x": "y" * 2 * AUTH_BYTES}).encode()
    async with raw_socket(guarded) as client:
        client.send(frame(TEXT, auth) + frame(TEXT, ping) + frame(TEXT, b'{"type":"ping"}'))
        # The large message has an unknown field.
        await client.read_until(b'"type":"error"')
        await client.read_until(b'"type":"pong"')


async def test_messages_that_nobody_reads_hold_nothing(guarded: Running) -> None:
    """The first of many is refused, and the socket closed: Hypercorn waited for ever for somebody
    to read the others, also when the client had left."""
    async with raw_socket(guarded) as client:
        client.send(frame(TEXT, b"{}") * 1000)
        assert await client.close_code() == 4401
    await until(lambda: guarded.connections.open <= 1, "the connection is let go")


async def test_who_speaks_before_the_handshake_is_answered_holds_nothing(alone: Running) -> None:
    """400, and the connection closes, whether the client has left or not."""
    before = alone.connections.open
    for leaves in (True, False):
        async with raw(alone, HANDSHAKE + frame(PING)) as client:
            if not leaves:
                assert (await client.answer()).status == 400
                assert await client.rest() == b""
    await until(lambda: alone.connections.open <= before, "the connections are let go")
    assert not alone.parts.sockets


def test_numbers_near_the_limits_of_a_double_are_decoded_fast() -> None:
    """By the hook; msgspec alone takes 9 us for each. What is beyond them is still refused."""
    assert body._decoder.float_hook is not None
    assert body.decode_object(b'{"a": [1e308, -0.5, 5e-324]}') == {"a": [1e308, -0.5, 5e-324]}
    for number in ("1e309", "-1e309", "1e999"):
        with pytest.raises(MalformedJson):
            body.decode_object(f'{{"a": {number}}}')


async def test_the_loop_runs_on_while_a_large_body_is_decoded() -> None:
    """By turns, however large it is."""
    numbers = f'{{"a": [{"1e308," * 160_000}1]}}'
    decoding, turns = asyncio.create_task(body.decode(numbers)), 0
    while not decoding.done():
        turns += 1
        await asyncio.sleep(0.001)
    assert len((await decoding)["a"]) == 160_001
    assert turns > 3


# Connections.


async def test_a_connection_that_is_left_is_let_go(alone: Running) -> None:
    """At once, idle or not: Hypercorn kept the descriptor for another minute."""
    before = alone.connections.open
    for request in (b"", head("GET", "/healthz"), b"GET /heal"):
        async with raw(alone, request) as client:
            if request.endswith(b"\r\n\r\n"):
                await client.answer()
    await until(lambda: alone.connections.open <= before, "the connections are let go")


@pytest.mark.parametrize("bound", ["max_connections", "max_connections_per_address"])
async def test_one_connection_too_many_gets_a_problem(emulator: Emulator, bound: str) -> None:
    """503, and it is closed; when another leaves there is room again."""
    async with running(emulator, **{bound: 2}) as server:
        await until(lambda: not server.connections.open, "nobody else is connected")
        async with raw(server, head("GET", "/healthz")) as one:
            assert (await one.answer()).status == 200
            async with raw(server, head("GET", "/healthz")) as two:
                assert (await two.answer()).status == 200
                async with raw(server) as three:
                    answer = await three.answer()
                    assert (answer.status, answer.code) == (503, "overloaded")
                    assert await three.rest() == b""
            await until(lambda: server.connections.open == 1, "there is room")
            async with raw(server, head("GET", "/healthz")) as four:
                assert (await four.answer()).status == 200


def test_the_bound_of_an_address_is_not_for_proxies() -> None:
    """All connections of a trusted proxy come from its address; of IPv6 a /64 is one address, and
    half of the descriptors are for others."""
    bounds = ConnectionBounds.of_settings(Settings(max_connections=10**9))
    assert 0 < bounds.most < 10**9
    assert bounds.most_per_address == Settings().max_connections_per_address
    assert ConnectionBounds.of_settings(Settings(trusted_hops=1)).most_per_address == 0


async def test_a_refused_connection_is_counted_no_more(emulator: Emulator) -> None:
    async with running(emulator, max_connections_per_address=1) as server:
        await until(lambda: not server.connections.open, "nobody else is connected")
        async with raw(server, head("GET", "/healthz")) as one:
            await one.answer()
            for _ in range(5):
                async with raw(server) as other:
                    assert (await other.answer()).status == 503
        await until(lambda: not server.connections.by_address, "all have left")
