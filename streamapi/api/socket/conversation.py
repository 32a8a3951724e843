"""One socket, from its handshake to its close.

One task reads the client's messages; `followers.py` has a task for each generation. A bad message
gets an `error` message and the socket stays open. A client can use up only so much: its unread
messages wait in a bounded queue, the number of its generations has a limit, and a write that takes
longer than `send_timeout` closes the socket.
"""

import asyncio
from typing import Any

from quart import websocket

from streamapi.access.limits import Limit, gcra
from streamapi.api import body, idempotency, limits, replays, ticket_claims
from streamapi.api.context import reading
from streamapi.api.socket.authentication import authenticate
from streamapi.api.socket.followers import Followers
from streamapi.api.socket.messages import (
    GOING_AWAY,
    IDLE,
    UNAUTHENTICATED,
    AuthMessage,
    CancelMessage,
    Messages,
    PingMessage,
    ResumeMessage,
    StartMessage,
    parse_message,
    pong_frame,
    ref_of,
)
from streamapi.api.socket.writer import SocketWriter
from streamapi.api.start import start_generation
from streamapi.errors import InvalidRequest, RateLimited
from streamapi.generation.log import LOST_AT
from streamapi.services import Services
from streamapi.tasks.task import Task


class Conversation:
    """Reads the messages of the current socket and does what they ask. `task` is the task of the
    socket's address; None where the address takes any task."""

    def __init__(self, parts: Services, task: Task[Any] | None) -> None:
        self._parts = parts
        self._task = task
        self._writer = SocketWriter(parts.settings.send_timeout)
        self._followers = Followers(parts, self._writer, self._note_activity)
        self._main = asyncio.current_task()
        self._now = asyncio.get_running_loop().time
        self._close_code = 0  # once the server closes the socket
        self._last_activity = 0.0  # when a message came, or a generation ended
        self._message_time = 0.0  # the limit of messages: its arrival time (see `gcra`)

    async def run(self) -> None:
        """Read messages until the client leaves or is silent for too long, its key is revoked, or
        this process ends."""
        self._parts.sockets.add(self.close_callback)
        try:
            if await authenticate(self._parts):
                with reading(self._parts, lambda: self._close(UNAUTHENTICATED)):
                    await self._read_messages()
        except asyncio.CancelledError:
            if not self._close_code or self._main is None:
                raise
            self._main.uncancel()
            await websocket.close(self._close_code)
        finally:
            self._writer.stop()
            self._parts.sockets.discard(self.close_callback)
            await self._followers.close()

    def close_callback(self) -> None:
        """Close the socket: this process ends."""
        self._close(GOING_AWAY)

    def _close(self, code: int) -> None:
        if self._main is not None and not self._close_code:
            self._close_code = code
            self._main.cancel()

    def _note_activity(self) -> None:
        self._last_activity = self._now()

    async def _read_messages(self) -> None:
        idle = self._parts.settings.socket_idle_timeout
        self._note_activity()
        while True:
            try:
                async with asyncio.timeout_at(self._last_activity + idle):
                    message = await websocket.receive()
            except TimeoutError:
                if self._followers:
                    self._note_activity()
                if self._now() < self._last_activity + idle:
                    continue
                await websocket.close(IDLE)
                return
            self._note_activity()
            await self._handle(message)

    async def _handle(self, text: str | bytes) -> None:
        """Do what one message asks. Where that fails, send an `error` message."""
        ref: Any = None
        try:
            if isinstance(text, bytes):
                raise InvalidRequest("This frame is binary. Send each message as a text frame.")
            self._count_message()
            value = await body.decode(text)
            ref = ref_of(value)
            await self._do(parse_message(value))
        except Exception as error:
            await self._writer.send_error(ref, error)

    def _count_message(self) -> None:
        """Raise `RateLimited` when the client sends too many messages. A `start` also counts as a
        request."""
        most = self._parts.settings.message_limit
        if most:
            limit = Limit(most, 60.0)
            self._message_time, taken = gcra(self._message_time, self._now(), limit, 1)
            if not taken.allowed:
                raise RateLimited(
                    f"A socket may send {most} messages a minute. Wait, then send this one again.",
                    retry_after=taken.retry_after,
                )

    async def _do(self, message: Messages) -> None:
        if isinstance(message, StartMessage):
            await self._start(message)
        elif isinstance(message, ResumeMessage):
            await self._resume(message)
        elif isinstance(message, CancelMessage):
            generation = await ticket_claims.find(self._parts, message.generation)
            await self._parts.generations.cancel(generation)
        elif isinstance(message, AuthMessage):
            if self._parts.key_auth is not None:
                raise InvalidRequest(
                    "This socket is authenticated already. Open another socket for another key."
                )
        elif isinstance(message, PingMessage):
            await self._writer.send(pong_frame(message.ref))

    async def _start(self, message: StartMessage) -> None:
        task = self._task_of(message)
        self._followers.check_room()
        await limits.take_message(f"{task.name}.start")
        key = idempotency.from_field(message.idempotency_key)
        generation = await start_generation(task, message.request, idempotency_key=key)
        self._followers.follow(generation, 0, message.ref)

    def _task_of(self, message: StartMessage) -> Task[Any]:
        if self._task is not None:
            if message.task not in (None, self._task.name):
                raise InvalidRequest(
                    f"This address is for the task {self._task.name}. Open /v1/ws for other tasks."
                )
            return self._task
        task = self._parts.tasks.get(message.task or "")
        if task is None:
            known = ", ".join(self._parts.tasks)
            raise InvalidRequest(f"Set `task` to one of the tasks: {known}.")
        return task

    async def _resume(self, message: ResumeMessage) -> None:
        generation, tail = await replays.follow(self._parts, message.generation, "resume")
        after = min(message.after, LOST_AT - 1)
        if tail.ended and after == tail.n:
            after -= 1  # the ending is sent again, since silence would not say that all is over
        await replays.charge(self._parts, generation, after, tail)
        self._followers.follow(generation, after, message.ref, tail.n)
