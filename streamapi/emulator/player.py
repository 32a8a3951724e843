"""Plays a script to a client, at its pace, until the script ends or the client leaves.

The emulator notices at once when a client leaves, without polling, because it
runs with aiohttp's `handler_cancellation`. A FIN makes the event loop call
`eof_received`, which closes the transport; an RST makes the next read fail. Both
lead to `connection_lost` in the same turn of the loop or the next, and that
cancels the task of the player wherever it waits: between chunks, in a hang, or
in a blocked write. The loop always reads from the socket, because the body was
read before, so reading is never paused. When the client has left, the transport
is gone; when the emulator itself is closed, the transport still exists.
"""

import asyncio
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from aiohttp import web

from .history import Call
from .script import (
    Close,
    Hang,
    Refuse,
    Reset,
    Send,
    SendError,
    SendHalf,
    SendInvalidJson,
    Step,
    fold,
)
from .wire import JSON_TYPE, Framing, encode

__all__ = ["HANG_LIMIT", "Player"]

#: Seconds after which a hang ends, even when the client still waits.
HANG_LIMIT = 600.0
#: SO_LINGER of 0 seconds: closing the socket sends RST, and drops unsent data.
NO_LINGER = struct.pack("ii", 1, 0)
HTML = "<!DOCTYPE html>\n<html><title>Error 502 (Server Error)!!</title><h1>502.</h1></html>\n"


@dataclass(slots=True)
class Player:
    """The response to one call. `pace` is in seconds between chunks."""

    request: web.Request
    call: Call
    pace: float
    bytewise: bool = False

    async def stream(self, steps: Iterator[Step], framing: Framing) -> web.StreamResponse:
        """Play the script as a stream of frames."""
        answer = web.StreamResponse(headers={"Content-Type": framing.content_type})
        index = 0
        for step in steps:
            if index:
                await asyncio.sleep(self.pace)
            match step:
                case Refuse():
                    return await self._refuse(step)
                case Hang() | Reset() | Close():
                    return await self._stop(step, answer)
            frame = framing.frame(_body(step), index)
            if isinstance(step, SendHalf):
                frame = frame[: len(frame) // 2]
            await self._write(answer, frame)
            if isinstance(step, Send):
                self._count(step)
            index += 1
        await self._write(answer, framing.end(index))
        await answer.write_eof()
        return answer

    async def whole(self, steps: Iterator[Step]) -> web.StreamResponse:
        """Play the script as one body, in the time that the stream takes."""
        sends: list[Send] = []
        body = b""
        for step in steps:
            if sends:
                await asyncio.sleep(self.pace)
            match step:
                case Send():
                    sends.append(step)
                case Refuse():
                    return await self._refuse(step)
                case SendError():
                    return await self._refuse(Refuse(step.refusal))
                case SendInvalidJson():
                    body = step.text
                case SendHalf():
                    sends.append(Send(step.message))
                case Close() | Reset() | Hang():
                    return await self._break_off(sends, step)
        answer = web.StreamResponse(headers={"Content-Type": JSON_TYPE})
        await self._write(answer, body or (_body(fold(sends)) if sends else b"{}"))
        if sends and not body:
            self._count(sends[-1])
        await answer.write_eof()
        return answer

    def _count(self, step: Send) -> None:
        self.call.tokens = step.message["usageMetadata"]["totalTokenCount"]

    async def _break_off(self, sends: list[Send], step: Step) -> web.StreamResponse:
        """Send half of the body that the `Content-Length` announces, then do the step."""
        answer = web.StreamResponse(headers={"Content-Type": JSON_TYPE})
        if sends:
            body = _body(fold(sends))
            answer.content_length = len(body)
            await self._write(answer, body[: len(body) // 2])
        return await self._stop(step, answer)

    async def _refuse(self, step: Refuse) -> web.StreamResponse:
        answer = step.refusal.response()
        if step.html:
            answer = web.Response(status=step.refusal.code, text=HTML, content_type="text/html")
        self.call.answering()
        await answer.prepare(self.request)
        await answer.write_eof()
        return answer

    async def _stop(self, step: Step, answer: web.StreamResponse) -> web.StreamResponse:
        transport = self.request.transport
        if transport is None:
            raise ConnectionResetError
        if isinstance(step, Hang):
            await asyncio.sleep(HANG_LIMIT)
        if isinstance(step, Reset):
            sock = cast("socket.socket", transport.get_extra_info("socket"))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
            transport.abort()
        else:
            transport.close()
        return answer  # the connection is gone, so aiohttp's further writes do nothing

    async def _write(self, answer: web.StreamResponse, data: bytes) -> None:
        self.call.answering()
        if not answer.prepared:
            await answer.prepare(self.request)
        if not self.bytewise:
            await answer.write(data)
            return
        for index in range(len(data)):
            await answer.write(data[index : index + 1])
            await asyncio.sleep(0)


def _body(step: Step) -> bytes:
    match step:
        case Send():
            return encode(step.message, escaped=step.escaped)
        case SendHalf():
            return encode(step.message)
        case SendError():
            return encode(step.refusal.body())
        case SendInvalidJson():
            return step.text
    raise TypeError(step)
