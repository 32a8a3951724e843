"""How a connection ends: early responses that clients see, refused heads, and their timeouts.

Hypercorn closes a connection after a response that it sends before the request's body has arrived.
Bytes that arrive after the close reset the connection, and then the client never sees the response.
Here the rest of the body is received and thrown away (RFC 9112, 9.3 and 9.6).
"""

import asyncio
from contextlib import suppress
from types import MethodType
from typing import Any, cast

import h11
from h11._connection import Connection
from h11._readers import ContentLengthReader
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.events import Closed, RawData
from hypercorn.protocol.h11 import H11Protocol, H11WSConnection
from hypercorn.typing import ConnectionState

from streamapi.api.patches.answers import closing_answer
from streamapi.api.patches.connections import ConnectionBounds
from streamapi.api.patches.heads import FAULTS
from streamapi.api.patches.targets import Uses
from streamapi.errors import MalformedRequest

CONNECTION = "streamapi.connection"

LINGER_BYTES, LINGER_SECONDS = 16_000_000, 2.0
"""How many bytes, and for how many seconds, a closing connection still receives and throws away. A
client that has seen the response stops soon; a client that ignores it is cut off."""


class ClosingConnection(H11Protocol):
    """A connection of Hypercorn's that closes so that its client sees the last response."""

    _timer: asyncio.TimerHandle | None = None
    """Closes the connection if a head, the rest of a body, or the client's close comes too late.
    The connection waits for only one of them at a time."""
    _to_drop: int | None = None
    """How many more bytes are received and thrown away, once the connection closes: nothing more
    is parsed then."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        # Hypercorn gives one state to all connections, so this connection puts itself into a copy.
        self.connection_state = ConnectionState({**self.connection_state, CONNECTION: self})
        self._server = cast(TCPServer, cast(MethodType, self.send).__self__)
        self._bounds = ConnectionBounds.of_app(self.app)

    def linger(self, seconds: float) -> None:
        """Close when the client closes, or after `seconds`. A close while bytes are unread would
        reset the connection, and the client would lose the last response."""
        transport = self._server.writer.transport
        self._to_drop = LINGER_BYTES
        if not transport.is_closing():
            if transport.can_write_eof():
                with suppress(OSError):  # the peer may have reset the connection
                    transport.write_eof()
            self._close_after(seconds)

    def _must_close(self) -> bool:
        """Whether a response that begins now is the last on its connection: after a refused
        WebSocket, and before the end of a body that is too large or of unknown length."""
        if isinstance(self.connection, H11WSConnection):
            return True
        if self.connection.their_state is not h11.SEND_BODY:
            return False
        reader = self.connection._reader
        return not (
            isinstance(reader, ContentLengthReader)
            and reader._remaining <= self._bounds.max_body_bytes
        )

    async def _maybe_recycle(self) -> None:
        """Handle the end of a response. Hypercorn would close if the request is not complete."""
        connection = self.connection
        lingers = getattr(self.stream, "lingers", False)
        early = connection.their_state is h11.SEND_BODY
        if lingers or (early and connection.our_state in (h11.DONE, h11.MUST_CLOSE)):
            closes = lingers or connection.our_state is h11.MUST_CLOSE
            if closes:  # before anything waits: the rest of the body is not parsed
                self._to_drop = LINGER_BYTES
            await self._close_stream()
            if closes:
                self.linger(LINGER_SECONDS if lingers else self._bounds.body_timeout)
            else:
                await self._read_on()
        else:
            await super()._maybe_recycle()

    async def _read_on(self) -> None:
        """Throw away the part of an unwanted body that has arrived. The rest has as much time as
        any body; after its end, the connection is ready for the next request."""
        try:
            while self.connection.their_state is h11.SEND_BODY:
                if self.connection.next_event() is h11.NEED_DATA:
                    if self._timer is None:
                        self._close_after(self._bounds.body_timeout)
                    return
        except h11.RemoteProtocolError:
            await self.send(Closed())
            return
        self._stop_timer()
        await super()._maybe_recycle()

    async def _refuse(self, error: Exception) -> None:
        """Answer a bad head or body with a problem, if no response has begun, and close."""
        status = getattr(error, "error_status_hint", 400)
        data = self._refusal(status, getattr(error, "detail", FAULTS[status]))
        await self._close_stream()  # it wakes a route that waits for the rest of the body
        if data:
            await self.send(RawData(data=data))
            self.linger(LINGER_SECONDS)
        else:
            await self.send(Closed())

    def _refusal(self, status: int, detail: str) -> bytes:
        """A problem as the bytes of a response; no bytes if a response has begun already."""
        connection = cast(h11.Connection, self.connection)
        if connection.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return b""
        status, headers, body = closing_answer(MalformedRequest(detail), status)
        headers += self.config.response_headers("h11")
        data = connection.send(h11.Response(status_code=status, headers=headers))
        if connection._request_method != b"HEAD":
            data += connection.send(h11.Data(data=body))
        return data + connection.send(h11.EndOfMessage())

    def _head_began(self) -> bool:
        connection = self.connection
        return connection.their_state is h11.IDLE and bool(connection.trailing_data[0])

    def _close_after(self, seconds: float) -> None:
        self._stop_timer()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._too_late)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_late(self) -> None:
        """End a connection whose timer has run out."""
        self._timer = None
        if self._to_drop is None and self._head_began():
            self._server.writer.write(self._refusal(408, FAULTS[408]))
            self.linger(LINGER_SECONDS)
        else:
            self._server.writer.close()


TARGETS = (
    Uses(
        H11Protocol,
        ("_close_stream", "_maybe_recycle"),
        ("app", "config", "connection", "connection_state", "send", "stream"),
    ),
    Uses(Connection, ("their_state", "our_state", "trailing_data"), ("_reader", "_request_method")),
    Uses(ContentLengthReader, attributes=("_remaining",)),
)
