"""HTTP/1.1 only, and its chunks written directly.

Hypercorn's HTTP/2 has no back-pressure: a client that never reads makes the server buffer
without bound. TLS connections do not negotiate it (`hypercorn.toml`); cleartext HTTP/2 cannot be
switched off there, so it is refused here, with the status that is meant for it (RFC 9110, 15.6.6).
"""

from collections.abc import Callable
from types import MethodType
from typing import Any, cast

import h11
from h11._writers import ChunkedWriter
from hypercorn import protocol
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.events import RawData
from hypercorn.protocol.events import Body, EndBody, Event, Response
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.typing import ASGIFramework, ConnectionState

CONNECTION = "streamapi.connection"


class ChunkingProtocol(H11Protocol):
    """Frames the pieces of a chunked body itself (RFC 9112, section 7.1). h11 sends each through
    its state machine, which changes nothing between the head and the end of a response, and cost
    a tenth of an event."""

    _chunked = False

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        # The state that Hypercorn gives is one for all connections; this one's own is in a copy.
        self.connection_state = ConnectionState({**self.connection_state, CONNECTION: self})

    def write_piece(self, make: Callable[[], bytes]) -> bool:
        """Write a piece of the body in the caller's own turn. False, and nothing is made, when
        the peer is behind: then it goes the way through the app, which waits for the peer."""
        server = cast(TCPServer, cast(MethodType, self.send).__self__)
        transport = server.writer.transport
        if (
            not self._chunked
            or transport.get_write_buffer_size()
            or server.send_lock.locked()
            or transport.is_closing()
        ):
            return False
        data = make()
        transport.write(b"%x\r\n%b\r\n" % (len(data), data))
        return True

    async def stream_send(self, event: Event) -> None:
        """Send an event of the response."""
        if self._chunked and type(event) is Body and self.connection.our_state is h11.SEND_BODY:
            await self.send(RawData(data=b"%x\r\n%b\r\n" % (len(event.data), event.data)))
            return
        await super().stream_send(event)
        if type(event) is Response:
            self._chunked = isinstance(getattr(self.connection, "_writer", None), ChunkedWriter)
        elif type(event) is EndBody:
            self._chunked = False


def direct(scope: Any) -> Callable[[Callable[[], bytes]], bool]:
    """How to write to the response of a scope directly (`write_piece`); on servers that are not
    ours, and where nothing is chunked, it cannot be."""
    connection = (scope.get("state") or {}).get(CONNECTION)
    return connection.write_piece if connection is not None else lambda make: False


def write_chunks_directly() -> None:
    """Let Hypercorn's connections be these."""
    protocol.H11Protocol = ChunkingProtocol  # type: ignore[attr-defined, assignment]


def only(app: ASGIFramework) -> ASGIFramework:
    """The app, for clients of HTTP/1."""

    async def refuse_http2(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] in ("http", "websocket") and scope["http_version"] not in ("1.0", "1.1"):
            headers = [(b"content-length", b"0")]
            await send({"type": "http.response.start", "status": 505, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
        else:
            await app(scope, receive, send)

    return refuse_http2
