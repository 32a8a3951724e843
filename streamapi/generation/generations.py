"""Generations: each is one caller's hold on a log. This starts, finds, reads and cancels them.

A log outlives the request that began it. It goes on for as long as a generation holds it.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

from streamapi.errors import (
    GenerationExpired,
    NotFound,
    ProducerLost,
    ShuttingDown,
    StoreUnavailable,
)
from streamapi.generation.admission import Admission
from streamapi.generation.chain import RetryPolicy
from streamapi.generation.charge import FREE, Charge
from streamapi.generation.ended import Ended, Observer, notify
from streamapi.generation.event import Event, Failed
from streamapi.generation.generation import Generation
from streamapi.generation.health import Circuits
from streamapi.generation.log import LOST_AT, Eager, Entry, LogGone, Logs, Tail
from streamapi.generation.pending_log import PendingLog
from streamapi.generation.producer import Producer
from streamapi.generation.readers import Readers
from streamapi.generation.replay_pacer import ReplayPacer
from streamapi.generation.request import Caller, GenerationRequest
from streamapi.generation.sharing import Sharing

REPLAY_EVENTS = 64
"""A batch of so many events is written as a replay, though its reader has only been slow: it
keeps the event loop for as long."""


class Running(NamedTuple):
    """A log that is written in this process."""

    producer: Producer
    generation: Generation


class Generations:
    """All generations of this process. Times are in seconds: `grace` is how long a generation
    without a reader waits for one, `idempotency_ttl` how long an idempotency key is remembered, and
    `cache_ttl` how long an answer is. The `observers` get the record of each log that this process
    ends."""

    def __init__(
        self,
        logs: Logs,
        retry_policy: RetryPolicy,
        admission: Admission,
        *,
        grace: float,
        idempotency_ttl: float,
        cache_ttl: float,
        observers: Sequence[Observer] = (),
    ) -> None:
        self._logs = logs
        self._retry_policy = retry_policy
        self._admission = admission
        self.circuits = Circuits()
        self._observers = observers
        self._sharing = Sharing(logs, idempotency_ttl, cache_ttl)
        self._idempotency_ttl = idempotency_ttl
        self._producing: dict[asyncio.Task[None], Running] = {}
        self._readers = Readers(logs, grace)
        self.pacer = ReplayPacer()
        self.closing = False
        logs.on_lost(self._lost)

    @property
    def running(self) -> int:
        """How many logs are being written here."""
        return len(self._producing)

    @property
    def idle(self) -> bool:
        """Whether nothing is written or read here, or about to be released."""
        return not self._producing and self._readers.idle

    @property
    def keys(self) -> set[str]:
        """The keys that began what is being written here."""
        keys = {running.generation.key for running in self._producing.values()}
        return {key for key in keys if key is not None}

    async def start(
        self, caller: Caller, request: GenerationRequest, charge: Charge = FREE
    ) -> Generation:
        """Begin what is asked for, or join what was asked for before (see `Sharing`).

        Raises `Overloaded`, `ShuttingDown`, `IdempotencyKeyReused` and what the charge raises."""
        if self.closing:
            raise ShuttingDown("This server process is shutting down. Try again in a second.")
        generation = _generation(caller, request, self._idempotency_ttl)
        pending = PendingLog(self._logs, generation)
        try:
            earlier = await self._sharing.earlier(request, generation, pending.hold)
            if earlier is None:
                await pending.open()
                await charge.reserve()
        except BaseException as error:
            if pending.opened:
                await pending.give_up(error)
            raise
        if earlier is not None:
            if earlier.id != generation.id:
                await pending.forget()
            return earlier
        producer = self._produce(request, generation, charge)
        try:
            await pending.hold()  # the model is asked while a shared store takes the hold
        except BaseException:
            producer.stop("disconnect")  # its log may have no hold yet that could be released
            raise
        return generation

    def _produce(
        self, request: GenerationRequest, generation: Generation, charge: Charge
    ) -> Producer:
        producer = Producer(
            self._logs,
            generation,
            request,
            self._retry_policy,
            self._admission,
            self.circuits,
            charge,
            self._observers,
        )
        task = producer.start()
        self._producing[task] = Running(producer, generation)
        task.add_done_callback(self._producing.pop)
        return producer

    def _lost(self, generation: Generation) -> None:
        """This process has ended a log in place of its writer."""
        gone = ProducerLost("The process that wrote this answer is gone.")
        notify(self._observers, Ended.of(generation, Failed(gone.problem())))

    async def find(self, caller: Caller, generation: str) -> Generation:
        """The caller's generation of this id. Raises `NotFound`, for another owner's too, and
        `Forbidden` when the key lacks the scope of its task."""
        found = await self._logs.find(generation)
        if found is None or found.owner != caller.owner:
            raise NotFound("There is no such generation.")
        caller.check(found.task)
        return found

    async def tail(self, generation: Generation) -> Tail:
        """How far the log has come. Raises `GenerationExpired`."""
        try:
            return await self._logs.tail(generation.log, generation.id)
        except LogGone:
            raise _expired() from None

    async def read(
        self,
        generation: Generation,
        after: int = 0,
        silence: float | None = None,
        eager: Eager | None = None,
        replays: int = 0,
    ) -> AsyncGenerator[Sequence[Entry], None]:
        """Read the log behind `after`, as `Logs.read` does. Raises `GenerationExpired`. Events up
        to number `replays`, and batches of a slow reader, go out at the pace of `pacer`. When the
        generation joins another log, the reader reads on there.

        A reader that stops before the end has left: see `Readers`."""
        self._readers.arrive(generation)
        ended = False
        try:
            while not ended:
                reading = self._logs.read(generation.log, after, silence, generation.id, eager)
                try:
                    async with aclosing(reading) as batches:
                        async for batch in batches:
                            if batch:
                                if batch[0].n == LOST_AT and await self._sharing.moved(generation):
                                    raise LogGone(generation.log)
                                if batch[0].n <= replays or len(batch) >= REPLAY_EVENTS:
                                    await self.pacer.wait()
                                after = batch[-1].n
                            yield batch
                    ended = True
                except LogGone:
                    if (moved := await self._sharing.moved(generation)) is None:
                        raise _expired() from None
                    generation = moved
        finally:
            self._readers.leave(generation, ended)

    def weigh(self, generation: Generation, after: int) -> int | None:
        """The bytes behind `after`, roughly; None when the log is not in this process."""
        return self._logs.weigh(generation.log, after)

    async def events(self, generation: Generation) -> list[Event]:
        """All events up to now, without waiting for more. Raises `GenerationExpired`."""
        tail = await self.tail(generation)
        events: list[Event] = []
        async with aclosing(self._logs.read(generation.log, hold=generation.id)) as batches:
            async for batch in batches:
                events += [entry.event for entry in batch]
                if len(events) >= tail.n:
                    break
        return events

    def outlast_readers(self) -> None:
        """From now on, a reader that leaves ends no log: readers are being sent to another
        process. A cancellation still ends one, and so does the bound of the drain."""
        self._readers.outlast()

    async def cancel(self, generation: Generation) -> None:
        """Release the log, and wait until the generation has its ending. A second call changes
        nothing. Raises `GenerationExpired`."""
        await self._logs.release(generation, "caller")
        try:
            async with aclosing(self._logs.read(generation.log, hold=generation.id)) as batches:
                async for _ in batches:
                    pass
        except LogGone:
            raise _expired() from None

    async def dismiss(self, key: str) -> None:
        """Release what this key began and is being written here: the key may ask no more."""
        for _, generation in list(self._producing.values()):
            if generation.key == key:
                with suppress(StoreUnavailable):
                    await self._logs.release(generation, "revoked")

    async def forget(self, generation: Generation) -> None:
        """Forget the generation now, and its log when no other generation holds it."""
        if not (await self.tail(generation)).ended:
            await self.cancel(generation)  # its readers get their ending before the log goes
        await self._logs.forget(generation)

    async def close(self, within: float) -> None:
        """Take no new work. What runs may end by itself for `within` seconds; then it is ended."""
        self.closing = True
        if self._producing:
            await asyncio.wait(self._producing, timeout=within)
        for running in self._producing.values():
            running.producer.stop("shutdown")
        if self._producing:
            await asyncio.wait(self._producing)


def rfc3339(moment: float) -> str:
    """A moment in seconds since 1970 as the contract writes it: in UTC, to the second."""
    return _rfc3339(int(moment))


@lru_cache(maxsize=256)
def _rfc3339(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _generation(caller: Caller, request: GenerationRequest, idempotency_ttl: float) -> Generation:
    token = secrets.token_urlsafe(16)
    return Generation(
        id=f"gen_{token}",
        log=f"log_{token}",
        owner=caller.owner,
        key=caller.key,
        task=request.task,
        model=request.model,
        created=time.time(),
        metadata=request.metadata,
        on_disconnect=request.on_disconnect,
        digest=request.digest,
        promise=0.0 if request.idempotency_key is None else idempotency_ttl,
    )


def _expired() -> GenerationExpired:
    return GenerationExpired(
        "The server no longer has this answer's events. Send the request again."
    )
