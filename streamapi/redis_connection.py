"""A connection to Redis, and the circuit that guards it. A process has one for logs, and one for
limits and tickets.

Requests that come while a pipeline is under way go together in the next one, in their order. So a
thousand streams cost one round trip per tick, and a hold is in Redis before the claim that names
it.

No request waits for Redis longer than `timeout`. The first failure opens the circuit.
Requests then fail at once, and the connection alone tries again, every `RECONNECT_INTERVAL`
seconds. It tries with a write: a Redis that only reads (a replica, a full one) is of no use.
"""

import asyncio
import hashlib
import logging
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import msgspec
from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.exceptions import NoScriptError, RedisError, ResponseError

from streamapi.errors import StoreUnavailable

logger = logging.getLogger(__name__)

RECONNECT_INTERVAL = 0.5
"""Seconds between two attempts to reach a Redis that is away."""

PIPELINE_BYTES = 1_000_000
"""The size of one pipeline, roughly. A mirror that starts again from the beginning sends much, and
must not take longer than the time-out of a request."""

Argument = str | bytes | int
Answered = Callable[[Any], None]
REFUSALS = (
    "OOM", "READONLY", "read only", "NOREPLICAS", "MISCONF", "LOADING", "MASTERDOWN", "BUSY",
    "NOAUTH", "NOPERM", "CLUSTERDOWN", "maxmemory", "enough good replicas",
)  # fmt: skip
"""Words in the errors of a Redis that takes no writes. The client strips the code off some."""


class Script(msgspec.Struct, frozen=True):
    """A script of Redis, and the digest by which it is called once it was loaded."""

    text: str
    sha: str

    @classmethod
    def of(cls, text: str) -> "Script":
        """The script with this text."""
        return cls(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


class RedisConnection:
    """Runs scripts in Redis. `back` is called whenever Redis is there (again); `probe` is the write
    that proves it. `timeout` is the seconds that a request may lose to a Redis that is away."""

    def __init__(
        self,
        url: str,
        prefix: str,
        process: str,
        back: Callable[[], None],
        scripts: Sequence[Script],
        timeout: float,
    ) -> None:
        # No time-out of the client's own: redis-py would cut a read in the middle of a pipeline.
        self._pool = ConnectionPool.from_url(
            url, protocol=2, socket_timeout=None, socket_connect_timeout=timeout
        )
        self.timeout = timeout
        self._common = (prefix, process)
        self._scripts = scripts
        self._back = back
        self._queue: deque[_Request] = deque()
        self._work = asyncio.Event()
        self.probe: tuple[Script, Sequence[Argument]] | None = None
        self.tried = asyncio.Event()
        self.available = False
        self.failures = 0
        self.healthy_since = float("-inf")

    async def call(self, script: Script, *arguments: Argument) -> Any:
        """Run a script, and return its answer. Raises `StoreUnavailable` within
        `timeout`."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def answered(result: Any) -> None:
            if not answer.done():
                answer.set_result(result)

        self.post(script, arguments, answered)
        result = await answer
        if isinstance(result, StoreUnavailable):
            raise result
        return result

    def post(
        self, script: Script, arguments: Sequence[Argument], answered: Answered | None = None
    ) -> None:
        """Run a script, and wait for nothing. `answered` gets the answer of Redis, or a
        `StoreUnavailable`."""
        if self.available:
            self._queue.append(_Request((script, arguments), answered))
            self._work.set()
        elif answered is not None:
            answered(_away())

    def connection(self) -> AbstractConnection:
        """Another connection, for commands that block."""
        return self._pool.make_connection()  # type: ignore[no-untyped-call, no-any-return]

    async def run(self) -> None:
        """Serve until cancelled."""
        connection = self.connection()
        try:
            while True:
                if not self.available:
                    await self._open(connection)
                if not self.available:
                    await asyncio.sleep(RECONNECT_INTERVAL)
                    continue
                await self._work.wait()
                self._work.clear()
                while self._queue and self.available:
                    await self._send_queue(connection)
        finally:
            self.available = False
            self._refuse([])
            await connection.disconnect(nowait=True)

    async def _open(self, connection: AbstractConnection) -> None:
        try:
            await within(self.timeout, self._greet(connection))
        except Exception as error:
            await self._fail(connection, error, [])
            return
        finally:
            self.tried.set()
        if self.failures:
            logger.warning("Redis is back")
            self.healthy_since = time.monotonic()
        self.available = True
        self._back()

    async def _greet(self, connection: AbstractConnection) -> None:
        await connect(connection)
        commands: list[tuple[Argument, ...]] = [("SCRIPT", "LOAD", it.text) for it in self._scripts]
        if self.probe is not None:
            commands.append(self._packed(self.probe))
        for answer in await exchange(connection, commands):
            if isinstance(answer, ResponseError):
                raise answer

    async def _send_queue(self, connection: AbstractConnection) -> None:
        requests: list[_Request] = []
        size = 0
        while self._queue and size < PIPELINE_BYTES:
            requests.append(self._queue.popleft())
            size += requests[-1].size
        waited = asyncio.get_running_loop().time() - requests[0].since
        try:
            answers = await within(
                max(self.timeout - waited, self.timeout / 3), self._ask(connection, requests)
            )
        except Exception as error:  # whatever it is: this task must go on
            await self._fail(connection, error, requests)
            return
        except asyncio.CancelledError:
            self._refuse(requests)
            raise
        refused = next((answer for answer in answers if _refuses(answer)), None)
        for request, answer in zip(requests, answers, strict=True):
            request.finish(answer)
        if refused is not None:
            await self._fail(connection, refused, [])

    async def _ask(self, connection: AbstractConnection, requests: "list[_Request]") -> list[Any]:
        answers = await exchange(
            connection, [self._packed(request.command) for request in requests]
        )
        unknown = [n for n, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if unknown:  # Redis was told to forget its scripts
            await exchange(connection, [("SCRIPT", "LOAD", it.text) for it in self._scripts])
            again = [self._packed(requests[n].command) for n in unknown]
            for n, answer in zip(unknown, await exchange(connection, again), strict=True):
                answers[n] = answer
        return answers

    def _packed(self, command: tuple[Script, Sequence[Argument]]) -> tuple[Argument, ...]:
        script, arguments = command
        return ("EVALSHA", script.sha, 0, *self._common, *arguments)

    async def _fail(
        self, connection: AbstractConnection, error: object, requests: "list[_Request]"
    ) -> None:
        if self.available or not self.failures:
            logger.warning("Redis is away: %s %s", type(error).__name__, error)
        self.available = False
        self.failures += 1
        self._refuse(requests)
        await connection.disconnect(nowait=True)

    def _refuse(self, requests: "list[_Request]") -> None:
        waiting = [*requests, *self._queue]
        self._queue.clear()
        for request in waiting:
            request.finish(_away())


class _Request:
    """A script to run, and the callback for its answer."""

    __slots__ = ("_answered", "command", "since", "size")

    def __init__(
        self, command: tuple[Script, Sequence[Argument]], answered: Answered | None
    ) -> None:
        self.command = command
        self.since = asyncio.get_running_loop().time()
        self.size = 100 + sum(len(it) for it in command[1] if not isinstance(it, int))
        self._answered = answered

    def finish(self, answer: Any) -> None:
        if isinstance(answer, RedisError):
            if not _refuses(answer):
                logger.error("Redis refused a script: %s", answer)
            answer = _away()
        if self._answered is not None:
            try:
                self._answered(answer)
            except Exception:
                logger.exception("an answer of Redis could not be used")


async def connect(connection: AbstractConnection) -> None:
    """Close the connection, and open it again."""
    await connection.disconnect(nowait=True)
    await connection.connect()  # type: ignore[no-untyped-call]


async def exchange(
    connection: AbstractConnection, commands: Sequence[Sequence[Argument]]
) -> list[Any]:
    """Send commands, and return the answer to each; an error is an answer too."""
    await connection.send_packed_command(connection.pack_commands(commands))
    answers: list[Any] = []
    for _ in commands:
        try:
            answers.append(await connection.read_response())
        except ResponseError as error:
            answers.append(error)
    return answers


async def within(seconds: float, work: Coroutine[Any, Any, Any]) -> Any:
    """The result of `work`. Raises TimeoutError.

    An event loop that was busy for so long finds the answer and the time-out in the same pass. The
    answer gets two more passes: a slow process must not look like a slow Redis."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task}, timeout=seconds)
        for _ in range(3):
            if not task.done():
                await asyncio.sleep(0)
        if not task.done():
            raise TimeoutError(f"no answer within {seconds:g} s")
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})


def _refuses(answer: object) -> bool:
    return isinstance(answer, RedisError) and any(word in str(answer) for word in REFUSALS)


def _away() -> StoreUnavailable:
    return StoreUnavailable("The server cannot reach Redis. Try again in 2 seconds.")
