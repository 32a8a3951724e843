"""The one writer of a log: it asks models until one answers, then appends what the model writes.

Until the first content event (what the task's parser emits, not the first byte) the log has
nothing of the model's, so a failure can be retried unseen. From then on, a failure is the ending.
Whatever happens (a bug, a cancellation, a shutdown), the log gets exactly one ending.

The task of a producer always waits in one of two places: for the next chunk, or for the back-off
before another attempt. To cancel it there closes the upstream connection at once.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import aclosing

from streamapi.errors import (
    ContextTooLong,
    Internal,
    ShuttingDown,
    StreamapiError,
    UpstreamInterrupted,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamTruncated,
    UpstreamUnavailable,
)
from streamapi.generation.admission import Admission
from streamapi.generation.attempt import Attempt
from streamapi.generation.chain import RetryPolicy
from streamapi.generation.charge import FREE, Charge
from streamapi.generation.ended import Ended, Observer, notify
from streamapi.generation.event import Done, Ending, Event, Failed, Timings, Usage, let_go
from streamapi.generation.generation import Generation
from streamapi.generation.health import Circuits
from streamapi.generation.log import Conflict, Logs, Stopped
from streamapi.generation.model import Chunk
from streamapi.generation.model_calls import ModelCalls, report
from streamapi.generation.request import GenerationRequest
from streamapi.generation.timers import Deadline

logger = logging.getLogger(__name__)

AFTER_FINISH = 1.0
"""Seconds that a model may take to close its stream once it said that it had finished. Usage can
come in that time; a connection that hangs afterwards must not delay the ending."""

SILENT = "The model fell silent in the middle of its answer."
OVERDUE = (
    "The answer took longer than it may take (STREAMAPI_TOTAL_TIMEOUT). Ask for a shorter one."
)


class Producer:
    """Writes the log of `generation`, which has its `start` already, by asking the models in order.
    The `charge` is settled before any reader sees the ending; the `observers` get the record once
    the ending is in the log."""

    __slots__ = (
        "_admission", "_attempt", "_attempts", "_began", "_charge", "_circuits", "_closing",
        "_created", "_fallbacks", "_first_content", "_generation", "_log", "_logs", "_next",
        "_observers", "_queued", "_request", "_retry_policy", "_stopped", "_task",
    )  # fmt: skip

    def __init__(
        self,
        logs: Logs,
        generation: Generation,
        request: GenerationRequest,
        retry_policy: RetryPolicy,
        admission: Admission,
        circuits: Circuits,
        charge: Charge = FREE,
        observers: Sequence[Observer] = (),
    ) -> None:
        self._logs = logs
        self._admission = admission
        self._circuits = circuits
        self._queued = 0.0
        self._attempts = 0
        self._fallbacks = 0
        self._generation = generation
        self._log = generation.log
        self._request: GenerationRequest | None = request
        self._retry_policy = retry_policy
        self._charge = charge
        self._observers = observers
        self._next = 2
        self._attempt: Attempt | None = None
        self._began = time.monotonic()
        self._created = time.time()
        self._first_content: float | None = None
        self._stopped: Stopped | None = None
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> "asyncio.Task[None]":
        """Begin, in a task that outlives the request of the caller."""
        self._task = asyncio.create_task(self._run(), name=f"produce {self._log}")
        self._logs.on_stop(self._log, self.stop)
        return self._task

    def stop(self, why: Stopped) -> None:
        """End the log at once. A second call, or one after the ending, changes nothing."""
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
            ending = self._bug("producing %s failed")
        self._closing = True
        notify((self._charge.settle,), self._record(ending))
        try:
            ending = await self._write_ending(ending)
        except Conflict:
            logger.warning("%s has its ending from another process", self._log)
        else:
            notify(self._observers, self._record(ending))

    async def _write_ending(self, ending: Ending) -> Ending:
        """Write the ending, or a failure in place of one that cannot be written. Raises
        `Conflict`."""
        try:
            await self._write([*self._held_back(), ending])
        except Conflict:
            raise
        except Exception:
            ending = self._bug("the ending of %s could not be written")
            await self._write([ending])
        return ending

    def _bug(self, what: str) -> Failed:
        """The ending after an exception that nobody foresaw, which is logged."""
        logger.exception(what, self._log)
        return Failed(Internal("The server's log has the reason.").problem(), self._usage())

    def _record(self, ending: Ending) -> Ended:
        served = None if self._first_content is None else self._attempt
        return Ended.of(
            self._generation,
            ending,
            self._timings(),
            None if served is None else served.served.model,
            self._attempts,
            self._fallbacks,
        )

    def _held_back(self) -> list[Event]:
        """What the parser still holds, once content has come. A parser that fails does not cost
        the log its ending."""
        if self._first_content is None or self._attempt is None:
            return []
        try:
            return self._attempt.flush()
        except Exception:
            logger.exception("the parser of %s failed", self._log)
            return []

    async def _produce(self) -> Done:
        attempt = await self._open()
        self._first_content = time.monotonic()
        try:
            return await self._finish(attempt)
        except StreamapiError as error:
            report(attempt.model, attempt.number, error)
            raise

    async def _open(self) -> Attempt:
        """The attempt that has its first content. The request is dropped here: a long prompt would
        stay in memory for the whole answer."""
        request, self._request = self._request, None
        assert request is not None
        calls = ModelCalls(
            request, self._retry_policy, self._began, self._admission, self._circuits, self._write
        )
        try:
            return await calls.open()
        finally:
            self._attempt, self._queued = calls.attempt, calls.queued
            self._attempts, self._fallbacks = calls.attempts, calls.fallbacks

    async def _finish(self, attempt: Attempt) -> Done:
        """Everything after the first content."""
        async with aclosing(attempt):
            try:
                await self._write(attempt.first)
                await self._pass_on(attempt)
            except (UpstreamUnavailable, UpstreamRejected, ContextTooLong) as error:
                raise UpstreamInterrupted(error.detail) from error
        if attempt.finish is None:
            raise UpstreamTruncated("The model's stream ended without saying that it was over.")
        await attempt.look_up(finished=True)
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
        now, idle = asyncio.get_running_loop().time, self._retry_policy.idle
        end = now() + self._began + self._retry_policy.total - time.monotonic()

        def until() -> float:
            return min(now() + (idle if attempt.finish is None else AFTER_FINISH), end)

        try:
            async with Deadline(until() - now()) as deadline:
                await self._write_chunks(attempt, attempt.rest)
                deadline.move(until())
                async for chunks in attempt.stream:
                    await self._write_chunks(attempt, chunks)
                    deadline.move(until())
        except TimeoutError:
            if attempt.finish is None:
                raise UpstreamTimeout(OVERDUE if now() >= end else SILENT) from None
        except UpstreamUnavailable:
            if attempt.finish is None:
                raise

    async def _write_chunks(self, attempt: Attempt, chunks: Sequence[Chunk]) -> None:
        """Write the events of the chunks in one append. When a chunk fails, write those before
        it."""
        events: list[Event] = []
        try:
            for chunk in chunks:
                events += attempt.read(chunk)
            if attempt.waits:
                events += await attempt.look_up()
        finally:
            await self._write(events)

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
