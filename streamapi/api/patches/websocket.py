"""Bounds for the WebSockets of Hypercorn and Quart, which have few: each with its reason."""

import asyncio
from time import time
from types import MethodType
from typing import Any, cast

from hypercorn.protocol import h11, ws_stream
from hypercorn.protocol.events import Body, Data, EndBody, Event, Response, StreamClosed
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.protocol.ws_stream import (
    ASGIWebsocketState,
    FrameTooLargeError,
    Handshake,
    WebsocketBuffer,
    WSStream,
)
from hypercorn.typing import ASGIReceiveCallable, WebsocketScope
from quart import Quart
from quart.asgi import ASGIWebsocketConnection
from wsproto.connection import Connection, ConnectionState
from wsproto.events import CloseConnection, Message, Ping
from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import CloseReason

from streamapi.api.patches.answers import closing_answer
from streamapi.api.patches.closing import CONNECTION
from streamapi.api.patches.request_head import is_websocket_key
from streamapi.api.patches.targets import Replaces, Uses
from streamapi.errors import MalformedRequest

QUEUE = 2
"""Messages that wait for the app. When so many wait, the server stops reading from the connection.
Each may have `MAX_BODY_BYTES`, and Hypercorn holds `max_app_queue_size` more (`hypercorn.toml`)."""

SLICE = 4096
"""Bytes that wsproto gets at once. For each frame wsproto moves all bytes that it has not parsed
yet, twice, so a flood of small frames is cheaper in small slices."""

PIECES_PER_TURN = 64
"""Frames, or pieces of a frame, that are parsed before other tasks of the event loop run. A piece
takes about 6 us."""

SMALL = 512
"""Bytes below which a piece counts as small. Many small pieces cost the server more work than the
client; the network bounds the number of larger ones."""

SMALL_PER_SECOND, SMALL_AT_ONCE = 500.0, 2000.0
"""Small pieces that a connection may send, of every kind: pings, pongs, fragments, messages. After
more of them the WebSocket is closed with 1008. A megabyte in fragments of 500 bytes is allowed."""


class _NoDeflate(PerMessageDeflate):
    """Refuses compression. Hypercorn checks the size of a message after it has inflated it, so a
    megabyte on the wire can become a gigabyte and freeze the process. No setting turns it off."""

    def accept(self, offer: str) -> None:
        return None


class StrictHandshake(Handshake):
    """Refuses an invalid `Sec-WebSocket-Key`, and headers that are not ASCII. Hypercorn accepts the
    former, and fails over the latter."""

    def __init__(self, headers: list[tuple[bytes, bytes]], http_version: str) -> None:
        try:
            super().__init__(headers, http_version)
        except UnicodeDecodeError:
            super().__init__([], http_version)  # a handshake without a key is refused

    def is_valid(self) -> bool:
        return super().is_valid() and is_websocket_key(self.key)


class BoundedStream(WSStream):
    """A WebSocket of Hypercorn's. It parses and counts received bytes in slices, and stops when
    there are too many. However it ends, the app gets to know it and the connection closes.
    Hypercorn keeps the app and the connection open after an error in the handshake, and after a
    message that is too big."""

    lingers = False
    """Whether the server closes first: then the client's last bytes are still received."""
    _since_turn = 0
    _small = 0
    _too_big: int = CloseReason.MESSAGE_TOO_BIG
    _due = 0.0  # when the small pieces so far have come at their rate

    def bound_message(self, most: int, code: int) -> None:
        """Bound the next message to `most` bytes, and close with `code` beyond them. Later
        messages have the usual bound."""
        self.buffer.max_length, self._too_big = most, code

    async def handle(self, event: Event) -> None:
        if isinstance(event, StreamClosed):
            self._make_room()
        if self.closed or not isinstance(event, Body | Data):
            await super().handle(event)
        elif not self.handshake.accepted:
            # A client must wait for the answer to its handshake (RFC 6455, section 4.1). After a
            # refusal the bytes are thrown away, so that there is only one answer.
            if self.state is ASGIWebsocketState.HANDSHAKE:
                await self._send_error_response(400)
        else:
            await self._receive(event.data)

    async def app_send(self, message: Any) -> None:
        if message is None and self.app_put is not None:
            self._drop_messages()
        await super().app_send(message)

    def _make_room(self) -> None:
        """Empty the queue of a client that has left, so that the app gets the disconnect. The app
        may have noticed it while sending, and then would wait for room that only it can make."""
        if isinstance(self.app_put, MethodType):
            queue: asyncio.Queue[Any] = self.app_put.__self__  # type: ignore[assignment]
            while queue.full():
                queue.get_nowait()

    def _drop_messages(self) -> None:
        """Drop the messages that an ended app has not read. Hypercorn would wait for ever for room
        in the queue, with the connection open."""
        queue: asyncio.Queue[Any] = cast(MethodType, self.app_put).__self__  # type: ignore[assignment]
        self.app_put = _nowhere
        self.lingers = self.lingers or not queue.empty()
        while not queue.empty():
            queue.get_nowait()

    async def _receive(self, data: bytes) -> None:
        for start in range(0, len(data), SLICE):
            if self.closed:
                return
            self.connection.receive_data(data[start : start + SLICE])
            await self._handle_events()

    async def _handle_events(self) -> None:
        for event in self.connection.events():
            if isinstance(event, Message):
                if not self._keep(event):
                    await self._end(self._too_big)
                    return
                if event.message_finished:
                    await self.app_put(self.buffer.to_message())  # type: ignore[misc]
                    self.buffer.clear()
                    most = self.config.websocket_max_message_size
                    self.bound_message(most, CloseReason.MESSAGE_TOO_BIG)
            elif isinstance(event, Ping):
                await self._send_wsproto_event(event.response())
            elif isinstance(event, CloseConnection):
                await self._end_by_client(event)
                return
            if not await self._go_on(event):
                await self._end(CloseReason.POLICY_VIOLATION)
                return

    def _keep(self, event: Message[Any]) -> bool:
        """Add a piece to its message. False beyond the bound, which counts bytes: Hypercorn counts
        characters, which have up to four bytes each."""
        data = event.data
        self.buffer.length += len(data.encode()) - len(data) if isinstance(data, str) else 0
        try:
            self.buffer.extend(event)
        except FrameTooLargeError:
            return False
        return True

    async def _go_on(self, event: Any) -> bool:
        """Count a piece, and let other tasks run. False if there were too many small pieces."""
        self._small += len(getattr(event, "data", getattr(event, "payload", b""))) < SMALL
        self._since_turn += 1
        if self._since_turn < PIECES_PER_TURN:
            return True
        now = asyncio.get_running_loop().time()
        self._due = max(self._due, now) + self._small / SMALL_PER_SECOND
        self._since_turn = self._small = 0
        await asyncio.sleep(0)
        return self._due <= now + SMALL_AT_ONCE / SMALL_PER_SECOND

    async def _end_by_client(self, event: CloseConnection) -> None:
        """Answer a close frame, or close because of a frame that cannot be read."""
        if self.connection.state is ConnectionState.OPEN:  # wsproto could not read a frame
            await self._end(event.code)
            return
        if self.connection.state is ConnectionState.REMOTE_CLOSING:
            await self._send_wsproto_event(event.response())
        await self.send(StreamClosed(stream_id=self.stream_id))

    async def _end(self, code: int) -> None:
        """Close with a code of ours."""
        self.lingers = True
        await self._send_wsproto_event(CloseConnection(code=code))
        await self.send(StreamClosed(stream_id=self.stream_id))

    async def _send_error_response(self, status_code: int) -> None:
        detail = "This is not a valid WebSocket handshake (RFC 6455, section 4.1)."
        status, headers, body = closing_answer(MalformedRequest(detail), status_code)
        self.lingers = True
        await self.send(Response(stream_id=self.stream_id, headers=headers, status_code=status))
        await self.send(Body(stream_id=self.stream_id, data=body))
        await self.send(EndBody(stream_id=self.stream_id))
        await self.config.log.access(
            self.scope, {"status": status, "headers": []}, time() - self.start_time
        )
        await self.send(StreamClosed(stream_id=self.stream_id))


async def _nowhere(message: Any) -> None:
    """Drop a message that nobody reads."""


def bound_first_message(scope: Any, most: int, code: int) -> None:
    """Bound the first message of a scope's WebSocket to `most` bytes, and close with `code` beyond
    them. Nothing happens under another server than ours, or after the client has left."""
    connection = (scope.get("state") or {}).get(CONNECTION)
    stream = getattr(connection, "stream", None)
    if isinstance(stream, BoundedStream):
        stream.bound_message(most, code)


class BoundedSocket(ASGIWebsocketConnection):
    """Quart's side of a WebSocket, with a bound on the messages that wait (Quart's queue has none).
    It also accepts an empty binary message, which Quart takes for a missing one."""

    def __init__(self, app: Quart, scope: WebsocketScope) -> None:
        super().__init__(app, scope)
        self.queue = asyncio.Queue(maxsize=QUEUE)

    async def handle_messages(self, receive: ASGIReceiveCallable) -> None:
        while True:
            event = await receive()
            if event["type"] == "websocket.receive":
                text = event.get("text")
                await self.queue.put(event.get("bytes") or b"" if text is None else text)
            elif event["type"] == "websocket.disconnect":
                return


TARGETS = (
    Uses(
        WSStream,
        ("handle", "app_send", "_handle_events", "_send_error_response", "_send_wsproto_event"),
        (
            *("app_put", "buffer", "closed", "config", "connection", "handshake", "scope"),
            *("send", "start_time", "state", "stream_id"),
        ),
    ),
    Uses(Handshake, ("is_valid",), ("accepted", "key")),
    Uses(WebsocketBuffer, ("clear", "extend", "to_message"), ("length", "max_length")),
    Uses(PerMessageDeflate, ("accept",)),
    Uses(Connection, ("events", "receive_data", "state")),
    Uses(Quart, attributes=("asgi_websocket_class",)),
    Uses(ASGIWebsocketConnection, ("handle_messages",), ("queue",)),
    Replaces(h11, "WSStream", BoundedStream, used_by=(H11Protocol, "_create_stream")),
    Replaces(ws_stream, "Handshake", StrictHandshake, used_by=(WSStream, "handle")),
    Replaces(ws_stream, "PerMessageDeflate", _NoDeflate, used_by=(Handshake, "accept")),
)


def apply(app: Quart) -> None:
    """Let the app's own side of a WebSocket be bounded, too."""
    app.asgi_websocket_class = BoundedSocket
