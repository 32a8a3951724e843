"""How a connection reads requests and writes responses: heads are checked, chunks written
directly.

How a connection ends is in `closing.py`.
"""

from collections.abc import Callable
from typing import Any, cast

import h11
from h11._connection import Connection
from h11._state import ConnectionState
from h11._writers import ChunkedWriter
from hypercorn import protocol
from hypercorn.events import Event as ServerEvent
from hypercorn.events import RawData, Updated
from hypercorn.protocol.events import Body, Data, EndBody, Event, Response
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol

from streamapi.api.patches.closing import CONNECTION, ClosingConnection
from streamapi.api.patches.heads import checked
from streamapi.api.patches.targets import Replaces, Uses
from streamapi.errors import MalformedRequest


class Http1Connection(ClosingConnection):
    """A connection of Hypercorn's.

    It frames the chunks of a body itself (RFC 9112, section 7.1). h11 would send each through its
    state machine, which does nothing between the head and the end of a response, and took a tenth
    of the time of an event."""

    _chunked = False

    async def initiate(self) -> None:
        """Begin to wait for the first head."""
        self._close_after(self._bounds.head_timeout)

    async def handle(self, event: ServerEvent) -> None:
        """Handle received bytes, or the end of the connection."""
        if not isinstance(event, RawData):
            self._stop_timer()
            self._to_drop = 0
            await (
                self.can_read.set()
            )  # else it waits for ever for the response of the request before
            await super().handle(event)
        elif self._to_drop is not None:
            self._to_drop -= len(event.data)
            if self._to_drop < 0:
                self._server.writer.close()
        elif self.connection.their_state is not h11.MUST_CLOSE:
            # What comes after a request with `Connection: close` is ignored (RFC 9112, 9.6).
            self.connection.receive_data(event.data)
            await self._handle_events()
            if self.stream is None and self._timer is None and self._head_began():
                self._close_after(self._bounds.head_timeout)

    async def _handle_events(self) -> None:
        """As Hypercorn's, but bad heads are refused and unwanted bodies are dropped."""
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
            # It is not a WebSocket, and any other upgrade is ignored. While h11 waits for an answer
            # to an upgrade, it reads nothing, and so does not notice that the client leaves.
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
        """Write a chunk of the body at once. False if the client has not read the bytes before it:
        then `make` is not called, and the caller sends through the app, which waits for the
        client."""
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


def direct(scope: Any) -> Callable[[Callable[[], bytes]], bool]:
    """The `write_piece` of the connection of a scope. Under another server than ours there is none,
    so it is a function that returns False."""
    connection = (scope.get("state") or {}).get(CONNECTION)
    return connection.write_piece if connection is not None else lambda make: False


TARGETS = (
    Replaces(
        protocol, "H11Protocol", Http1Connection, used_by=(protocol.ProtocolWrapper, "__init__")
    ),
    Uses(
        H11Protocol,
        (
            "_create_stream",
            "_handle_events",
            "_send_h11_event",
            "handle",
            "initiate",
            "stream_send",
        ),
        ("can_read",),
    ),
    Uses(Connection, ("they_are_waiting_for_100_continue",), ("_cstate", "_writer")),
    Uses(ConnectionState, attributes=("pending_switch_proposals",)),
)
