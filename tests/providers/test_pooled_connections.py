"""A provider closes idle connections: a request on a closed one is sent again at once."""

import asyncio
import random
import socket
import struct
from contextlib import aclosing, suppress

import pytest

from streamapi.emulator import Emulator
from streamapi.errors import UpstreamUnavailable
from streamapi.generation.model import Message, Prompt
from streamapi.providers.catalogue import Catalogue
from streamapi.providers.gemini import models as module
from streamapi.providers.gemini.models import Gemini
from tests.api.wire import calls, http, unique
from tests.conftest import at_defaults

AWAY = 0.005
"""Seconds that a packet takes to the provider, or back."""

IDLE = 0.03
"""Seconds after which the provider closes an idle connection."""

FRAME = b'data: {"candidates": [{"content": {"parts": [{"text": "hi"}]}}]}\r\n\r\n'
LAST_CHUNK = b"0\r\n\r\n"
CARD = Catalogue().serving("gemini-3.8-flash")


class FarProvider:
    """A TCP proxy on the way to the emulator. It is `AWAY` seconds long, and its far end closes a
    connection at a random moment up to `IDLE` seconds behind an answer: what was on its way there
    is lost. With `resets` it closes as a balancer does that forgot the connection (RST)."""

    def __init__(self, target: Emulator, resets: bool = False) -> None:
        self._target = target
        self._resets = resets
        self._tasks: set[asyncio.Task[None]] = set()
        self.lost = 0

    async def __aenter__(self) -> "FarProvider":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *error: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop, idle, closed = asyncio.get_running_loop(), [], False
        near, far = await asyncio.open_connection(self._target.host, self._target.port)

        def arrive(data: bytes) -> None:
            if closed:
                self.lost += 1
                return
            while idle:
                idle.pop().cancel()
            far.write(data)

        def close() -> None:
            nonlocal closed
            closed = True
            loop.call_later(AWAY, self._hang_up, writer)

        async def back() -> None:
            while data := await near.read(65536):
                loop.call_later(AWAY, writer.write, data)
                if data.endswith(LAST_CHUNK):
                    idle.append(loop.call_later(random.uniform(0, IDLE), close))

        answering = asyncio.create_task(back())
        self._tasks |= {answering, asyncio.current_task()}  # type: ignore[arg-type]
        try:
            with suppress(OSError):
                while data := await reader.read(65536):
                    loop.call_later(AWAY, arrive, data)
        finally:
            answering.cancel()
            far.close()
            writer.close()

    def _hang_up(self, writer: asyncio.StreamWriter) -> None:
        sock = writer.get_extra_info("socket")
        if self._resets and sock is not None and sock.fileno() >= 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        writer.close()


@pytest.mark.parametrize("resets", [False, True], ids=["closes", "resets"])
async def test_a_provider_that_closes_idle_connections(emulator: Emulator, resets: bool) -> None:
    """300 requests: not one waits for a back-off, not one fails though each has one attempt, and
    each is asked once."""
    random.seed(7)
    async with (
        FarProvider(emulator, resets) as far,
        at_defaults(emulator, gemini_base_url=far.url, retry_attempts=1) as server,
        http(server.url) as client,
    ):

        async def some() -> None:
            for _ in range(50):
                body = {"prompt": unique("[[words:3]] [[pace:0]]")}
                answer = await client.post("/v1/text/stream", json=body)
                assert answer.status_code == 200, answer.text
                assert "event: wait" not in answer.text
                assert "event: done" in answer.text
                await asyncio.sleep(random.uniform(0, IDLE))

        await asyncio.gather(*(some() for _ in range(6)))
        assert far.lost >= 10, "too few connections were closed in the wrong moment"


async def answer(gemini: Gemini, prompt: str) -> str:
    """The text of an answer."""
    text = ""
    async with aclosing(gemini.model(CARD).stream(Prompt((Message("user", prompt),)))) as stream:
        async for chunks in stream:
            text += "".join(chunk.text for chunk in chunks)
    return text


async def test_a_fresh_connection_that_breaks_is_a_failure(emulator: Emulator) -> None:
    """Only a reused connection can have been closed before: with a fresh one the provider has
    had the request, and it is not sent twice behind the retries' back."""
    gemini = Gemini(emulator.url, "key")
    try:
        prompt = unique("[[fault:reset]]")
        with pytest.raises(UpstreamUnavailable):
            await answer(gemini, prompt)
        assert len(await calls(emulator, prompt)) == 1
    finally:
        await gemini.aclose()


async def test_a_request_is_sent_again_once(emulator: Emulator) -> None:
    """On a connection that is not from the pool; when that breaks too, it is a failure."""
    gemini = Gemini(emulator.url, "key")
    try:
        await answer(gemini, unique("[[words:3]]"))
        prompt = unique("[[fault:reset]]")
        with pytest.raises(UpstreamUnavailable):
            await answer(gemini, prompt)
        assert len(await calls(emulator, prompt)) == 2
        await answer(gemini, unique("[[words:3]]"))
        prompt = unique("[[fault:reset times=1]] [[words:3]]")
        assert await answer(gemini, prompt)
        assert len(await calls(emulator, prompt)) == 2
    finally:
        await gemini.aclose()


async def test_what_breaks_late_was_not_closed_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider that hangs up instead of an answer has had the request: it is a failure, and what
    is asked again is an attempt."""
    monkeypatch.setattr(module, "CLOSED_WITHIN", 0.01)
    requests = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        with suppress(asyncio.IncompleteReadError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                await reader.readexactly(int(head.lower().split(b"content-length:")[1].split()[0]))
                requests += 1
                if requests > 1:
                    await asyncio.sleep(0.1)
                    break
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(FRAME))
                writer.write(FRAME)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    gemini = Gemini(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", "key")
    try:
        assert await answer(gemini, "hello") == "hi"
        with pytest.raises(UpstreamUnavailable):
            await answer(gemini, "hello")
        assert requests == 2
    finally:
        await gemini.aclose()
        server.close()


async def test_an_answer_that_broke_off_is_a_failure(emulator: Emulator) -> None:
    """After a first byte of the answer, a request is never sent again here."""
    gemini = Gemini(emulator.url, "key")
    try:
        await answer(gemini, unique("[[words:3]]"))
        prompt = unique("[[fault:reset_after_text after=1]]")
        with pytest.raises(UpstreamUnavailable):
            await answer(gemini, prompt)
        assert len(await calls(emulator, prompt)) == 1
    finally:
        await gemini.aclose()
