"""The laws of `streamapi/generation/log.py`, for every backend there is.

A backend joins by one line in `BACKENDS`: a context manager that takes the bounds of the logs
and gives a `Logs`, and the fixture that it stands on. What passes here may serve.
"""

import asyncio
import gc
import random
import weakref
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from functools import partial
from itertools import count
from typing import Any

import msgspec
import pytest

from streamapi.errors import OutputTooLarge, Overloaded, UpstreamTruncated
from streamapi.generation.event import (
    Cancelled,
    Delta,
    Done,
    Event,
    Failed,
    Label,
    Served,
    Start,
    Timings,
    Usage,
    Wait,
)
from streamapi.generation.generation import Generation
from streamapi.generation.log import LOST_AT, Conflict, Entry, LogGone, Logs, Stopped, Tail
from streamapi.generation.log_bounds import LogBounds
from streamapi.generation.memory_log import MemoryLogs
from streamapi.generation.redis.logs import RedisLogs
from tests.conftest import RedisServer, until
from tests.generation.defaults import log_bounds

Backend = Callable[[LogBounds], AbstractAsyncContextManager[Logs]]


@asynccontextmanager
async def memory(bounds: LogBounds) -> AsyncIterator[Logs]:
    yield MemoryLogs(bounds)


@asynccontextmanager
async def redis(bounds: LogBounds, server: RedisServer) -> AsyncIterator[Logs]:
    logs = RedisLogs(server.url, bounds, prefix=f"contract-{next(_numbers)}:", timeout=0.3)
    await logs.start()
    yield logs
    await logs.aclose()


BACKENDS: dict[str, tuple[Callable[..., Any], str | None]] = {
    "memory": (memory, None),
    "redis": (redis, "redis_server"),
}

START = Start("text", 0.0)
DONE = Done({"text": "all"}, Usage(1, 2), "stop", Served("m"), Timings(), 0.0)
FAILED = Failed(UpstreamTruncated("cut").problem())
CANCELLED = Cancelled("caller")
ENDINGS = pytest.mark.parametrize("ending", [DONE, FAILED, CANCELLED], ids=lambda e: e.type)

_numbers = count(1)


def fresh() -> str:
    return f"log_contract-{next(_numbers)}"


def text(n: int) -> Delta:
    return Delta(f"<{n}>", "text")


def hold_on(log: str, suffix: str = "", owner: str = "anonymous") -> Generation:
    name = log.replace("log_", "gen_", 1) + suffix
    return Generation(id=name, log=log, owner=owner, task="text", model="m", created=1.0)


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    backend, stands_on = BACKENDS[request.param]
    return partial(backend, server=request.getfixturevalue(stands_on)) if stands_on else backend


@pytest.fixture
async def logs(backend: Backend) -> AsyncIterator[Logs]:
    async with backend(log_bounds()) as logs:
        yield logs


async def begun(logs: Logs, *more: Event) -> str:
    """A log that has its start, and what else is given."""
    log = fresh()
    await logs.append(log, 1, [START, *more])
    return log


async def everything(logs: Logs, log: str, after: int = 0) -> list[Entry]:
    """What a reader sees behind a cursor, to the end of the log."""
    async with asyncio.timeout(10):
        return [entry async for batch in logs.read(log, after) for entry in batch]


def numbers(entries: Sequence[Entry]) -> list[int]:
    return [entry.n for entry in entries]


# Law 1: positions are 1..n without a gap; an append succeeds at the tail only.


async def test_positions_count_from_one_without_a_gap(logs: Logs) -> None:
    """Entries are numbered 1..n, however they were appended."""
    log = await begun(logs, text(2), text(3))
    await logs.append(log, 4, [text(4)])
    await logs.append(log, 5, [text(5), text(6), DONE])
    assert numbers(await everything(logs, log)) == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("position", [-1, 0, 1, 2, 4, 5, 1000])
async def test_only_the_position_behind_the_tail_is_taken(logs: Logs, position: int) -> None:
    """An append anywhere but behind the tail is a conflict, and changes nothing."""
    log = await begun(logs, text(2))
    with pytest.raises(Conflict):
        await logs.append(log, position, [text(99)])
    assert await logs.tail(log) == Tail(2, False)
    await logs.append(log, 3, [DONE])
    assert [entry.event for entry in await everything(logs, log)] == [START, text(2), DONE]


async def test_a_log_opens_at_position_one(logs: Logs) -> None:
    """A log that is not there takes nothing but its first event."""
    log = fresh()
    with pytest.raises(Conflict):
        await logs.append(log, 2, [text(2)])
    with pytest.raises(LogGone):
        await logs.tail(log)


async def test_of_two_writers_at_one_position_one_wins(logs: Logs) -> None:
    """Of many appends to one position exactly one succeeds: the others are conflicts."""
    log = await begun(logs)
    for position in range(2, 12):
        tried = await asyncio.gather(
            *(logs.append(log, position, [Delta(f"{n}", "text")]) for n in range(8)),
            return_exceptions=True,
        )
        assert sorted(type(result).__name__ for result in tried) == ["Conflict"] * 7 + ["NoneType"]
    assert await logs.tail(log) == Tail(11, False)


async def test_a_stalled_writer_cannot_go_on_behind_anothers_ending(logs: Logs) -> None:
    """After an ending by someone else, none of a stalled writer's later positions is taken."""
    log = await begun(logs, text(2))
    await logs.append(log, 3, [FAILED])
    for position in (3, 4, 5, 6):
        with pytest.raises(Conflict):
            await logs.append(log, position, [text(position)])
    assert numbers(await everything(logs, log)) == [1, 2, 3]


# Law 2: exactly one ending, and it is last.


@ENDINGS
async def test_nothing_comes_after_an_ending(logs: Logs, ending: Event) -> None:
    """After an ending nothing is taken, not even the same ending."""
    log = await begun(logs, text(2), ending)
    for event in (text(4), ending, DONE):
        with pytest.raises(Conflict):
            await logs.append(log, 4, [event])
    assert await logs.tail(log) == Tail(3, True)
    assert [entry.event for entry in await everything(logs, log)] == [START, text(2), ending]


@pytest.mark.parametrize("batch", [(DONE, text(3)), (DONE, DONE), (FAILED, text(3), CANCELLED)])
async def test_an_ending_inside_a_batch_is_refused(logs: Logs, batch: tuple[Event, ...]) -> None:
    """A batch with anything behind an ending is refused as a whole."""
    log = await begun(logs)
    with pytest.raises(Conflict):
        await logs.append(log, 2, batch)
    assert await logs.tail(log) == Tail(1, False)


async def test_an_ending_that_cannot_be_encoded_leaves_room_for_another(logs: Logs) -> None:
    """Its append fails, and changes nothing."""
    log = await begun(logs)
    with pytest.raises(UnicodeEncodeError):
        await logs.append(log, 2, [msgspec.structs.replace(DONE, result={"text": "\ud800"})])
    await logs.append(log, 2, [FAILED])
    assert (await everything(logs, log))[-1].event == FAILED


async def test_of_many_endings_one_wins(logs: Logs) -> None:
    """When many want to end a log, it has one ending."""
    log = await begun(logs)
    endings = [DONE, FAILED, CANCELLED] * 5
    tried = await asyncio.gather(
        *(logs.append(log, 2, [ending]) for ending in endings), return_exceptions=True
    )
    assert sum(result is None for result in tried) == 1
    assert numbers(await everything(logs, log)) == [1, 2]


# Law 3: past and live are one verb.


async def test_a_reader_gets_the_past_then_the_present(logs: Logs) -> None:
    """A reader that comes in the middle misses nothing and sees nothing twice."""
    log = await begun(logs, text(2), text(3))
    reading = asyncio.create_task(everything(logs, log))
    await asyncio.sleep(0)
    await logs.append(log, 4, [text(4)])
    await logs.append(log, 5, [DONE])
    assert numbers(await reading) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("after", range(5))
async def test_a_cursor_resumes_behind_the_event_it_names(logs: Logs, after: int) -> None:
    """`after` skips exactly the events up to it."""
    log = await begun(logs, text(2), text(3), DONE)
    assert numbers(await everything(logs, log, after)) == [1, 2, 3, 4][after:]


async def test_a_finished_log_is_read_again_and_again(logs: Logs) -> None:
    """Reading takes nothing away."""
    log = await begun(logs, text(2), DONE)
    first = await everything(logs, log)
    assert await everything(logs, log) == first == await everything(logs, log)


async def test_a_cursor_at_the_tail_waits_for_what_comes(logs: Logs) -> None:
    """A reader that has seen all so far waits, and gets the next event alone."""
    log = await begun(logs, text(2))
    reading = asyncio.create_task(everything(logs, log, after=2))
    await asyncio.sleep(0)
    assert not reading.done()
    await logs.append(log, 3, [DONE])
    assert [entry.event for entry in await reading] == [DONE]


async def test_a_cursor_ahead_of_a_living_writer_waits(logs: Logs) -> None:
    """A cursor beyond the tail of a log that grows gets what comes behind the cursor."""
    log = await begun(logs)
    reading = asyncio.create_task(everything(logs, log, after=3))
    for n in (2, 3, 4):
        await asyncio.sleep(0)
        await logs.append(log, n, [text(n)])
    await logs.append(log, 5, [DONE])
    assert numbers(await reading) == [4, 5]


@pytest.mark.parametrize("ahead", [1, 2, 1_000_000])
@ENDINGS
async def test_a_cursor_beyond_a_finished_log_gets_producer_lost(
    logs: Logs, ahead: int, ending: Event
) -> None:
    """A cursor behind the end is no clean end and no silence: the answer was lost."""
    log = await begun(logs, text(2), ending)
    [entry] = await everything(logs, log, after=3 + ahead)
    assert isinstance(entry.event, Failed)
    assert entry.event.problem.code == "producer_lost"
    assert entry.n == LOST_AT > 3 + ahead
    assert await everything(logs, log, after=LOST_AT) == []


async def test_a_waiting_cursor_gets_producer_lost_when_the_log_ends_before_it(logs: Logs) -> None:
    """A reader that waits ahead of the writer learns that its event will never come."""
    log = await begun(logs)
    reading = asyncio.create_task(everything(logs, log, after=10))
    await asyncio.sleep(0)
    await logs.append(log, 2, [DONE])
    [entry] = await reading
    assert isinstance(entry.event, Failed)
    assert entry.event.problem.code == "producer_lost"


async def test_reading_an_unknown_log_raises(logs: Logs) -> None:
    """A log that is not there is `LogGone`, for every verb that reads."""
    with pytest.raises(LogGone):
        await logs.tail(fresh())
    with pytest.raises(LogGone):
        await everything(logs, fresh())


async def test_a_reader_takes_all_that_has_come_in_one_batch(logs: Logs) -> None:
    """A slow reader gets one bigger batch, not a queue of small ones."""
    log = await begun(logs)
    async with aclosing(logs.read(log)) as batches:
        assert numbers(await anext(batches)) == [1]
        for n in range(2, 40):
            await logs.append(log, n, [text(n)])
        assert numbers(await anext(batches)) == list(range(2, 40))


async def test_no_batch_is_empty_without_a_silence(logs: Logs) -> None:
    """An empty batch means silence; without a `silence` there is none."""
    log = await begun(logs, *(text(n) for n in range(2, 3000)), DONE)
    sizes = [len(batch) async for batch in logs.read(log)]
    assert min(sizes) > 0
    assert sum(sizes) == 3000


async def test_a_replay_lets_other_tasks_run(logs: Logs) -> None:
    """A long log read from memory does not keep the loop to itself."""
    log = await begun(logs, *(text(n) for n in range(2, 20_000)), DONE)
    reading = asyncio.create_task(everything(logs, log))
    passes = 0
    while not reading.done():
        passes += 1
        await asyncio.sleep(0)
    assert passes > 5
    assert len(await reading) == 20_000


async def test_an_eager_reader_takes_entries_in_the_writers_task(logs: Logs) -> None:
    """While it waits, its task wakes up only for the ending."""
    log = await begun(logs)
    taken: list[int] = []

    def eager(entries: Sequence[Entry]) -> bool:
        taken.extend(numbers(entries))
        return True

    async with aclosing(logs.read(log, eager=eager)) as batches:
        assert numbers(await anext(batches)) == [1]
        waiting = asyncio.ensure_future(anext(batches))
        await asyncio.sleep(0)
        for n in range(2, 5):
            await logs.append(log, n, [text(n)])
        assert taken == [2, 3, 4]
        await logs.append(log, 5, [DONE])
        assert numbers(await waiting) == [5]
    assert taken == [2, 3, 4]


async def test_declined_entries_come_with_those_that_follow(logs: Logs) -> None:
    """A reader whose peer is slow gets nothing more at once: it takes all when it wakes up."""
    log = await begun(logs)
    offered: list[int] = []

    def behind(entries: Sequence[Entry]) -> bool:
        offered.extend(numbers(entries))
        return False

    async with aclosing(logs.read(log, 1, eager=behind)) as batches:
        waiting = asyncio.ensure_future(anext(batches))
        await asyncio.sleep(0)
        for n in range(2, 6):
            await logs.append(log, n, [text(n)])
        assert offered == [2]
        assert numbers(await waiting) == [2, 3, 4, 5]


async def test_an_eager_reader_gets_silences(logs: Logs) -> None:
    """What it takes eagerly puts the silence off; when nothing comes, it is woken as any other."""
    log = await begun(logs)
    async with aclosing(logs.read(log, 1, silence=0.02, eager=lambda entries: True)) as batches:
        waiting = asyncio.ensure_future(anext(batches))
        await asyncio.sleep(0)
        for n in range(2, 6):
            await logs.append(log, n, [text(n)])
        assert await waiting == ()


async def test_a_silence_is_an_empty_batch(logs: Logs) -> None:
    """Without an event for `silence` seconds a reader is woken by an empty batch, each time."""
    log = await begun(logs)
    async with aclosing(logs.read(log, 1, silence=0.01)) as batches:
        assert [len(await anext(batches)) for _ in range(3)] == [0, 0, 0]
        await logs.append(log, 2, [DONE])
        assert numbers(await anext(batches)) == [2]
        with pytest.raises(StopAsyncIteration):
            await anext(batches)


async def test_a_log_with_events_is_not_silent(logs: Logs) -> None:
    """Events that come faster than `silence` leave no room for an empty batch."""
    log = await begun(logs)
    batches: list[Sequence[Entry]] = []

    async def read() -> None:
        async for batch in logs.read(log, 1, silence=0.5):
            batches.append(batch)

    reading = asyncio.create_task(read())
    for n in range(2, 200):
        await logs.append(log, n, [text(n)])
        await asyncio.sleep(0)
    await logs.append(log, 200, [DONE])
    await reading
    assert all(batches)


@pytest.mark.parametrize("seed", range(12))
async def test_no_interleaving_loses_or_repeats_an_event(logs: Logs, seed: int) -> None:
    """Whenever readers come, from wherever they resume, however often they drop and return:
    each sees k+1..n, once, in order, and then the end."""
    chance = random.Random(seed)
    log = await begun(logs)
    last = chance.randint(30, 120)

    async def nap() -> None:
        for _ in range(chance.choice((0, 0, 1, 1, 2, 5))):
            await asyncio.sleep(0)

    async def write() -> None:
        n = 2
        while n < last:
            size = min(chance.randint(1, 7), last - n)
            await logs.append(log, n, [text(m) for m in range(n, n + size)])
            n += size
            await nap()
        await logs.append(log, last, [DONE])

    async def follow(cursor: int) -> tuple[int, list[int]]:
        for _ in range(chance.randint(0, 20)):
            await nap()
        seen: list[int] = []
        at = cursor

        def eager(entries: Sequence[Entry]) -> bool:
            if chance.random() < 0.3:
                return False  # its peer is behind
            seen.extend(numbers(entries))
            return True

        how = chance.choice((None, eager))
        while at < last:
            silence = chance.choice((None, 5.0))
            async with aclosing(logs.read(log, at, silence, eager=how)) as batches:
                async for batch in batches:
                    seen += numbers(batch)
                    if chance.random() < 0.2:
                        break  # the connection drops; it resumes from what it saw
                    await nap()
            at = seen[-1] if seen else at
        return cursor, seen

    async with asyncio.timeout(10):
        readers = [asyncio.create_task(follow(chance.randint(0, last - 1))) for _ in range(20)]
        await write()
        for cursor, seen in await asyncio.gather(*readers):
            assert seen == list(range(cursor + 1, last + 1))


async def test_hundreds_of_readers_read_one_log(logs: Logs) -> None:
    """Five hundred readers see the same events, and the very same bytes."""
    log = await begun(logs)
    readers = [asyncio.create_task(everything(logs, log)) for _ in range(500)]
    await asyncio.sleep(0)
    for n in range(2, 30):
        await logs.append(log, n, [text(n)])
        await asyncio.sleep(0)
    await logs.append(log, 30, [DONE])
    seen = await asyncio.gather(*readers)
    assert all(numbers(entries) == list(range(1, 31)) for entries in seen)
    assert all(entries == seen[0] for entries in seen)


async def test_an_event_is_encoded_once_for_all(logs: Logs) -> None:
    """Shared events carry their JSON; what belongs to one caller is left to the reader."""
    log = await begun(logs, Wait("retry", 2, 0.5, "m"), text(3), Label("a", 0.5), DONE)
    data = [entry.data for entry in await everything(logs, log)]
    assert data[0] == b"" == data[4]
    assert data[1] == b'{"reason":"retry","attempt":2,"delay":0.5,"model":"m"}'
    assert data[2] == b'{"text":"<3>","part":"text"}'
    assert data[3] == b'{"label":"a","score":0.5}'


async def test_a_cancelled_reader_does_not_disturb_the_others(logs: Logs) -> None:
    """Readers that leave while they wait take nothing from those that stay."""
    log = await begun(logs)
    leaving = [asyncio.create_task(everything(logs, log)) for _ in range(50)]
    staying = asyncio.create_task(everything(logs, log))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    for reader in leaving:
        reader.cancel()
    await asyncio.wait(leaving)
    assert all(reader.cancelled() for reader in leaving)
    await logs.append(log, 2, [DONE])
    assert numbers(await staying) == [1, 2]


async def test_a_reader_that_left_leaves_nothing_behind(logs: Logs) -> None:
    """A thousand readers that come to a hanging log and go again do not add up."""
    log = await begun(logs)
    gone: list[weakref.ref[asyncio.Task[list[Entry]]]] = []
    for _ in range(1000):
        reading = asyncio.create_task(everything(logs, log, after=1))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait({reading})
        gone.append(weakref.ref(reading))
        del reading
    gc.collect()
    assert sum(reader() is not None for reader in gone) == 0
    for stored in getattr(logs, "_logs", {}).values():
        assert len(stored.waiting) == 0


async def test_a_reader_closed_in_a_silence_leaves_no_timer(logs: Logs) -> None:
    """Closing a reader ends its alarm: its object is freed."""
    log = await begun(logs)
    batches = logs.read(log, 1, silence=60.0)
    waiting = asyncio.ensure_future(anext(batches))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait({waiting})
    await batches.aclose()
    gone = weakref.ref(batches)
    del batches, waiting
    gc.collect()
    assert gone() is None


# Law 4: names, by compare-and-set.


async def held(logs: Logs, *more: Event) -> str:
    """A generation on a log of its own."""
    generation = hold_on(await begun(logs, *more))
    await logs.hold(generation)
    return generation.id


async def test_the_first_claim_wins(logs: Logs) -> None:
    """A name points at the first generation that claimed it."""
    first, second = await held(logs), await held(logs)
    assert await logs.claim(f"n/{first}", first, 60) == first
    assert await logs.claim(f"n/{first}", second, 60) == first
    assert await logs.claim(f"n/{first}", first, 60) == first
    assert await logs.claim(f"n/{second}", second, 60) == second


async def test_of_many_claims_at_once_one_wins(logs: Logs) -> None:
    """Fifty claim one name at once: all learn the same winner."""
    mine = [await held(logs) for _ in range(50)]
    won = await asyncio.gather(*(logs.claim(f"n/{mine[0]}", log, 60) for log in mine))
    assert len(set(won)) == 1


async def test_a_claim_is_replaced_by_compare_and_set(logs: Logs) -> None:
    """`replaces` moves a name only when it still points where the caller saw it point."""
    failed = await held(logs, FAILED)
    second, third = await held(logs), await held(logs)
    name = f"n/{failed}"
    await logs.claim(name, failed, 60)
    assert await logs.claim(name, second, 60, replaces=failed) == second
    assert await logs.claim(name, third, 60, replaces=failed) == second


async def test_of_many_replacements_one_wins(logs: Logs) -> None:
    """Fifty replace one failed claim at once: one does, the others join it."""
    failed = await held(logs, FAILED)
    name = f"n/{failed}"
    await logs.claim(name, failed, 60)
    mine = [await held(logs) for _ in range(50)]
    won = await asyncio.gather(*(logs.claim(name, log, 60, replaces=failed) for log in mine))
    assert len(set(won)) == 1
    assert won[0] in mine


async def test_a_name_is_looked_up_without_a_claim(logs: Logs) -> None:
    """A look-up returns the generation that a name points at, and changes nothing."""
    mine = await held(logs)
    name = f"n/{mine}"
    assert await logs.claimed(name) is None
    assert await logs.claim(name, mine, 60) == mine
    assert await logs.claimed(name) == mine


async def test_a_claim_ends(logs: Logs) -> None:
    """After its time a name is free."""
    first, second = await held(logs, DONE), await held(logs)
    name = f"n/{first}"
    await logs.claim(name, first, 0.02)

    async with asyncio.timeout(5):
        while await logs.claim(name, second, 60) != second:
            await asyncio.sleep(0.002)


async def test_a_replaced_claim_has_a_time_of_its_own(logs: Logs) -> None:
    """The time of a claim that was replaced does not end its successor."""
    failed, second, third = await held(logs, FAILED), await held(logs), await held(logs)
    name, other = f"n/{failed}", f"other/{failed}"
    await logs.claim(name, failed, 0.02)
    await logs.claim(name, second, 60, replaces=failed)
    await logs.claim(other, failed, 0.03)
    async with asyncio.timeout(5):
        while await logs.claim(other, third, 60) != third:
            await asyncio.sleep(0.002)
    assert await logs.claim(name, third, 60) == second


# Holds.


class Writer:
    """The writer of a log, and the reasons for which it was stopped."""

    def __init__(self, logs: Logs, log: str) -> None:
        self.stops: list[Stopped] = []
        logs.on_stop(log, self.stops.append)


async def test_the_last_hold_that_goes_stops_the_writer(logs: Logs) -> None:
    """A log is written while anyone holds it; then its writer learns why it should stop."""
    log = await begun(logs)
    writer = Writer(logs, log)
    mine, yours = hold_on(log, "a"), hold_on(log, "b")
    await logs.hold(mine)
    await logs.hold(yours)
    await logs.release(mine, "disconnect")
    assert writer.stops == []
    await logs.release(yours, "caller")
    await until(lambda: writer.stops, "the writer has to stop")
    assert writer.stops == ["caller"]


async def test_a_second_release_changes_nothing(logs: Logs) -> None:
    """One holder that lets go twice does not let go for another."""
    log = await begun(logs)
    writer = Writer(logs, log)
    mine, yours = hold_on(log, "a"), hold_on(log, "b")
    await logs.hold(mine)
    await logs.hold(yours)
    await logs.release(mine, "caller")
    await logs.release(mine, "caller")
    assert writer.stops == []


async def test_stopping_reaches_the_writer(logs: Logs) -> None:
    """`stop` stops the writer, holds or not."""
    log = await begun(logs)
    writer = Writer(logs, log)
    await logs.hold(hold_on(log))
    await logs.stop(log, "shutdown")
    await until(lambda: writer.stops, "the writer has to stop")
    assert writer.stops == ["shutdown"]


async def test_a_finished_log_is_not_stopped(logs: Logs) -> None:
    """After an ending, no writer is stopped."""
    log = await begun(logs)
    writer = Writer(logs, log)
    generation = hold_on(log)
    await logs.hold(generation)
    await logs.append(log, 2, [DONE])
    await logs.release(generation, "caller")
    await logs.stop(log, "caller")
    assert writer.stops == []
    assert await logs.tail(log) == Tail(2, True)


async def test_what_is_behind_a_cursor_is_weighed(logs: Logs) -> None:
    """Roughly: all of a log weighs what its events have and more, nothing is behind its tail, and
    its ending weighs what its result does."""
    log = await begun(logs, *(Delta("x" * 1000, "text") for _ in range(20)))
    whole, half = logs.weigh(log, 0), logs.weigh(log, 11)
    assert whole is not None
    assert half is not None
    assert 20_000 < whole < 30_000
    assert whole * 0.4 < half < whole * 0.6
    assert logs.weigh(log, 21) == logs.weigh(log, 1000) == 0
    result = {"text": "x" * 20_000}
    await logs.append(log, 22, [msgspec.structs.replace(DONE, result=result)])
    ending = logs.weigh(log, 21)
    assert ending is not None
    assert 20_000 < ending < 22_000
    assert logs.weigh(log, 22) == 0
    assert logs.weigh(fresh(), 0) is None


async def test_a_finished_log_outlives_its_holds(logs: Logs) -> None:
    """Letting go of a log that has ended leaves it readable for its time."""
    log = await begun(logs, DONE)
    generation = hold_on(log)
    await logs.hold(generation)
    await logs.release(generation, "disconnect")
    assert numbers(await everything(logs, log)) == [1, 2]
    assert await logs.find(generation.id) == generation


async def test_a_generation_is_found_as_it_was_held(logs: Logs) -> None:
    """`find` gives back all that was said of a generation, and None for what never was."""
    log = await begun(logs)
    generation = Generation(
        id="gen_" + log,
        log=log,
        owner="someone",
        task="text",
        model="m",
        created=1.5,
        metadata={"a": "\u2028é"},
        digest="d",
        cache="hit",
        on_disconnect="continue",
    )
    await logs.hold(generation)
    assert await logs.find(generation.id) == generation
    assert await logs.find("gen_never-was") is None


async def as_seen_by(logs: Logs, generation: Generation, after: int = 0) -> list[Entry]:
    """What a reader of one generation sees behind a cursor, to its end."""
    async with asyncio.timeout(10):
        batches = logs.read(generation.log, after, hold=generation.id)
        return [entry async for batch in batches for entry in batch]


async def shared(logs: Logs, *more: Event) -> tuple[str, Generation, Generation]:
    """A log that two hold."""
    log = await begun(logs, *more)
    mine, yours = hold_on(log, "a"), hold_on(log, "b")
    await logs.hold(mine)
    await logs.hold(yours)
    return log, mine, yours


@pytest.mark.parametrize(("why", "ending"), [("caller", "cancelled"), ("revoked", "failed")])
async def test_a_generation_that_is_released_early_has_its_own_ending(
    logs: Logs, why: Stopped, ending: str
) -> None:
    """Of two generations on a log, the one that is released ends where the log stands, in past and
    in present; the other reads on to the log's own ending."""
    log, mine, yours = await shared(logs, text(2))
    reading = [asyncio.create_task(as_seen_by(logs, mine, after)) for after in (0, 1, 2)]
    other = asyncio.create_task(as_seen_by(logs, yours))
    await asyncio.sleep(0)
    await logs.release(mine, why)
    seen = await asyncio.gather(*reading)
    assert [numbers(entries) for entries in seen] == [[1, 2, 3], [2, 3], [3]]
    assert {entries[-1].event.type for entries in seen} == {ending}
    await logs.append(log, 3, [text(3)])
    await logs.append(log, 4, [DONE])
    assert [entry.event for entry in await other] == [START, text(2), text(3), DONE]


async def test_the_ending_of_a_released_generation_stays(logs: Logs) -> None:
    """A later reader of a released generation sees the same, however the log went on."""
    log, mine, yours = await shared(logs, text(2))
    await logs.release(mine, "disconnect")
    before = await as_seen_by(logs, mine)
    await logs.append(log, 3, [text(3), DONE])
    assert await as_seen_by(logs, mine) == before
    assert await logs.tail(log, mine.id) == Tail(3, True)
    assert await logs.tail(log, yours.id) == Tail(4, True)
    assert await as_seen_by(logs, mine, after=3) == []


async def test_a_cursor_beyond_the_ending_of_a_release_gets_producer_lost(
    logs: Logs,
) -> None:
    """As beyond any ending: the event was never this generation's."""
    log, mine, _ = await shared(logs, text(2))
    await logs.release(mine, "caller")
    await logs.append(log, 3, [text(3), text(4), text(5)])
    [entry] = await as_seen_by(logs, mine, after=5)
    assert isinstance(entry.event, Failed)
    assert entry.event.problem.code == "producer_lost"
    assert entry.n == LOST_AT


async def test_a_release_after_the_ending_changes_nothing(logs: Logs) -> None:
    """What was done stays done, for every holder."""
    log, mine, yours = await shared(logs)
    await logs.append(log, 2, [DONE])
    await logs.release(mine, "caller")
    await logs.release(yours, "caller")
    for generation in (mine, yours):
        assert [entry.event for entry in await as_seen_by(logs, generation)] == [START, DONE]


async def test_a_log_that_is_gone_cannot_be_held(logs: Logs) -> None:
    """A hold on a log that is not there is refused."""
    with pytest.raises(LogGone):
        await logs.hold(hold_on(fresh()))


async def test_forgetting_drops_the_generation_and_its_log(logs: Logs) -> None:
    """After `forget` neither can be found."""
    log = await begun(logs, DONE)
    generation = hold_on(log)
    await logs.hold(generation)
    await logs.forget(generation)
    assert await logs.find(generation.id) is None
    with pytest.raises(LogGone):
        await logs.tail(log)


async def test_forgetting_leaves_the_log_to_other_holders(logs: Logs) -> None:
    """A log goes when its last holder forgets it, not before."""
    log = await begun(logs, DONE)
    mine, yours = hold_on(log, "a"), hold_on(log, "b")
    await logs.hold(mine)
    await logs.hold(yours)
    await logs.forget(mine)
    assert await logs.find(mine.id) is None
    assert await logs.find(yours.id) == yours
    assert numbers(await everything(logs, log)) == [1, 2]
    await logs.forget(yours)
    with pytest.raises(LogGone):
        await logs.tail(log)


async def test_a_second_forget_changes_nothing(logs: Logs) -> None:
    """The second time there is nothing left to do."""
    log = await begun(logs, DONE)
    generation = hold_on(log)
    await logs.hold(generation)
    await logs.forget(generation)
    await logs.forget(generation)


async def test_a_reader_in_a_forgotten_log_reads_to_its_end(logs: Logs) -> None:
    """A reader of a finished log that is forgotten still sees how it ended."""
    log = await begun(logs, *(text(n) for n in range(2, 2000)), DONE)
    generation = hold_on(log)
    await logs.hold(generation)
    seen: list[int] = []
    async with aclosing(logs.read(log)) as batches:
        seen += numbers(await anext(batches))
        await logs.forget(generation)
        async for batch in batches:
            seen += numbers(batch)
    assert seen == list(range(1, 2001))


@pytest.mark.parametrize("how", ["joined", "forgotten"])
async def test_a_reader_does_not_wait_in_a_log_that_was_dropped(logs: Logs, how: str) -> None:
    """A log loses its last hold before it has an ending: its readers learn that it is gone."""
    log = await begun(logs)
    mine = hold_on(log)
    await logs.hold(mine)
    reading = asyncio.create_task(everything(logs, log))
    await asyncio.sleep(0.05)
    if how == "joined":
        other = await held(logs)
        await logs.hold(msgspec.structs.replace(mine, log=other.replace("gen_", "log_", 1)))
    else:
        await logs.forget(mine)
    with pytest.raises(LogGone):
        await asyncio.wait_for(reading, 2)


async def test_forgetting_frees_the_name_that_pointed_there(logs: Logs) -> None:
    """A claim on a forgotten generation gives way: a name never points at nothing."""
    log, other = await begun(logs, DONE), await held(logs)
    generation = hold_on(log)
    await logs.hold(generation)
    await logs.claim(f"n/{log}", generation.id, 60)
    await logs.forget(generation)
    assert await logs.claim(f"n/{log}", other, 60) == other


# Law 5: everything ends, and every bound has its fate.


async def gone(logs: Logs, log: str) -> None:
    """Wait until a log has expired."""
    async with asyncio.timeout(5):
        while True:
            try:
                await logs.tail(log)
            except LogGone:
                return
            await asyncio.sleep(0.002)


async def fill(logs: Logs, log: str, event: Event) -> int:
    """Append an event again and again; the position at which it was too much."""
    for n in range(2, 100):
        try:
            await logs.append(log, n, [event])
        except OutputTooLarge:
            return n
    raise AssertionError("nothing was too much")


async def test_a_log_expires_after_its_ending(backend: Backend) -> None:
    """A finished log lives for its time; its generation is remembered longer (410), then gone."""
    async with backend(log_bounds(ttl=0.02, expired_ttl=0.1)) as logs:
        log = await begun(logs)
        generation = hold_on(log)
        await logs.hold(generation)
        await logs.append(log, 2, [DONE])
        await gone(logs, log)
        assert await logs.find(generation.id) == generation
        async with asyncio.timeout(5):
            while await logs.find(generation.id) is not None:
                await asyncio.sleep(0.002)


async def test_a_running_log_does_not_expire(backend: Backend) -> None:
    """The time of a log begins with its ending, not with its start."""
    async with backend(log_bounds(ttl=0.02)) as logs:
        running, finished = await begun(logs), await begun(logs, DONE)
        await gone(logs, finished)
        assert await logs.tail(running) == Tail(1, False)


async def test_a_log_has_a_bound_of_bytes(backend: Backend) -> None:
    """Content beyond the bound is refused and leaves no trace; the ending always fits."""
    async with backend(log_bounds(max_bytes=5000)) as logs:
        log = await begun(logs)
        n = await fill(logs, log, Delta("x" * 500, "text"))
        assert 2 < n < 12
        assert await logs.tail(log) == Tail(n - 1, False)
        await logs.append(log, n, [Delta("y" * 400, "text"), FAILED])
        assert await logs.tail(log) == Tail(n + 1, True)


async def test_one_event_can_be_too_large(backend: Backend) -> None:
    """A single event beyond the bound is refused as many small ones are."""
    async with backend(log_bounds(max_bytes=5000)) as logs:
        log = await begun(logs)
        with pytest.raises(OutputTooLarge):
            await logs.append(log, 2, [Delta("x" * 6000, "text")])
        assert await logs.tail(log) == Tail(1, False)


async def test_a_log_has_a_bound_of_events(backend: Backend) -> None:
    """A log never has more content than its bound of events; the ending always fits."""
    async with backend(log_bounds(max_events=10)) as logs:
        log = await begun(logs)
        n = await fill(logs, log, text(2))
        await logs.append(log, n, [FAILED])
        assert n <= 10
        assert numbers(await everything(logs, log)) == list(range(1, n + 1))


async def test_of_too_many_logs_the_oldest_finished_one_gives_way(backend: Backend) -> None:
    """At the bound of logs, the one that ended first is forgotten, whenever it began."""
    async with backend(log_bounds(max_logs=3)) as logs:
        running = await begun(logs)
        second, third = await begun(logs), await begun(logs)
        await logs.append(third, 2, [DONE])
        await logs.append(second, 2, [DONE])
        newest = await begun(logs)
        with pytest.raises(LogGone):
            await logs.tail(third)
        for log in (running, second, newest):
            assert await logs.tail(log)


async def test_one_running_log_too_many_is_overloaded(backend: Backend) -> None:
    """When none is finished, another log is refused; one that ends makes room."""
    async with backend(log_bounds(max_logs=3)) as logs:
        running = [await begun(logs) for _ in range(3)]
        with pytest.raises(Overloaded):
            await begun(logs)
        await logs.append(running[1], 2, [CANCELLED])
        newest = await begun(logs)
        assert await logs.tail(newest) == Tail(1, False)
        assert await logs.tail(running[0]) == Tail(1, False)


async def test_all_logs_together_have_a_bound_of_bytes(backend: Backend) -> None:
    """Beyond it the oldest finished logs give way; when all run, a new one is refused."""
    async with backend(log_bounds(max_total_bytes=20_000)) as logs:
        finished = [await begun(logs, Delta("x" * 3000, "text"), DONE) for _ in range(3)]
        newest = await begun(logs, Delta("x" * 9_000, "text"))  # stored as text and as JSON
        with pytest.raises(Overloaded):
            await begun(logs)
        assert await logs.tail(newest) == Tail(2, False)
        for log in finished:
            with pytest.raises(LogGone):
                await logs.tail(log)


async def finished(logs: Logs, owner: str, size: int = 10, promise: float = 0.0) -> str:
    """A finished log of an owner's."""
    log = await begun(logs, Delta("x" * size, "text"))
    generation = msgspec.structs.replace(hold_on(log, owner=owner), promise=promise)
    await logs.hold(generation)
    await logs.append(log, 3, [DONE])
    return log


BOUNDS = pytest.mark.parametrize(
    "bounds", [log_bounds(max_logs=10), log_bounds(max_total_bytes=40_000)], ids=["logs", "bytes"]
)


@BOUNDS
async def test_the_owner_with_the_most_logs_loses_one(backend: Backend, bounds: LogBounds) -> None:
    """An owner that fills the memory loses its own logs, not the older one of another owner."""
    async with backend(bounds) as logs:
        theirs = await finished(logs, "neighbour")
        mine = [await finished(logs, "me") for _ in range(40)]
        assert await logs.tail(theirs) == Tail(3, True)
        assert await logs.tail(mine[-1]) == Tail(3, True)
        with pytest.raises(LogGone):
            await logs.tail(mine[0])


@BOUNDS
async def test_a_log_with_an_idempotency_key_goes_last(backend: Backend, bounds: LogBounds) -> None:
    """Of one owner's logs, those without an idempotency key give way first."""
    async with backend(bounds) as logs:
        keyed = await finished(logs, "me", promise=3600.0)
        mine = [await finished(logs, "me") for _ in range(40)]
        assert await logs.tail(keyed) == Tail(3, True)
        with pytest.raises(LogGone):
            await logs.tail(mine[0])


async def test_each_hold_is_counted_with_the_bytes_that_it_takes(backend: Backend) -> None:
    """Generations on one log have a bound of bytes too, with what the caller gave with them."""
    async with backend(log_bounds(max_total_bytes=60_000)) as logs:
        log = await finished(logs, "me")

        async def hold_often() -> None:
            for n in range(100):
                more = hold_on(log, f"-{n}", owner="me")
                await logs.hold(msgspec.structs.replace(more, metadata={"note": "x" * 500}))

        with pytest.raises(LogGone):  # it gave way itself: nothing else was finished
            await hold_often()


async def test_forgetting_gives_the_room_back(backend: Backend) -> None:
    """A thousand logs, begun and forgotten, fit where three may be at once."""
    async with backend(log_bounds(max_logs=3, max_total_bytes=50_000)) as logs:
        for n in range(1000):
            log = await begun(logs, Delta("x" * 1000, "text"))
            generation = hold_on(log)
            await logs.hold(generation)
            if n % 2:
                await logs.append(log, 3, [DONE])
            await logs.forget(generation)
        assert await logs.tail(await begun(logs)) == Tail(1, False)
