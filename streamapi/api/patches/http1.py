"""Early answers that are seen, a bound of the time for a head, and chunks written directly.

Hypercorn closes a connection behind an answer that comes before the request's body has. Bytes that
arrive after that reset the connection, and the client never sees the answer. Here what is left of
the body is received and thrown away (RFC 9112, 9.3 and 9.6).
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from types import MethodType
from typing import Any, cast

import h11
from h11._readers import ContentLengthReader
from h11._writers import ChunkedWriter
from hypercorn import protocol
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.events import Closed, RawData, Updated
from hypercorn.events import Event as ServerEvent
from hypercorn.protocol.events import Body, Data, EndBody, Event, Response
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol, H11WSConnection
from hypercorn.typing import ConnectionState

from streamapi.api.patches.answers import closing
from streamapi.api.patches.connections import ConnectionBounds
from streamapi.api.patches.heads import FAULTS, checked
from streamapi.errors import MalformedRequest

CONNECTION = "streamapi.connection"

LINGER_BYTES, LINGER_SECONDS = 16_000_000, 2.0
"""How much, and how long, a connection that closes goes on receiving, to throw it away: a client
that has its answer stops soon, and one that does not look is cut off."""


_EOF = h11.ConnectionClosed


class Http1Connection(H11Protocol):
    """A connection of Hypercorn's.

    It frames the pieces of a chunked body itself (RFC 9112, section 7.1). h11 sends each through
    its state machine, which changes nothing between the head and the end of a response, and cost
    a tenth of an event."""

    _chunked = False
    _timer: asyncio.TimerHandle | None = None
    """What closes the connection: for a head, the rest of a body, or the last bytes of a client
    that comes too late. Only one of them is waited for at a time."""
    _to_drop: int | None = None
    """Once the connection closes, nothing more is parsed: how many more bytes are received and
    thrown away."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        # The state that Hypercorn gives is one for all connections; this one's own is in a copy.
        self.connection_state = ConnectionState({**self.connection_state, CONNECTION: self})
        self._server = cast(TCPServer, cast(MethodType, self.send).__self__)
        self._bounds = ConnectionBounds.of_app(self.app)

    async def initiate(self) -> None:
        """Begin: the first head is waited for."""
        self._close_after(self._bounds.head_timeout)

    async def handle(self, event: ServerEvent) -> None:
        """Take what was received, or that nothing more will be."""
        if not isinstance(event, RawData):
            self._stop_timer()
            self._to_drop = 0
            await self.can_read.set()  # else it waits for ever for the response before
            await super().handle(event)
        elif self._to_drop is not None:
            self._to_drop -= len(event.data)
            if self._to_drop < 0:
                self._server.writer.close()
        elif self.connection.their_state is not h11.MUST_CLOSE:
            # Nothing behind a request that says it is the last (RFC 9112, 9.6).
            self.connection.receive_data(event.data)
            await self._handle_events()
            if self.stream is None and self._timer is None and self._head_began():
                self._close_after(self._bounds.head_timeout)

    async def _handle_events(self) -> None:
        """Hypercorn's, but for heads that are refused and bodies that nobody wants."""
        if self.stream is None and self.connection.their_state is h11.SEND_BODY:
            await self._read_on()
        while self._to_drop is None and self.connection.their_state is not h11.MUST_CLOSE:
            if self.connection.they_are_waiting_for_100_continue:
                await self._send_h11_event(h11.InformationalResponse(status_code=100, headers=[]))
            try:
                event = self.connection.next_event()
                if type(event) is h11.Request:
                    event = checked(event)
            except (h11.RemoteProtocolError, MalformedRequest) as error:
                await self._refuse(error)
                return
            if type(event) is h11.Request:
                self._stop_timer()
                await self.send(Updated(idle=False))
                await self._begin(event)
            elif event is h11.PAUSED:
                await self.can_read.clear()
                await self.can_read.wait()
            elif (
                event is h11.NEED_DATA or type(event) is h11.ConnectionClosed or self.stream is None
            ):
                return
            elif type(event) is h11.Data:
                await self.stream.handle(Body(stream_id=STREAM_ID, data=event.data))
            elif type(event) is h11.EndOfMessage:
                await self.stream.handle(EndBody(stream_id=STREAM_ID))
            else:  # what a WebSocket sends
                await self.stream.handle(cast(Data, event))

    async def _begin(self, request: h11.Request) -> None:
        connection = self.connection
        await self._create_stream(request)
        if self.connection is connection and isinstance(connection, h11.Connection):
            # No WebSocket: any other upgrade is passed over. h11 would not read on meanwhile, and
            # so not notice that the client leaves.
            connection._cstate.pending_switch_proposals.clear()

    async def stream_send(self, event: Event) -> None:
        """Send an event of the response."""
        if self._chunked and type(event) is Body and self.connection.our_state is h11.SEND_BODY:
            await self.send(RawData(data=b"%x\r\n%b\r\n" % (len(event.data), event.data)))
            return
        if type(event) is Response and event.status_code >= 200 and self._must_close():
            headers = [header for header in event.headers if header[0] != b"connection"]
            headers.append((b"connection", b"close"))
            event = Response(event.stream_id, headers, event.status_code)
        await super().stream_send(event)
        if type(event) is Response:
            self._chunked = isinstance(getattr(self.connection, "_writer", None), ChunkedWriter)
        elif type(event) is EndBody:
            self._chunked = False

    def write_piece(self, make: Callable[[], bytes]) -> bool:
        """Write a piece of the body in the caller's own turn. False, and nothing is made, when
        the peer is behind: then it goes the way through the app, which waits for the peer."""
        transport = self._server.writer.transport
        if (
            not self._chunked
            or transport.get_write_buffer_size()
            or self._server.send_lock.locked()
            or transport.is_closing()
        ):
            return False
        data = make()
        transport.write(b"%x\r\n%b\r\n" % (len(data), data))
        return True

    def linger(self, seconds: float) -> None:
        """Close when the client does, or after `seconds`: a close on bytes that are unread resets
        the connection, and the client loses what was said last."""
        transport = self._server.writer.transport
        self._to_drop = LINGER_BYTES
        if not transport.is_closing():
            if transport.can_write_eof():
                with suppress(OSError):  # the peer may have reset the connection
                    transport.write_eof()
            self._close_after(seconds)

    def _must_close(self) -> bool:
        """Whether a response that begins now is the last on its connection: a refused WebSocket
        is, and so is an answer before a body that is too large, or of unknown length."""
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
        """A response is complete. Hypercorn closes unless the request is, too."""
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
        """Throw away what has come of a body that nobody wants; behind its end the connection is
        as good as new. The rest has the time that every body has."""
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
        """Answer what is no request, if it can be answered, and close."""
        status = getattr(error, "error_status_hint", 400)
        data = self._refusal(status, getattr(error, "detail", FAULTS[status]))
        await self._close_stream()  # whoever reads a body that broke off waits no longer
        if data:
            await self.send(RawData(data=data))
            self.linger(LINGER_SECONDS)
        else:
            await self.send(Closed())

    def _refusal(self, status: int, detail: str) -> bytes:
        """A problem as the bytes of a response; nothing where a response has begun already."""
        connection = cast(h11.Connection, self.connection)
        if connection.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return b""
        status, headers, body = closing(MalformedRequest(detail), status)
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
        """The time is over for what was waited for."""
        self._timer = None
        if self._to_drop is None and self._head_began():
            self._server.writer.write(self._refusal(408, FAULTS[408]))
            self.linger(LINGER_SECONDS)
        else:
            self._server.writer.close()


def direct(scope: Any) -> Callable[[Callable[[], bytes]], bool]:
    """How to write to the response of a scope directly (`write_piece`); on servers that are not
    ours, and where nothing is chunked, it cannot be."""
    connection = (scope.get("state") or {}).get(CONNECTION)
    return connection.write_piece if connection is not None else lambda make: False


def apply() -> None:
    """Let Hypercorn's connections be these."""
    assert hasattr(protocol, "H11Protocol"), "Hypercorn parses by another class"
    for name in ("_handle_events", "_create_stream", "_maybe_recycle", "_close_stream"):
        assert hasattr(H11Protocol, name), f"Hypercorn's H11Protocol has no {name}"
    probe = h11.Connection(h11.SERVER)
    assert isinstance(probe._cstate.pending_switch_proposals, set), "h11 keeps upgrades elsewhere"
    for name in ("_reader", "_writer", "_request_method"):
        assert hasattr(probe, name), f"h11's Connection has no {name}"
    assert ContentLengthReader(1)._remaining == 1, "h11 counts the rest of a body otherwise"
    protocol.H11Protocol = Http1Connection
