"""The one writer of a log: it asks models until one answers, then passes on what comes.

Until the first content event (what the task's parser emits, not the first byte) nothing of the
model's is in the log, so a failure is retried and nobody is the wiser. From then on a failure is
told. Whatever happens (a bug, a cancellation, a shutdown) the log gets exactly one ending.

The task of a producer waits in one place only: for the next chunk, or for the back-off before
another attempt. Cancelling it there is what closes the upstream connection at once.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing

import msgspec
import tenacity

from streamapi.errors import (
    ContextTooLong,
    Internal,
    ModelGone,
    ModelOutputInvalid,
    Overloaded,
    ShuttingDown,
    StreamapiError,
    UpstreamInterrupted,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamTruncated,
    UpstreamUnavailable,
)
from streamapi.generation.ask import Ask
from streamapi.generation.attempt import Attempt
from streamapi.generation.event import (
    Done,
    Ending,
    Event,
    Failed,
    Timings,
    Usage,
    Wait,
    let_go,
)
from streamapi.generation.log import Conflict, Logs, Stopped
from streamapi.generation.model import Chunk, Model
from streamapi.generation.turns import AllTurns
from streamapi.generation.watch import Deadline

logger = logging.getLogger(__name__)

PASSING = (UpstreamUnavailable, UpstreamTimeout, ModelOutputInvalid)
"""What another attempt may mend, before the first content."""

AFTER_FINISH = 1.0
"""Seconds that a model may take to close its stream once it said that it had finished."""


SILENT = "The model fell silent in the middle of its answer."
OVERDUE = "The whole answer took longer than one may take."


class Patience(msgspec.Struct, frozen=True):
    """How often, and for how many seconds, a producer waits.

    `attempts` are upstream requests per model; `backoff` is the first wait (it doubles, with
    full jitter); each attempt has `attempt` seconds to its first content, all together have
    `first_content`; then `idle` between chunks, and `total` for everything. `output` are the
    characters that an answer may have.
    """

    attempts: int = 3
    output: int = 2_000_000
    backoff: float = 0.5
    attempt: float = 20.0
    first_content: float = 45.0
    idle: float = 30.0
    total: float = 600.0


class Producer:
    """Writes the log `name`, which has its `start` already, by asking the models in order.
    `ending` is told how it ends, before any reader."""

    __slots__ = (
        "_ask", "_attempt", "_began", "_closing", "_created", "_ending", "_first_content", "_log",
        "_logs", "_next", "_patience", "_queued", "_stopped", "_task", "_turns",
    )  # fmt: skip

    def __init__(
        self,
        logs: Logs,
        name: str,
        ask: Ask,
        patience: Patience,
        turns: AllTurns,
        ending: Callable[[Ending], None] = lambda ending: None,
    ) -> None:
        self._logs = logs
        self._turns = turns
        self._queued = 0.0
        self._log = name
        self._ask: Ask | None = ask
        self._patience = patience
        self._ending = ending
        self._next = 2
        self._attempt: Attempt | None = None
        self._began = time.monotonic()
        self._created = time.time()
        self._first_content: float | None = None
        self._stopped: Stopped | None = None
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> "asyncio.Task[None]":
        """Begin, in a task that outlives every request."""
        self._task = asyncio.create_task(self._run(), name=f"produce {self._log}")
        self._logs.watch(self._log, self.stop)
        return self._task

    def stop(self, why: Stopped) -> None:
        """End the log at once. Saying it twice, or too late, changes nothing."""
        if self._stopped is None:
            self._stopped = why
            # Not before the task's first step: a task cancelled unstarted would end nothing.
            asyncio.get_running_loop().call_soon(self._cancel)

    def _cancel(self) -> None:
        if self._task is not None and not self._closing:
            self._task.cancel()

    async def _run(self) -> None:
        ending: Ending
        try:
            ending = await self._produce()
        except asyncio.CancelledError:
            ending = self._ending_when_stopped()
        except StreamapiError as error:
            ending = Failed(error.problem(), self._usage())
        except Exception:
            logger.exception("producing %s failed", self._log)
            ending = Failed(Internal("The server's log has the reason.").problem(), self._usage())
        self._closing = True
        try:
            self._ending(ending)
        except Exception:  # no bug in it costs the log its ending
            logger.exception("the ending of %s was not taken", self._log)
        try:
            await self._write([*self._held_back(), ending])
        except Conflict:
            logger.warning("%s has its ending from someone else", self._log)

    def _held_back(self) -> list[Event]:
        """What the parser still holds, once content has come. No bug in it costs the ending."""
        if self._first_content is None or self._attempt is None:
            return []
        try:
            return self._attempt.flush()
        except Exception:
            logger.exception("the parser of %s failed", self._log)
            return []

    async def _produce(self) -> Done:
        attempt = self._attempt = await self._open()
        self._first_content = time.monotonic()
        async with aclosing(attempt):
            try:
                await self._write(attempt.first)
                await self._pass_on(attempt)
            except (UpstreamUnavailable, UpstreamRejected, ContextTooLong) as error:
                raise UpstreamInterrupted(error.detail) from error
        if attempt.finish is None:
            raise UpstreamTruncated("The model's stream ended without saying that it was over.")
        await self._write(attempt.flush())
        return Done(
            attempt.parser.result(),
            attempt.usage,
            attempt.finish,
            attempt.served,
            self._timings(),
            self._created,
        )

    async def _pass_on(self, attempt: Attempt) -> None:
        """The hot loop: chunks in, their events out, nothing else."""
        now, idle = asyncio.get_running_loop().time, self._patience.idle
        end = now() + self._began + self._patience.total - time.monotonic()

        def until() -> float:
            return min(now() + (idle if attempt.finish is None else AFTER_FINISH), end)

        try:
            async with Deadline(until() - now()) as deadline:
                await self._say(attempt, attempt.rest)
                deadline.move(until())
                async for chunks in attempt.stream:
                    await self._say(attempt, chunks)
                    deadline.move(until())
        except TimeoutError:
            if attempt.finish is None:
                raise UpstreamTimeout(OVERDUE if now() >= end else SILENT) from None
        except UpstreamUnavailable:
            if attempt.finish is None:
                raise

    async def _say(self, attempt: Attempt, chunks: Sequence[Chunk]) -> None:
        """Write what the chunks say in one append; of a batch that fails, what came before."""
        events: list[Event] = []
        try:
            for chunk in chunks:
                events += attempt.read(chunk)
        finally:
            await self._write(events)

    async def _open(self) -> Attempt:
        """The attempt that came to its first content: of the first model, or of the next. What
        was asked is not kept beyond that: a long prompt would lie there for the whole answer."""
        ask, self._ask = self._ask, None
        assert ask is not None
        budget = self._began + self._patience.first_content
        passing: StreamapiError | None = None
        for model, successor in zip(ask.models, (*ask.models[1:], None), strict=True):
            try:
                return await self._try(ask, model, budget)
            except PASSING as error:
                passing = error
                if successor is None:
                    raise
            except ModelGone as error:
                if successor is None:  # the chain failed for what may pass, if any of it did
                    raise (passing or error) from None
            await self._write([Wait("fallback", 1, 0.0, successor.name)])
        raise AssertionError("a chain has at least one model")

    async def _try(self, ask: Ask, model: Model, budget: float) -> Attempt:
        try:
            return await self._ask_once(ask, model, budget, 1)
        except PASSING as error:
            return await self._try_again(error, ask, model, budget)

    async def _try_again(
        self, first: StreamapiError, ask: Ask, model: Model, budget: float
    ) -> Attempt:
        """Go on behind a failed attempt, which tenacity is told as its first: setting it up for
        the many requests that need no second one would cost a thirtieth of each."""

        async def say(state: tenacity.RetryCallState) -> None:
            delay = round(state.upcoming_sleep, 3)
            await self._write([Wait("retry", state.attempt_number + 1, delay, model.name)])

        def enough(state: tenacity.RetryCallState) -> bool:
            out_of_time = time.monotonic() + state.upcoming_sleep >= budget
            return state.attempt_number >= self._patience.attempts or out_of_time

        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(PASSING),
            wait=self._back_off,
            stop=enough,
            before_sleep=say,
            reraise=True,
        )
        async for attempt in retrying:
            with attempt:
                number = attempt.retry_state.attempt_number
                if number == 1:
                    raise first
                return await self._ask_once(ask, model, budget, number)
        raise AssertionError("tenacity gave up without a word")

    def _back_off(self, state: tenacity.RetryCallState) -> float:
        """What the provider asks for, else exponential with full jitter."""
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, UpstreamUnavailable) and error.asked_wait is not None:
            return error.asked_wait
        return random.uniform(0, self._patience.backoff * 2 ** (state.attempt_number - 1))

    async def _ask_once(self, ask: Ask, model: Model, budget: float, number: int) -> Attempt:
        attempt = self._attempt = Attempt(model, ask.prompt, ask.parser(), self._patience.output)
        try:
            await self._take_turn(attempt, ask.who, model.name, budget, number)
            async with Deadline(min(self._patience.attempt, budget - time.monotonic())):
                await attempt.open()
        except BaseException as error:
            await attempt.aclose()
            if isinstance(error, TimeoutError):
                raise UpstreamTimeout("The model had not begun its answer in time.") from None
            raise
        return attempt

    async def _take_turn(
        self, attempt: Attempt, who: str, model: str, budget: float, number: int
    ) -> None:
        turns, began = self._turns.of(model), time.monotonic()
        if turns.free(who):
            await attempt.take_turn(turns, who)
            return
        turns.check(who)
        await self._write([Wait("queued", number, 0.0, model)])
        try:
            async with Deadline(budget - began):
                await attempt.take_turn(turns, who)
        except TimeoutError:
            raise Overloaded("The model was busy for as long as one may wait for it.") from None
        finally:
            self._queued += time.monotonic() - began

    async def _write(self, events: Sequence[Event]) -> None:
        if events:
            await self._logs.append(self._log, self._next, events)
            self._next += len(events)

    def _ending_when_stopped(self) -> Ending:
        if self._stopped is not None and self._stopped != "shutdown":
            return let_go(self._stopped, self._usage())
        error = ShuttingDown("The server ended while the answer was being written.")
        return Failed(error.problem(), self._usage())

    def _usage(self) -> Usage:
        return self._attempt.usage if self._attempt is not None else Usage()

    def _timings(self) -> Timings:
        def since(moment: float) -> int:
            return round((moment - self._began) * 1000)

        first = None if self._first_content is None else since(self._first_content)
        return Timings(round(self._queued * 1000), first, since(time.monotonic()))
