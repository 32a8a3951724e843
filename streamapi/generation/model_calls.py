"""Asks the models of a chain until one of them has content.

`chain` has the rules (which model is next, on what terms), `health` knows which models answer,
`attempt` is one request. This module waits for them. Each failed attempt leaves one line in the
server's log that says why.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence

import tenacity

from streamapi.errors import (
    CallerError,
    Overloaded,
    StreamapiError,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from streamapi.generation.admission import Admission
from streamapi.generation.attempt import Attempt
from streamapi.generation.chain import (
    PASSED_ON,
    RETRIED,
    RetryPolicy,
    Terms,
    failure_of,
    next_of,
    terms,
)
from streamapi.generation.event import Event, Wait
from streamapi.generation.health import Circuit, Circuits, outcome_of
from streamapi.generation.model import Model
from streamapi.generation.request import GenerationRequest
from streamapi.generation.timers import Deadline

logger = logging.getLogger(__name__)

Write = Callable[[Sequence[Event]], Awaitable[None]]


class ModelCalls:
    """Brings one request to its first content. `began` is the start time of the generation, on the
    monotonic clock; `write` appends `wait` events to the log. `attempt` is the latest attempt, also
    when it failed; `attempts` counts the requests to models, `fallbacks` how often the next model
    was asked, and `queued` the seconds spent in queues."""

    __slots__ = (
        "_admission", "_began", "_circuits", "_request", "_retry_policy", "_write", "attempt",
        "attempts", "fallbacks", "queued",
    )  # fmt: skip

    def __init__(
        self,
        request: GenerationRequest,
        retry_policy: RetryPolicy,
        began: float,
        admission: Admission,
        circuits: Circuits,
        write: Write,
    ) -> None:
        self._request = request
        self._retry_policy = retry_policy
        self._began = began
        self._admission = admission
        self._circuits = circuits
        self._write = write
        self.attempt: Attempt | None = None
        self.queued = 0.0
        self.attempts = 0
        self.fallbacks = 0

    async def open(self) -> Attempt:
        """Ask until an attempt has its first content, and return that attempt. Raises why none
        has."""
        left = list(self._request.models)
        failures: list[StreamapiError] = []
        end = self._began + self._retry_policy.first_content
        # A model that wrote may have used up the budget: the next one would have no time at all.
        while left and (not failures or time.monotonic() < end):
            circuits = [self._circuits.of(model.name) for model in left]
            index = next_of(circuits, time.monotonic())
            model, circuit = left.pop(index), circuits.pop(index)
            try:
                return await self._ask_model(model, circuit, circuits, end, bool(failures))
            except PASSED_ON as error:
                failures.append(error)
        raise failure_of(failures)

    async def _ask_model(
        self,
        model: Model,
        circuit: Circuit,
        others: Sequence[Circuit],
        end: float,
        instead: bool,
    ) -> Attempt:
        """Ask one model, on the terms that the `others` behind it leave of a budget with this
        `end`. With `instead`, it is asked in place of one that failed, and the log says so. The
        circuit of the model gets one outcome, however the request ends."""
        now = time.monotonic()
        trial = circuit.begin(now)
        try:
            if instead:
                self.fallbacks += 1
                await self._write([Wait("fallback", 1, 0.0, model.name)])
            attempt = await self._try(model, terms(self._retry_policy, now, end, others))
        except BaseException as error:
            wait = error.asked_wait if isinstance(error, StreamapiError) else None
            if trial.end(outcome_of(error), time.monotonic(), wait):
                logger.warning("%s fails: while others can answer, they are asked", model.name)
            raise
        trial.end("success", time.monotonic())
        return attempt

    async def _try(self, model: Model, terms: Terms) -> Attempt:
        try:
            return await self._ask_once(model, terms, 1)
        except RETRIED as error:
            if terms.attempts == 1:
                raise
            return await self._try_again(error, model, terms)

    async def _try_again(self, first: StreamapiError, model: Model, terms: Terms) -> Attempt:
        """Retry after a `first` failure, which tenacity counts as the first attempt. Setting up
        tenacity for the many requests that need no retry would cost a thirtieth of each."""

        async def write_wait(state: tenacity.RetryCallState) -> None:
            delay = round(state.upcoming_sleep, 3)
            await self._write([Wait("retry", state.attempt_number + 1, delay, model.name)])

        def enough(state: tenacity.RetryCallState) -> bool:
            out_of_time = time.monotonic() + state.upcoming_sleep >= terms.until
            return state.attempt_number >= terms.attempts or out_of_time

        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(RETRIED),
            wait=self._back_off,
            stop=enough,
            before_sleep=write_wait,
            reraise=True,
        )
        async for attempt in retrying:
            with attempt:
                number = attempt.retry_state.attempt_number
                if number == 1:
                    raise first
                return await self._ask_once(model, terms, number)
        raise AssertionError("tenacity gave up without a word")

    def _back_off(self, state: tenacity.RetryCallState) -> float:
        """What the provider asks for, else exponential with full jitter."""
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, UpstreamUnavailable) and error.asked_wait is not None:
            return error.asked_wait
        return random.uniform(0, self._retry_policy.backoff * 2 ** (state.attempt_number - 1))

    async def _ask_once(self, model: Model, terms: Terms, number: int) -> Attempt:
        request, most = self._request, self._retry_policy.output
        attempt = self.attempt = Attempt(model, request.prompt, request.parser(), most, number)
        try:
            await self._acquire_slot(attempt, terms.queue_until)
            self.attempts += 1
            await self._come_to_content(attempt, terms.until)
        except BaseException as error:
            await attempt.aclose()
            if isinstance(error, StreamapiError):
                report(model.name, number, error)
            raise
        return attempt

    async def _come_to_content(self, attempt: Attempt, until: float) -> None:
        """Wait for the first content. A model that has written nothing at all has until the end
        of its attempt; one that writes what is not shown (a hidden thought, text that its parser
        holds back) lives, and may go on as long as any answer may."""
        now, retry_policy = asyncio.get_running_loop().time, self._retry_policy
        began = now()
        passed = time.monotonic()
        first = began + min(retry_policy.attempt, until - passed)
        end = began + self._began + retry_policy.total - passed
        alive = False

        def sign_of_life() -> None:
            nonlocal alive
            alive = True
            deadline.move(min(max(first, now() + retry_policy.idle), end))

        try:
            async with Deadline(first - began) as deadline:
                await attempt.open(sign_of_life)
        except TimeoutError:
            silent = "The model had not begun its answer in time."
            writing = "The model wrote, but came to nothing that can be shown, in time."
            raise UpstreamTimeout(writing if alive else silent) from None

    async def _acquire_slot(self, attempt: Attempt, until: float) -> None:
        queue, account = self._admission.of(attempt.model), self._request.account
        if queue.free(account):
            await attempt.acquire_slot(queue, account)
            return
        queue.check(account)
        began = time.monotonic()
        await self._write([Wait("queued", attempt.number, 0.0, attempt.model)])
        try:
            async with Deadline(until - began):
                await attempt.acquire_slot(queue, account)
        except TimeoutError:
            raise Overloaded("The model was busy for as long as one may wait for it.") from None
        finally:
            self.queued += time.monotonic() - began


def report(model: str, number: int, error: StreamapiError) -> None:
    """Log one line that says why an attempt failed. It names statuses and errors of the network,
    and never what was sent or answered."""
    causes = []
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, StreamapiError):
            causes.append(cause.reason or cause.detail)
        else:
            name = type(cause).__name__
            text = cause.strerror if isinstance(cause, OSError) else None
            causes.append(f"{name}: {text}" if text else name)
        cause = cause.__cause__
    level = logging.INFO if isinstance(error, CallerError) else logging.WARNING
    why = "; ".join(dict.fromkeys(causes))
    logger.log(level, "%s, attempt %d: %s: %s", model, number, error.code, why)
