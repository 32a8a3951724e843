"""The record of a log that has ended: one per log, by the process that ended it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field

import msgspec
import pytest

from streamapi.errors import RateLimited, StoreUnavailable, UpstreamUnavailable
from streamapi.generation.ended import Ended
from streamapi.generation.event import Done, Event, Failed, Timings, Usage
from streamapi.generation.generation import Generation
from streamapi.generation.log import Conflict, Logs
from streamapi.generation.memory_log import MemoryLogs
from streamapi.generation.redis.logs import RedisLogs
from streamapi.generation.request import Caller
from tests.conftest import RedisServer, until
from tests.generation.defaults import log_bounds, memory_logs
from tests.generation.scripted import END, QUICK, Pause, Scripted, generations, say
from tests.generation.test_generations import all_of, ask, hanging, quick
from tests.generation.test_redis_races import kill, process, resume

ME = Caller("me", key="key_mine")
LASTING = msgspec.structs.replace(QUICK, idle=60.0, total=60.0)
AWAY = UpstreamUnavailable("away")


@dataclass
class Charged:
    """A charge that keeps what it was settled for, and may refuse."""

    refusal: BaseException | None = None
    settled: list[Ended] = field(default_factory=list)

    async def reserve(self) -> None:
        if self.refusal is not None:
            raise self.refusal

    def settle(self, ended: Ended) -> None:
        self.settled.append(ended)


class Observed:
    """The generations of one process, and the records that its observers got."""

    def __init__(self, logs: Logs) -> None:
        self.logs = logs
        self.records: list[Ended] = []
        observers = [self.fail, self.records.append]
        self.generations = generations(logs, LASTING, observers=observers)

    def fail(self, ended: Ended) -> None:
        raise RuntimeError("a bug in an observer")

    @property
    def outcomes(self) -> list[str]:
        return [record.outcome for record in self.records]


@pytest.fixture(params=["memory", "redis"])
async def here(request: pytest.FixtureRequest) -> AsyncIterator[Observed]:
    """One process, on each backend."""
    if request.param == "memory":
        yield Observed(memory_logs())
        return
    async with process(request.getfixturevalue("redis_server")) as logs:
        yield Observed(logs)


async def ending(observed: Observed, generation: Generation) -> Event:
    return (await all_of(observed.generations, generation))[-1]


async def test_a_record_says_how_a_log_ended(here: Observed) -> None:
    """It has the generation, the model that served it, its times and its usage."""
    model, other = Scripted([AWAY]), Scripted([*say("a"), END], name="other")
    request = ask(model, other)
    generation = await here.generations.start(ME, request)
    done = await ending(here, generation)
    await until(lambda: here.records, "it is recorded")
    [record] = here.records
    assert isinstance(done, Done)
    assert record.generation == generation
    assert (generation.owner, generation.key, generation.task) == ("me", "key_mine", "text")
    assert (record.outcome, record.finish_reason) == ("done", "stop")
    assert (generation.model, record.model, generation.cache) == ("m", "scripted-001", "miss")
    assert (record.usage, record.timings) == (Usage(3, 7, 1), done.timings)
    assert (record.attempts, record.fallbacks) == (2, 1)


async def test_each_attempt_is_counted(here: Observed) -> None:
    """Of a model that answers at the third time."""
    model = Scripted([AWAY], [AWAY], [*say("a"), END])
    await ending(here, await here.generations.start(ME, ask(model)))
    await until(lambda: here.records, "it is recorded")
    assert (here.records[0].attempts, here.records[0].fallbacks) == (3, 0)


async def test_a_failure_is_recorded_with_its_code(here: Observed) -> None:
    """It has the usage so far, and the model only if that served content."""
    cut = Scripted([*say("a"), AWAY], name="cut")
    for model in (cut, Scripted([AWAY])):
        await ending(here, await here.generations.start(ME, ask(model)))
    await until(lambda: len(here.records) == 2, "both are recorded")
    assert here.outcomes == ["upstream_interrupted", "upstream_unavailable"]
    assert [record.model for record in here.records] == ["cut", None]
    assert all(record.finish_reason is None for record in here.records)


async def test_a_cancelled_log_is_recorded_once(here: Observed) -> None:
    """However often it is cancelled."""
    generation = await here.generations.start(ME, ask(hanging()))
    for _ in range(2):
        await here.generations.cancel(generation)
    await until(lambda: here.generations.running == 0, "it has ended")
    assert here.outcomes == ["cancelled"]


async def test_a_shared_log_is_recorded_once(here: Observed) -> None:
    """By the generation that began it."""
    shared = {"cache": "use", "cache_key": "shared"}
    first, second = [await here.generations.start(ME, ask(hanging(), **shared)) for _ in range(2)]
    await ending(here, second)
    await until(lambda: here.generations.running == 0, "it has ended")
    assert (first.log, second.cache) == (second.log, "collapsed")
    assert [record.generation for record in here.records] == [first]


async def test_a_shutdown_is_recorded(here: Observed) -> None:
    """Of a log that still runs then."""
    await here.generations.start(ME, ask(hanging()))
    await here.generations.close(0.0)
    assert here.outcomes == ["shutting_down"]


@pytest.mark.parametrize("error", [RateLimited("", retry_after=1.0), asyncio.CancelledError()])
async def test_a_start_without_a_producer_is_not_recorded(
    here: Observed, error: BaseException
) -> None:
    """The charge refuses it, or its caller leaves: nothing was reserved. Its log has an ending."""
    charge = Charged(error)
    with pytest.raises(type(error)):
        await here.generations.start(ME, ask(quick(), idempotency_key="k"), charge)
    assert not here.records
    assert not charge.settled


class Taken(MemoryLogs):
    """Logs in which another process ends every log first."""

    async def append(self, log: str, position: int, events: list[Event]) -> None:  # type: ignore[override]
        if isinstance(events[-1], Done | Failed):
            raise Conflict(log)
        await super().append(log, position, events)


async def test_an_ending_lost_to_another_process_is_not_recorded() -> None:
    """The other one is. What the model used is settled all the same."""
    here, charge = Observed(Taken(log_bounds())), Charged()
    await here.generations.start(ME, ask(quick()), charge)
    await until(lambda: here.generations.running == 0, "the producer is through")
    assert not here.records
    assert [record.usage for record in charge.settled] == [Usage(3, 7, 1)]


# Two processes.


async def lost(here: Observed, there: Observed) -> Generation:
    """A generation whose writer is gone, and that is read in another process."""
    generation = await here.generations.start(ME, ask(Scripted([*say("a"), Pause()])))
    await until(lambda: here.generations._logs.weigh(generation.log, 1), "it has content")
    reading = asyncio.create_task(ending(there, generation))
    await asyncio.sleep(0.1)
    assert isinstance(here.logs, RedisLogs)
    await kill(here.logs)
    failed = await reading
    assert isinstance(failed, Failed)
    assert failed.problem.code == "producer_lost"
    return generation


async def test_a_log_whose_writer_is_gone_is_recorded_once(redis_server: RedisServer) -> None:
    """By one of the processes that read it; and not by its writer, should that come back."""
    async with (
        process(redis_server) as one,
        process(redis_server) as two,
        process(redis_server) as three,
    ):
        here, there, beyond = (Observed(logs) for logs in (one, two, three))
        generation = await lost(here, there)
        await ending(beyond, generation)
        await resume(one)
        await here.generations.close(0.0)
        assert not here.records + beyond.records
        [record] = there.records
        assert record.generation == generation
        assert (record.generation.key, record.outcome) == ("key_mine", "producer_lost")
        assert record.timings == Timings()


async def test_many_readers_record_a_lost_log_once(redis_server: RedisServer) -> None:
    """Of the processes that find it at once, one wins."""
    async with (
        process(redis_server) as one,
        process(redis_server) as two,
        process(redis_server) as three,
    ):
        here, *others = (Observed(logs) for logs in (one, two, three))
        generation = await here.generations.start(ME, ask(Scripted([*say("a"), Pause()])))
        reading = [asyncio.create_task(ending(it, generation)) for it in others for _ in range(3)]
        await asyncio.sleep(0.1)
        await kill(one)
        await asyncio.gather(*reading)
        assert [*others[0].outcomes, *others[1].outcomes] == ["producer_lost"]
        await here.generations.close(0.0)


async def test_a_lost_answer_loses_no_record(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis ended the log, and its answer did not arrive: the script runs again."""
    async with process(redis_server) as one, process(redis_server) as two:
        here, there = Observed(one), Observed(two)
        answered, answers = two._orphans._answered, []

        def swallow(log: str, answer: object) -> None:
            answers.append(answer)
            answered(log, StoreUnavailable("away") if len(answers) == 1 else answer)

        monkeypatch.setattr(two._orphans, "_answered", swallow)
        await lost(here, there)
        await until(lambda: there.records, "it is recorded")
        assert there.outcomes == ["producer_lost"]
        assert len(answers) >= 2
        await here.generations.close(0.0)


async def test_two_calls_that_end_a_log_at_once_record_it_once(redis_server: RedisServer) -> None:
    """Redis answers the first, and the answer to the second is lost."""
    async with process(redis_server) as one, process(redis_server) as two:
        here, there = Observed(one), Observed(two)
        generation = await here.generations.start(ME, ask(Scripted([*say("a"), Pause()])))
        await kill(one)
        await until(lambda: not redis_server.ask("EXISTS", f"races:lease:{one.process}"), "it died")
        orphans, answered, calls = two._orphans, two._orphans._answered, []

        def lose_the_second(log: str, answer: object) -> None:
            calls.append(log)
            answered(log, StoreUnavailable("away") if len(calls) == 2 else answer)

        orphans._answered = lose_the_second  # type: ignore[method-assign]
        for _ in range(2):
            orphans.end(generation.log)
        await until(lambda: there.records, "it is recorded")
        for _ in range(2):
            orphans.retry()
            await two._follower.look(generation.log)
        assert there.outcomes == ["producer_lost"]
        await here.generations.close(0.0)


async def test_a_reader_that_leaves_ends_a_log_once(here: Observed) -> None:
    """It is let go of after its grace."""
    generation = await here.generations.start(ME, ask(hanging()))
    async with aclosing(here.generations.read(generation)) as batches:
        async for batch in batches:
            if batch[-1].n > 1:
                break
    await until(lambda: here.generations.running == 0, "it is let go of")
    assert here.outcomes == ["cancelled"]
