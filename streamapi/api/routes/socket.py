"""The WebSocket door (RFC 6455): text frames of JSON, many generations on one socket.

One task listens; each generation that the client follows has a task that reads its log and
sends. A bad message gets an `error` message and the socket stays open. What a client can make
wait is bounded: its messages by a queue that stops reading from the connection, its generations
by a number, its unread bytes by `send_timeout`.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any

import msgspec
from quart import Blueprint, g, websocket
from quart_cors import cors_exempt

from streamapi.access.limits import Limit, gcra
from streamapi.api import body, idempotency, limits, replays, ticket_claims, who
from streamapi.api.context import reading, services
from streamapi.api.description import SOCKETS, Description, Reply, tag
from streamapi.api.messages import (
    AuthMessage,
    CancelMessage,
    Messages,
    PingMessage,
    Ref,
    ResumeMessage,
    StartMessage,
    error_frame,
    event_frame,
    known_ref,
    ping_frame,
    pong_frame,
    understand,
)
from streamapi.api.parameters import TICKET
from streamapi.api.patches.websocket import bound_first_message
from streamapi.api.problems import request_id
from streamapi.api.start import start_generation
from streamapi.errors import (
    Internal,
    InvalidRequest,
    RateLimited,
    StoreUnavailable,
    StreamapiError,
    TooLarge,
    TooManyStreams,
)
from streamapi.generation.generation import Generation
from streamapi.generation.log import LOST_AT
from streamapi.generation.timers import SendTimer
from streamapi.services import Services
from streamapi.tasks.task import Task

logger = logging.getLogger(__name__)

SUBPROTOCOL = "streamapi.v1"
FRAMES = 16
"""Sent in one turn of the loop, of a batch; a frame costs ten times what an event of SSE does."""

GOING_AWAY, TRY_AGAIN, UNAUTHENTICATED, IDLE, TOO_MANY = 1001, 1013, 4401, 4408, 4429
"""Close codes (RFC 6455, section 7.4); those from 4000 on are ours."""

AUTH_BYTES = 4096
"""Of an `auth` message; beyond it: 4401. A key has about a hundred, and who has shown none yet is
given no more to send, and nothing larger to decode."""


SOCKET = (
    "A WebSocket of JSON messages, many generations at once; its messages are described in "
    "[/asyncapi.json](/asyncapi.json). The subprotocol `streamapi.v1` is optional."
)


def routes(tasks: Mapping[str, Task[Any]]) -> Blueprint:
    """`/v1/ws` for any task, and one socket per task."""
    sockets = Blueprint("sockets", __name__, url_prefix="/v1")

    def socket(task: Task[Any] | None) -> Callable[[], Awaitable[None]]:
        @cors_exempt
        @who.takes_tickets
        @_description(task)
        async def talk() -> None:
            parts = services()
            asked = websocket.requested_subprotocols
            if g.get("caller") is None:
                bound_first_message(websocket.scope, AUTH_BYTES, UNAUTHENTICATED)
            await websocket.accept(
                headers={"X-Request-Id": request_id()},
                subprotocol=SUBPROTOCOL if SUBPROTOCOL in asked else None,
            )
            await Conversation(parts, task).run()

        return talk

    sockets.add_websocket("/ws", "any", socket(None))
    for task in tasks.values():
        sockets.add_websocket(f"/{task.name}/ws", task.name, socket(task))
    return sockets


def _description(task: Task[Any] | None) -> Description:
    text = SOCKET if task is None else f"{task.description} {SOCKET} `start` needs no `task` here."
    return Description(
        "websocket" if task is None else f"{task.name}_websocket",
        SOCKETS if task is None else tag(task),
        {101: Reply("Switching protocols: speak WebSocket (RFC 6455).")},
        takes=(TICKET,),
        summary=f"{'Any task' if task is None else task.title}: WebSocket",
        description=text,
    )


class Conversation:
    """One socket, from its handshake to its close."""

    def __init__(self, parts: Services, task: Task[Any] | None) -> None:
        self._parts = parts
        self._task_asked = task
        self._request_id = request_id()
        self._following: dict[str, asyncio.Task[None]] = {}
        self._main = asyncio.current_task()
        self._leaving = 0  # the close code, once the client is sent away
        self._busy = 0.0  # when something was last said, or last ran
        self._stall = SendTimer(parts.settings.send_timeout)
        self._heard = 0.0  # the arrival time of its messages (see `gcra`)

    def close_callback(self) -> None:
        """Close the socket: this process is ending."""
        self._leave(GOING_AWAY)

    def _leave(self, code: int) -> None:
        if self._main is not None and not self._leaving:
            self._leaving = code
            self._main.cancel()

    async def run(self) -> None:
        """Listen until the client leaves, is silent for too long, or this process ends."""
        self._parts.sockets.add(self.close_callback)
        try:
            if await self._identified():
                with reading(self._parts, lambda: self._leave(UNAUTHENTICATED)):
                    await self._listen()
        except asyncio.CancelledError:
            if not self._leaving or self._main is None:
                raise
            self._main.uncancel()
            await websocket.close(self._leaving)
        finally:
            self._stall.stop()
            self._parts.sockets.discard(self.close_callback)
            for follower in self._following.values():
                follower.cancel()
            if self._following:
                await asyncio.wait(self._following.values())

    async def _identified(self) -> bool:
        """Whether the client has said who it is: at the handshake, or now, before all else."""
        if g.get("caller") is not None:
            return True
        try:
            async with asyncio.timeout(self._parts.settings.auth_timeout):
                text = await websocket.receive()
                if len(text) > AUTH_BYTES:  # on a server whose connections are not ours
                    raise TooLarge(f"The `auth` message may have {AUTH_BYTES:,} bytes.")
                message = understand(body.decode_object(text))
                if not isinstance(message, AuthMessage):
                    raise InvalidRequest("The first message is `auth`.")
                g.caller = await who.identify(self._parts, message.token)
        except StoreUnavailable:
            await websocket.close(TRY_AGAIN)
            return False
        except RateLimited:
            await websocket.close(TOO_MANY)
            return False
        except (StreamapiError, TimeoutError) as error:
            await websocket.close(UNAUTHENTICATED, getattr(error, "code", "unauthenticated"))
            return False
        return True

    async def _listen(self) -> None:
        now, idle = asyncio.get_running_loop().time, self._parts.settings.socket_idle_timeout
        self._busy = now()
        while True:
            try:
                async with asyncio.timeout_at(self._busy + idle):
                    message = await websocket.receive()
            except TimeoutError:
                if self._following:
                    self._busy = now()
                if now() < self._busy + idle:
                    continue
                await websocket.close(IDLE)
                return
            self._busy = now()
            await self._hear(message)

    async def _hear(self, text: str | bytes) -> None:
        """Do what one message asks, or say why not."""
        ref: Any = None
        try:
            if isinstance(text, bytes):
                raise InvalidRequest("Messages are text frames.")
            self._count()
            value = await body.decode(text)
            ref = known_ref(value)
            await self._do(understand(value))
        except Exception as error:
            await self._explain(ref, error)

    def _count(self) -> None:
        """A bound on what one socket may say; what it starts is counted as requests are."""
        most = self._parts.settings.message_limit
        if most:
            now, limit = asyncio.get_running_loop().time(), Limit(most, 60.0)
            self._heard, taken = gcra(self._heard, now, limit, 1)
            if not taken.allowed:
                raise RateLimited(
                    f"{most} messages a minute are allowed here.", retry_after=taken.retry_after
                )

    async def _do(self, message: Messages) -> None:
        if isinstance(message, StartMessage):
            await self._start(message)
        elif isinstance(message, ResumeMessage):
            generation, tail = await replays.follow(self._parts, message.generation, "resume")
            # Who has seen the ending already is shown it once more, rather than silence.
            after = min(message.after, LOST_AT - 1)
            if tail.ended and after == tail.n:
                after -= 1
            await replays.charge(self._parts, generation, after, tail)
            await self._follow(generation, after, message.ref, tail.n)
        elif isinstance(message, CancelMessage):
            generation = await ticket_claims.find(self._parts, message.generation)
            await self._parts.generations.cancel(generation)
        elif isinstance(message, AuthMessage):
            if self._parts.key_auth is not None:
                raise InvalidRequest("This socket has said who it is.")
        elif isinstance(message, PingMessage):
            await self._write(pong_frame(message.ref))

    async def _start(self, message: StartMessage) -> None:
        task = self._task_asked
        if message.task is not None and (task is None or task.name != message.task):
            if task is not None:
                raise InvalidRequest(f"This socket is for {task.name}; /v1/ws takes any task.")
            task = self._parts.tasks.get(message.task)
        if task is None:
            known = ", ".join(self._parts.tasks)
            raise InvalidRequest(f"Name one of the tasks as `task`: {known}.")
        self._check_room()
        await limits.take_message(f"{task.name}.start")
        key = idempotency.from_field(message.idempotency_key)
        generation = await start_generation(task, message.request, idempotency_key=key)
        await self._follow(generation, 0, message.ref)

    def _check_room(self) -> None:
        if len(self._following) >= self._parts.settings.max_generations_per_socket:
            raise TooManyStreams("This socket follows as many generations as one may.")

    async def _follow(
        self, generation: Generation, after: int, ref: Ref | None, replays: int = 0
    ) -> None:
        earlier = self._following.get(generation.id)
        if earlier is None:
            self._check_room()
        follower = asyncio.create_task(self._pass_on(generation, after, ref, replays))
        self._following[generation.id] = follower
        follower.add_done_callback(lambda done: self._left(generation.id, done))
        if earlier is not None:
            # Behind the new follower's first step: the generation is never without a reader.
            asyncio.get_running_loop().call_soon(earlier.cancel)

    def _left(self, generation_id: str, follower: "asyncio.Task[None]") -> None:
        self._busy = asyncio.get_running_loop().time()
        if self._following.get(generation_id) is follower:
            del self._following[generation_id]

    async def _pass_on(
        self, generation: Generation, after: int, ref: Ref | None, replays: int
    ) -> None:
        """Read a log to its ending, and send it. What is there up to `replays` is read again."""
        try:
            silence = self._parts.settings.ping_interval
            batches = self._parts.generations.read(generation, after, silence, replays=replays)
            async with aclosing(batches):
                async for batch in batches:
                    if not batch:
                        await self._write(ping_frame(generation))
                    for place, entry in enumerate(batch, 1):
                        await self._write(event_frame(generation, entry, self._request_id, ref))
                        if place % FRAMES == 0:
                            await self._parts.generations.pacer.turn()
        except Exception as error:
            await self._explain(ref, error)

    async def _explain(self, ref: Ref | None, error: Exception) -> None:
        """Tell the client what failed; of what was not foreseen, only the log has the reason."""
        if not isinstance(error, StreamapiError):
            logger.error("a socket failed", exc_info=error, extra={"request_id": self._request_id})
            error = Internal("The server's log has the reason, under this request id.")
        await self._refuse(ref, error)

    async def _refuse(self, ref: Ref | None, error: StreamapiError) -> None:
        problem = msgspec.structs.replace(error.problem(), request_id=self._request_id)
        await self._write(error_frame(ref, problem))

    async def _write(self, text: str) -> None:
        self._stall.sending()
        await websocket.send(text)
        self._stall.sent()
