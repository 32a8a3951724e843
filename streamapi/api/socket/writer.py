"""Frames to the client of a socket. A client that does not read them in time is dropped."""

import logging

import msgspec
from quart import websocket

from streamapi.api.problems import request_id
from streamapi.api.socket.messages import Ref, error_frame
from streamapi.errors import Internal, StreamapiError
from streamapi.generation.timers import SendTimer

logger = logging.getLogger(__name__)


class SocketWriter:
    """Writes to the current socket. The task that makes it is cancelled when a write takes longer
    than `send_timeout` seconds."""

    def __init__(self, send_timeout: float) -> None:
        self.request_id = request_id()
        self._timer = SendTimer(send_timeout)

    async def send(self, text: str) -> None:
        """Send a text frame."""
        self._timer.sending()
        await websocket.send(text)
        self._timer.sent()

    async def send_error(self, ref: Ref | None, error: Exception) -> None:
        """Send an `error` message. The reason of an unforeseen error goes to the server's log
        only."""
        if not isinstance(error, StreamapiError):
            logger.error("a socket failed", exc_info=error, extra={"request_id": self.request_id})
            error = Internal("The server's log has the reason, under this request id.")
        problem = msgspec.structs.replace(error.problem(), request_id=self.request_id)
        await self.send(error_frame(ref, problem))

    def stop(self) -> None:
        """Stop the timer: nothing more is sent."""
        self._timer.stop()
