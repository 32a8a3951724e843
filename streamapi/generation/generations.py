"""Generations: each is one caller's hold on a log. Start one, find it, read it, let it go.

Who reads matters for one thing only: a generation that nobody reads any more may be let go of
(`on_disconnect`). A log outlives the request that began it; its last hold is what keeps its
writer writing.
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
    IdempotencyKeyReused,
    NotFound,
    ProducerLost,
    ShuttingDown,
    StoreUnavailable,
    StreamapiError,
)
from streamapi.generation.admission import Admission
from streamapi.generation.chain import RetryPolicy
from streamapi.generation.charge import FREE, Charge
from streamapi.generation.ended import Ended, Observer, notify
from streamapi.generation.event import Event, Failed, Timings
from streamapi.generation.generation import Generation
from streamapi.generation.health import Circuits
from streamapi.generation.log import Conflict, Eager, Entry, LogGone, Logs, Tail
from streamapi.generation.producer import Producer
from streamapi.generation.replay_pacer import ReplayPacer
from streamapi.generation.request import Caller, GenerationRequest
from streamapi.generation.sharing import Begin, PendingLog, Sharing

PILE = 64
"""Events that make a batch a replay, though its reader has only been slow."""


class Running(NamedTuple):
    """A log that is written here."""

    producer: Producer
    generation: Generation


class Generations:
    """All generations of this process. `grace` is how many seconds a generation without a
    reader waits for one to come back; `key_ttl` how many an idempotency key is remembered, and
    `cache_ttl` an answer. `observers` get the record of each log that ends by this process."""

    def __init__(
        self,
        logs: Logs,
        retry_policy: RetryPolicy,
        grace: float,
        key_ttl: float = 3600.0,
        cache_ttl: float = 3600.0,
        turns: Admission | None = None,
        observers: Sequence[Observer] = (),
    ) -> None:
        self._logs = logs
        self._retry_policy = retry_policy
        self._turns = turns or Admission()
        self.circuits = Circuits()
        self._observers = observers
        logs.on_lost(self._lost)
        self._grace = grace
        self._sharing = Sharing(logs, key_ttl, cache_ttl)
        self._key_ttl = key_ttl
        self._producing: dict[asyncio.Task[None], Running] = {}
        self._readers: dict[str, int] = {}
        self._graces: dict[str, asyncio.TimerHandle] = {}
        self._letting_go: set[asyncio.Future[None]] = set()
        self._outlasting = False
        self.pacer = ReplayPacer()
        self.closing = False

    @property
    def running(self) -> int:
        """How many logs are being written here."""
        return len(self._producing)

    @property
    def keys(self) -> set[str]:
        """The keys that began what is being written here."""
        keys = {running.generation.key for running in self._producing.values()}
        return {key for key in keys if key is not None}

    async def start(
        self, caller: Caller, ask: GenerationRequest, charge: Charge = FREE
    ) -> Generation:
        """Begin what is asked for, or join what was asked for before (see `Sharing`).

        Raises `Overloaded`, `ShuttingDown`, `IdempotencyKeyReused` and what the charge raises."""
        if self.closing:
            raise ShuttingDown("This process takes no new work.")
        mine = _generation(caller, ask, self._key_ttl)
        own = PendingLog(self._logs, mine)
        try:
            earlier = await self._asked_before(ask, mine, own.hold)
            if earlier is None:
                await own.open()
                await charge.reserve()
        except BaseException as error:
            if own.opened:
                await self._give_up(mine, ask, error)
            raise
        if earlier is not None:
            if own.opened and earlier.id != mine.id:
                await self._logs.forget(mine)
            return earlier
        producer = self._produce(ask, mine, charge)
        try:
            await own.hold()  # the model is asked while others are told
        except BaseException:
            producer.stop("disconnect")  # its log may have no hold yet that could be let go of
            raise
        return mine

    def _produce(self, ask: GenerationRequest, mine: Generation, charge: Charge) -> Producer:
        producer = Producer(
            self._logs,
            mine,
            ask,
            self._retry_policy,
            self._turns,
            self.circuits,
            charge,
            self._observers,
        )
        task = producer.start()
        self._producing[task] = Running(producer, mine)
        task.add_done_callback(self._producing.pop)
        return producer

    async def _give_up(
        self, mine: Generation, ask: GenerationRequest, error: BaseException
    ) -> None:
        """End a log that nobody will write. Who joined it meanwhile is told why; and so is who
        repeats its idempotency key, for which it is kept."""
        lost = ProducerLost("The request that began this answer was broken off.")
        problem = (error if isinstance(error, StreamapiError) else lost).problem()
        with suppress(StoreUnavailable, Conflict):
            await self._logs.append(mine.log, 2, [Failed(problem)])
            notify(self._observers, Ended.of(mine, Failed(problem), _age(mine)))
        if ask.idempotency_key is None or isinstance(error, IdempotencyKeyReused):
            with suppress(StoreUnavailable):
                await self._logs.forget(mine)

    def _lost(self, generation: Generation) -> None:
        """This process has ended a log in place of its writer."""
        ending = Failed(ProducerLost("The process that wrote this answer is gone.").problem())
        notify(self._observers, Ended.of(generation, ending, _age(generation)))

    async def _asked_before(
        self, ask: GenerationRequest, mine: Generation, begin: Begin
    ) -> Generation | None:
        if ask.idempotency_key is not None:
            earlier = await self._sharing.repeated(ask, mine, begin)
            if earlier is not None:
                return earlier
        if ask.cache == "off":
            return None
        try:
            return await self._sharing.joined(ask, mine, begin)
        except StoreUnavailable:
            return None  # sharing saves; without the store, the model is asked

    async def find(self, caller: Caller, generation: str) -> Generation:
        """The caller's generation of this id. Raises `NotFound`, for another's too, and
        `Forbidden` where the key is not for its task."""
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
        """The log behind `after`, as `Logs.read` has it. Raises `GenerationExpired`. What is there
        up to number `replays`, and whatever has piled up, comes when `pacer` says so.

        Who stops reading before the end has left, and `on_disconnect` says what follows."""
        readers = self._readers[generation.id] = self._readers.get(generation.id, 0) + 1
        if readers == 1:
            self._logs.arrive(generation)
        if generation.id in self._graces:
            self._graces.pop(generation.id).cancel()
        ended = False
        try:
            async with aclosing(
                self._logs.read(generation.log, after, silence, generation.id, eager)
            ) as batches:
                async for batch in batches:
                    if batch and (batch[0].n <= replays or len(batch) >= PILE):
                        await self.pacer.turn()
                    yield batch
            ended = True
        except LogGone:
            raise _expired() from None
        finally:
            self._leave(generation, ended)

    def weigh(self, generation: Generation, after: int) -> int | None:
        """The bytes behind `after`, roughly; None where the log is not in this process."""
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

    def _leave(self, generation: Generation, ended: bool) -> None:
        left = self._readers.pop(generation.id) - 1
        if left:
            self._readers[generation.id] = left
        elif ended or self._outlasting:
            return
        elif generation.on_disconnect == "cancel":
            self._let_go(generation)
        elif generation.on_disconnect == "grace":
            self._graces[generation.id] = asyncio.get_running_loop().call_later(
                self._grace, self._let_go, generation
            )

    def _let_go(self, generation: Generation) -> None:
        self._graces.pop(generation.id, None)
        task = asyncio.ensure_future(self._logs.release(generation, "disconnect"))
        self._letting_go.add(task)
        task.add_done_callback(self._letting_go.discard)

    def outlast_readers(self) -> None:
        """From here on nobody's leaving ends a log: readers are being sent to another process.
        Only who asks for it ends one, or the bound of the drain."""
        self._outlasting = True
        while self._graces:
            self._graces.popitem()[1].cancel()

    async def cancel(self, generation: Generation) -> None:
        """Let go of the log, and wait until it has its ending. Doing it twice is doing it once."""
        await self._logs.release(generation, "caller")
        try:
            async with aclosing(self._logs.read(generation.log, hold=generation.id)) as batches:
                async for _ in batches:
                    pass
        except LogGone:
            raise _expired() from None

    async def dismiss(self, key: str) -> None:
        """Let go of what this key began and is being written here: it may ask no more."""
        for _, generation in list(self._producing.values()):
            if generation.key == key:
                with suppress(StoreUnavailable):
                    await self._logs.release(generation, "revoked")

    async def forget(self, generation: Generation) -> None:
        """Forget the generation now; its log too, when nobody else holds it."""
        if not (await self.tail(generation)).ended:
            await self.cancel(generation)  # its readers are told before it goes
        await self._logs.forget(generation)

    async def close(self, within: float) -> None:
        """Take no new work, let what runs end by itself `within` seconds, then end the rest."""
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


def _generation(caller: Caller, ask: GenerationRequest, key_ttl: float) -> Generation:
    token = secrets.token_urlsafe(16)
    return Generation(
        id=f"gen_{token}",
        log=f"log_{token}",
        owner=caller.owner,
        key=caller.key,
        task=ask.task,
        model=ask.model,
        created=time.time(),
        metadata=ask.metadata,
        on_disconnect=ask.on_disconnect,
        digest=ask.digest,
        promise=0.0 if ask.idempotency_key is None else key_ttl,
    )


def _age(generation: Generation) -> Timings:
    return Timings(total_ms=max(0, round((time.time() - generation.created) * 1000)))


def _expired() -> GenerationExpired:
    return GenerationExpired("The log of this generation has been forgotten.")
