"""The stage: a script played to a client, at its pace, until one of them leaves.

How a leaving client is noticed at once: the server runs with aiohttp's
`handler_cancellation`. A FIN makes the event loop call `eof_received`, which
closes the transport; a RST makes its next read fail. Both end in
`connection_lost`, in the same turn of the loop or the next, and that cancels
the task that plays, wherever it waits: between chunks, in a hang, in a write
that is held up. Nothing is polled. (The loop notices because it always reads
from the socket: the body was read before, so reading is never paused.) By then
the transport is gone, which tells a client's leaving from our own shutdown.
"""

import asyncio
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from aiohttp import web

from .ledger import Call
from .script import Act, Close, Fail, Garble, Half, Hang, Refuse, Reset, Say, fold
from .wire import JSON_TYPE, Framing, encode

__all__ = ["HANG_LIMIT", "Stage"]

#: A hang ends after this many seconds, client or not.
HANG_LIMIT = 600.0
#: SO_LINGER on with no time to linger: close sends RST, and drops what waits.
LINGER_NOT = struct.pack("ii", 1, 0)
HTML = "<!DOCTYPE html>\n<html><title>Error 502 (Server Error)!!</title><h1>502.</h1></html>\n"


@dataclass(slots=True)
class Stage:
    """Where one call is answered."""

    request: web.Request
    call: Call
    pace: float
    bytewise: bool = False

    async def stream(self, acts: Iterator[Act], framing: Framing) -> web.StreamResponse:
        """Play the script as a row of frames."""
        answer = web.StreamResponse(headers={"Content-Type": framing.content_type})
        index = 0
        for act in acts:
            if index:
                await asyncio.sleep(self.pace)
            match act:
                case Refuse():
                    return await self._refuse(act)
                case Hang() | Reset() | Close():
                    return await self._stop(act, answer)
            frame = framing.frame(_body(act), index)
            if isinstance(act, Half):
                frame = frame[: len(frame) // 2]
            await self._write(answer, frame)
            if isinstance(act, Say):
                self._told(act)
            index += 1
        await self._write(answer, framing.end(index))
        await answer.write_eof()
        return answer

    async def whole(self, acts: Iterator[Act]) -> web.StreamResponse:
        """Play the script as one body, in the time that the stream would take."""
        says: list[Say] = []
        body = b""
        for act in acts:
            if says:
                await asyncio.sleep(self.pace)
            match act:
                case Say():
                    says.append(act)
                case Refuse():
                    return await self._refuse(act)
                case Fail():
                    return await self._refuse(Refuse(act.refusal))
                case Garble():
                    body = act.text
                case Half():
                    says.append(Say(act.message))
                case Close() | Reset() | Hang():
                    return await self._break_off(says, act)
        answer = web.StreamResponse(headers={"Content-Type": JSON_TYPE})
        await self._write(answer, body or (_body(fold(says)) if says else b"{}"))
        if says and not body:
            self._told(says[-1])
        await answer.write_eof()
        return answer

    def _told(self, act: Say) -> None:
        self.call.tokens = act.message["usageMetadata"]["totalTokenCount"]

    async def _break_off(self, says: list[Say], act: Act) -> web.StreamResponse:
        """Half of a body whose length was promised, then the act."""
        answer = web.StreamResponse(headers={"Content-Type": JSON_TYPE})
        if says:
            body = _body(fold(says))
            answer.content_length = len(body)
            await self._write(answer, body[: len(body) // 2])
        return await self._stop(act, answer)

    async def _refuse(self, act: Refuse) -> web.StreamResponse:
        answer = act.refusal.response()
        if act.html:
            answer = web.Response(status=act.refusal.code, text=HTML, content_type="text/html")
        self.call.begun()
        await answer.prepare(self.request)
        await answer.write_eof()
        return answer

    async def _stop(self, act: Act, answer: web.StreamResponse) -> web.StreamResponse:
        transport = self.request.transport
        if transport is None:
            raise ConnectionResetError
        if isinstance(act, Hang):
            await asyncio.sleep(HANG_LIMIT)
        if isinstance(act, Reset):
            sock = cast("socket.socket", transport.get_extra_info("socket"))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
            transport.abort()
        else:
            transport.close()
        return answer  # what aiohttp still writes to it goes nowhere

    async def _write(self, answer: web.StreamResponse, data: bytes) -> None:
        self.call.begun()
        if not answer.prepared:
            await answer.prepare(self.request)
        if not self.bytewise:
            await answer.write(data)
            return
        for index in range(len(data)):
            await answer.write(data[index : index + 1])
            await asyncio.sleep(0)


def _body(act: Act) -> bytes:
    match act:
        case Say():
            return encode(act.message, escaped=act.escaped)
        case Half():
            return encode(act.message)
        case Fail():
            return encode(act.refusal.body())
        case Garble():
            return act.text
    raise TypeError(act)
