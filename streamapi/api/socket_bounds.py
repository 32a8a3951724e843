"""What Quart's and Hypercorn's sockets leave unbounded, bounded: each with its incident."""

import asyncio

from hypercorn.protocol import h11, ws_stream
from hypercorn.protocol.events import StreamClosed
from hypercorn.typing import ASGIReceiveCallable, WebsocketScope
from quart import Quart
from quart.asgi import ASGIWebsocketConnection
from wsproto.extensions import PerMessageDeflate

QUEUE = 2
"""Messages that wait to be read; beyond it the connection is not read from. Each may have
`MAX_BODY_BYTES`, and Hypercorn holds `max_app_queue_size` more (`hypercorn.toml`)."""


class _NoDeflate(PerMessageDeflate):
    """Hypercorn checks the size of a message after inflating it, so one megabyte on the wire
    can freeze the process as one gigabyte; and it cannot be told to refuse compression."""

    def accept(self, offer: str) -> None:
        return None


class _ClosingStream(ws_stream.WSStream):
    """After a message that is too big Hypercorn says 1009 and then waits for bytes that never
    come, with the app none the wiser. Here the connection is closed behind it."""

    async def _handle_events(self) -> None:
        await super()._handle_events()
        if self.buffer.length > self.buffer.max_length and not self.closed:
            await self.send(StreamClosed(stream_id=self.stream_id))


def mend_hypercorn() -> None:
    """Let Hypercorn's sockets be these. It offers no setting for either."""
    ws_stream.PerMessageDeflate = _NoDeflate  # type: ignore[attr-defined]
    h11.WSStream = _ClosingStream  # type: ignore[attr-defined]


class BoundedSocket(ASGIWebsocketConnection):
    """Quart's connection, with a bound on the messages that wait (its own queue has none), and
    with empty binary messages told from missing ones."""

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
