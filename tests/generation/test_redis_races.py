"""Two processes and one Redis: what may happen at once, and what must come of it.

Each "process" is a `RedisLogs` of its own on the same server; nothing but Redis is between them.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any, Literal

import pytest

from streamapi.errors import ProducerLost
from streamapi.generation.event import Cancelled, Delta, Event, Failed, let_go
from streamapi.generation.generation import Generation
from streamapi.generation.log import LOST_AT, Conflict, Entry, LogGone, Stopped, Tail
from streamapi.generation.log_bounds import LogBounds
from streamapi.generation.redis.logs import RedisLogs
from tests.conftest import RedisServer, until
from tests.generation.defaults import log_bounds
from tests.generation.scripted import generations
from tests.generation.test_generations import all_of
from tests.generation.test_log_contract import DONE, FAILED, START, fresh, hold_on, text

TICK, LEASE = 0.02, 0.6


@asynccontextmanager
async def process(server: RedisServer, bounds: LogBounds | None = None) -> AsyncIterator[RedisLogs]:
    """One process's logs."""
    logs = RedisLogs(
        server.url, bounds or log_bounds(), tick=TICK, lease=LEASE, prefix="races:", timeout=0.3
    )
    await logs.start()
    try:
        yield logs
    finally:
        await logs.aclose()


Pair = tuple[RedisLogs, RedisLogs]


@pytest.fixture
async def pair(redis_server: RedisServer) -> AsyncIterator[Pair]:
    """The process that writes, and one that reads."""
    async with process(redis_server) as here, process(redis_server) as there:
        yield here, there


async def kill(logs: RedisLogs) -> None:
    """End a process's tasks as a signal would: nothing is tidied up."""
    for task in logs._tasks:
        task.cancel()
    await asyncio.gather(*logs._tasks, return_exceptions=True)


async def held(logs: RedisLogs, *more: Event) -> Generation:
    """A generation on a log of its own."""
    log = fresh()
    await logs.append(log, 1, [START])
    if more:
        await logs.append(log, 2, more)
    generation = hold_on(log, owner="someone")
    await logs.hold(generation)
    return generation


async def read_to_end(logs: RedisLogs, generation: Generation, after: int = 0) -> list[Entry]:
    """What a reader of a generation sees behind a cursor, to its end."""
    async with asyncio.timeout(10):
        batches = logs.read(generation.log, after, hold=generation.id)
        return [entry async for batch in batches for entry in batch]


async def following(logs: RedisLogs, generation: Generation, n: int) -> asyncio.Task[list[Entry]]:
    """A reader that has come as far as `n`, and goes on to the end."""
    seen: list[Entry] = []

    async def read() -> list[Entry]:
        async for batch in logs.read(generation.log, hold=generation.id):
            seen.extend(batch)
        return seen

    task = asyncio.create_task(read())
    await until(lambda: len(seen) >= n or task.done(), f"{n} events have come")
    return task


async def eventually(true: Callable[[], Awaitable[Any]], what: str, seconds: float = 5.0) -> None:
    """Wait until an awaited condition is true."""
    end = asyncio.get_running_loop().time() + seconds
    while not await true():
        assert asyncio.get_running_loop().time() < end, f"waited in vain until {what}"
        await asyncio.sleep(0.01)


def lost(entry: Entry) -> bool:
    """Whether it says that the writer is gone."""
    return isinstance(entry.event, Failed) and entry.event.problem.code == ProducerLost.code


async def stall(logs: RedisLogs) -> None:
    """Keep a process from doing anything until it is `resumed`: as if it were swapped out."""
    await kill(logs)


async def resume(logs: RedisLogs) -> None:
    """Let it go on."""
    logs._connection.tried.clear()
    await logs.start()


# One writes, another follows.


@pytest.mark.parametrize("seed", range(4))
async def test_a_log_is_followed_from_any_position(pair: Pair, seed: int) -> None:
    """Readers on another process, cut at any time: the same bytes, no event twice or never."""
    here, there = pair
    chance = random.Random(seed)
    mine = await held(here)
    last = 60

    async def write() -> None:
        n = 2
        while n < last:
            size = min(chance.randint(1, 5), last - n)
            await here.append(mine.log, n, [text(m) for m in range(n, n + size)])
            n += size
            await asyncio.sleep(chance.choice((0, 0.001, 0.01, 0.03)))
        await here.append(mine.log, last, [DONE])

    async def follow(at: int) -> tuple[int, list[Entry]]:
        start, seen = at, list[Entry]()
        while at < last:
            async with aclosing(there.read(mine.log, at)) as batches:
                async for batch in batches:
                    seen += batch
                    at = batch[-1].n
                    if chance.random() < 0.3:
                        break
            await asyncio.sleep(chance.choice((0, 0, 0.02)))
        return start, seen

    async with asyncio.timeout(10):
        followers = [asyncio.create_task(follow(chance.randint(0, last - 1))) for _ in range(12)]
        await write()
        written = await read_to_end(here, mine)
        for start, seen in await asyncio.gather(*followers):
            assert seen == written[start:]


async def test_a_tick_is_one_entry(pair: Pair, redis_server: RedisServer) -> None:
    """However many events come in a tick, Redis gets one entry."""
    here, _ = pair
    mine = await held(here)
    for n in range(2, 102):
        await here.append(mine.log, n, [text(n)])
    await here.append(mine.log, 102, [DONE])
    assert redis_server.ask("XLEN", f"races:log:{mine.log}") <= 4


async def test_an_ending_is_in_redis_before_anybody_sees_it(pair: Pair) -> None:
    """A reader that has seen the ending finds it on every process."""
    here, there = pair
    for _ in range(20):
        mine = await held(here, text(2))
        reading = asyncio.create_task(read_to_end(here, mine))
        await asyncio.sleep(0)
        await here.append(mine.log, 3, [DONE])
        await reading
        assert await there.tail(mine.log) == Tail(3, True)


async def test_a_held_generation_is_found_in_another_process_at_once(pair: Pair) -> None:
    """An id that a client has been given works on every process, from then on."""
    here, there = pair
    for _ in range(20):
        mine = await held(here)
        assert await there.find(mine.id) == mine
        assert (await there.tail(mine.log)).n == 1


async def test_a_finished_log_outlives_its_process(redis_server: RedisServer) -> None:
    """A process that ends in peace leaves its finished logs to others."""
    async with process(redis_server) as there:
        async with process(redis_server) as here:
            mine = await held(here, text(2), DONE)
            written = await read_to_end(here, mine)
        assert await read_to_end(there, mine) == written
        assert await read_to_end(there, mine, after=2) == written[2:]


# A writer that dies, stalls, or only seems to.


async def test_a_killed_writer_is_noticed(redis_server: RedisServer) -> None:
    """Within the lease and a second, followers of a dead writer's log get the ending; and so does
    a reader that comes later, with any cursor."""
    async with process(redis_server) as here, process(redis_server) as there:
        mine = await held(here, text(2))
        reading = await following(there, mine, 2)
        await kill(here)
        began = asyncio.get_running_loop().time()
        seen = await reading
        assert asyncio.get_running_loop().time() - began < LEASE + 1
        assert [entry.n for entry in seen] == [1, 2, LOST_AT]
        assert lost(seen[-1])
        assert await read_to_end(there, mine) == seen
        assert await there.tail(mine.log) == Tail(LOST_AT, True)


async def test_a_cursor_beyond_the_mirror_of_a_dead_writer(redis_server: RedisServer) -> None:
    """What a dead writer showed, but did not mirror, is lost: its reader gets the ending."""
    async with process(redis_server) as here, process(redis_server) as there:
        mine = await held(here)
        await kill(here)
        await here.append(mine.log, 2, [text(2), text(3), text(4)])
        assert len(await _now(here, mine)) == 4
        [entry] = await read_to_end(there, mine, after=4)
        assert lost(entry)
        assert entry.n == LOST_AT


@pytest.mark.parametrize("ahead", [0, 1, 2, 20])
async def test_no_reader_has_seen_the_position_of_a_loss(
    redis_server: RedisServer, ahead: int
) -> None:
    """Two processes find the writer dead at once, a third follows the log: wherever a reader has
    come, it gets one ending, at a position that no event of the writer had."""
    async with (
        process(redis_server) as here,
        process(redis_server) as one,
        process(redis_server) as other,
        process(redis_server) as third,
    ):
        mine = await held(here, text(2))
        following_on = await following(third, mine, 2)
        await kill(here)
        if ahead:
            await here.append(mine.log, 3, [text(n) for n in range(3, 3 + ahead)])
        shown = await _now(here, mine)
        readers = [read_to_end(logs, mine, shown[-1].n) for logs in (one, other, one, other)]
        [[ending], *others] = await asyncio.gather(*readers)
        assert lost(ending)
        assert ending.n not in {entry.n for entry in shown}
        assert others == [[ending]] * 3
        assert (await following_on)[-1] == ending
        for logs in (one, other, third):
            assert await logs.tail(mine.log) == Tail(ending.n, True)
            assert [entry.n for entry in await read_to_end(logs, mine)] == [1, 2, ending.n]
            assert await read_to_end(logs, mine, ending.n) == []
        assert redis_server.ask("XLEN", f"races:log:{mine.log}") <= 3


async def test_a_lost_ending_that_redis_forgot_is_given_back(
    pair: Pair, redis_server: RedisServer
) -> None:
    """A writer whose log another process ended knows that ending: a Redis that is set back to the
    time before gets it again."""
    here, there = pair
    mine = await held(here, text(2))
    await eventually(lambda: _mirrored(there, mine, 2), "Redis has all of it")
    await stall(here)
    ended = await read_to_end(there, mine)
    await resume(here)
    await here.append(mine.log, 3, [text(3)])
    await eventually(lambda: _ended(here, mine), "the writer knows", LEASE + 2)
    last = redis_server.ask("XRANGE", f"races:log:{mine.log}", "-", "+")[-1][0]
    redis_server.ask("XDEL", f"races:log:{mine.log}", last)
    redis_server.ask("HDEL", f"races:meta:{mine.log}", "ended")
    redis_server.ask("HSET", f"races:meta:{mine.log}", "tail", "2")
    await stall(here)
    await resume(here)
    await eventually(lambda: _ended(there, mine), "Redis has the ending again", LEASE + 2)
    assert await read_to_end(there, mine) == ended


async def _mirrored(logs: RedisLogs, generation: Generation, n: int) -> bool:
    return (await logs.tail(generation.log)).n >= n


async def _ended(logs: RedisLogs, generation: Generation) -> bool:
    return (await logs.tail(generation.log)).ended


async def _now(logs: RedisLogs, generation: Generation) -> list[Entry]:
    async with aclosing(logs.read(generation.log)) as batches:
        return list(await anext(batches))


async def test_a_writer_that_wakes_after_its_log_was_ended_is_stopped(pair: Pair) -> None:
    """Taken for dead, a stalled writer writes nothing after the ending, and is stopped; its own
    readers get no clean end either."""
    here, there = pair
    mine = await held(here, text(2))
    stopped: list[Stopped] = []
    here.on_stop(mine.log, stopped.append)
    await stall(here)
    await here.append(mine.log, 3, [text(3), text(4)])
    ended = await read_to_end(there, mine)
    assert lost(ended[-1])
    reading = asyncio.create_task(read_to_end(here, mine))
    await resume(here)
    await until(lambda: stopped, "the writer is stopped")
    assert stopped == ["shutdown"]
    for event in (text(5), DONE):
        with pytest.raises(Conflict):
            await here.append(mine.log, 5, [event])
    assert lost((await reading)[-1])
    assert await read_to_end(there, mine) == ended


async def test_a_second_ending_is_a_conflict(pair: Pair) -> None:
    """A stalled writer that wakes with its `done` in hand does not show it to anyone."""
    here, there = pair
    mine = await held(here, text(2))
    await stall(here)
    ended = await read_to_end(there, mine)
    here._connection.available = True  # it does not know yet that it was away
    ending = asyncio.create_task(here.append(mine.log, 3, [DONE]))
    await asyncio.sleep(0)
    here._connection.available = False
    await resume(here)
    with pytest.raises(Conflict):
        await ending
    assert lost((await read_to_end(here, mine))[-1])
    assert await read_to_end(there, mine) == ended


@pytest.mark.parametrize("answered", [True, False])
async def test_an_ending_on_its_way_lands_though_its_log_is_dropped(
    pair: Pair, answered: bool
) -> None:
    """Redis takes the ending, or its answer is lost: no other process ended the log."""
    here, _ = pair
    mine = await held(here, text(2))
    written = here._mirror.written[mine.log]
    await until(lambda: not written.busy and written.sent == 2, "all is mirrored")
    ending = asyncio.create_task(here.append(mine.log, 3, [DONE]))
    await asyncio.sleep(0)
    here._local.drop(mine.log)
    if not answered:
        here._connection._refuse([])
    await asyncio.wait_for(ending, 2)


async def test_a_lease_that_expires_unnoticed_changes_nothing(pair: Pair) -> None:
    """A writer that was only slow, and whose log no process read meanwhile, goes on."""
    here, there = pair
    mine = await held(here, text(2))
    await stall(here)
    await asyncio.sleep(LEASE + 0.1)
    await resume(here)
    reading = asyncio.create_task(read_to_end(there, mine))
    await here.append(mine.log, 3, [text(3)])
    await here.append(mine.log, 4, [DONE])
    assert [entry.event for entry in await reading] == [START, text(2), text(3), DONE]


async def test_a_silent_writer_is_not_taken_for_dead(pair: Pair) -> None:
    """A model may think for longer than a lease."""
    here, there = pair
    mine = await held(here, text(2))
    reading = asyncio.create_task(read_to_end(there, mine))
    await asyncio.sleep(LEASE * 2)
    await here.append(mine.log, 3, [DONE])
    assert [entry.event for entry in await reading] == [START, text(2), DONE]


# Redis, emptied.


async def test_a_running_log_survives_an_emptied_redis(
    pair: Pair, redis_server: RedisServer
) -> None:
    """What runs is mirrored again from its start: a reader that follows misses nothing, a
    new one finds it, holds and marks are there."""
    here, there = pair
    mine = await held(here, text(2))
    other = Generation(**{**_fields(mine), "id": f"{mine.id}-b"})
    await there.hold(other)
    reading = await following(there, mine, 2)
    redis_server.ask("FLUSHALL")
    await here.append(mine.log, 3, [text(3)])
    await eventually(lambda: _found(there, other), "its holds are known again")
    await there.release(other, "caller")
    assert [entry.event.type for entry in await read_to_end(there, other)][-1] == "cancelled"
    await here.append(mine.log, 4, [text(4), DONE])
    events = [START, text(2), text(3), text(4), DONE]
    assert [entry.event for entry in await reading] == events
    assert [entry.event for entry in await read_to_end(there, mine)] == events


async def test_a_silent_log_survives_an_emptied_redis(
    pair: Pair, redis_server: RedisServer
) -> None:
    """It need not say anything to be mirrored again."""
    here, there = pair
    mine = await held(here, text(2))
    redis_server.ask("FLUSHALL")
    await eventually(lambda: _found(there, mine), "it is there again", LEASE + 1)
    assert len(await _now(there, mine)) == 2


async def test_a_log_lost_with_its_writer_gets_an_ending(
    redis_server: RedisServer,
) -> None:
    """Redis is empty and the writer dead: followers get an ending, later readers `LogGone`."""
    async with process(redis_server) as here, process(redis_server) as there:
        mine = await held(here, text(2))
        reading = await following(there, mine, 2)
        await kill(here)
        redis_server.ask("FLUSHALL")
        assert lost((await reading)[-1])
        assert (await reading)[-1].n == LOST_AT
        with pytest.raises(LogGone):
            await read_to_end(there, mine)


async def _found(logs: RedisLogs, generation: Generation) -> bool:
    try:
        await logs.tail(generation.log)
    except LogGone:
        return False
    return await logs.find(generation.id) is not None


def _fields(generation: Generation) -> dict[str, Any]:
    return {name: getattr(generation, name) for name in generation.__struct_fields__}


# Claims.


async def test_of_claims_on_two_processes_one_wins(pair: Pair) -> None:
    """Forty claim one name at once, on two processes: all learn the same winner."""
    mine = [(logs, await held(logs)) for logs in pair * 20]
    name = mine[0][1].id
    won = await asyncio.gather(*(logs.claim(name, it.id, 60) for logs, it in mine))
    assert len(set(won)) == 1


async def test_a_claim_on_a_log_that_just_failed_is_replaced_once(pair: Pair) -> None:
    """Many see the failure and replace it at once, on two processes: one leads."""
    failed = await held(pair[0], FAILED)
    assert await pair[0].claim(failed.id, failed.id, 60) == failed.id
    mine = [(logs, await held(logs)) for logs in pair * 10]
    won = await asyncio.gather(
        *(logs.claim(failed.id, it.id, 60, replaces=failed.id) for logs, it in mine)
    )
    assert len(set(won)) == 1
    assert won[0] != failed.id


async def test_a_follower_joins_the_log_of_another_process(pair: Pair) -> None:
    """A generation that moves to another's log gives up its own, which goes."""
    here, there = pair
    leader, mine = await held(here, text(2)), await held(there)
    moved = Generation(**{**_fields(mine), "log": leader.log, "cache": "collapsed"})
    await there.hold(moved)
    assert await here.find(mine.id) == moved == await there.find(mine.id)
    with pytest.raises(LogGone):
        await here.tail(mine.log)
    with pytest.raises(LogGone):
        await there.tail(mine.log)
    reading = asyncio.create_task(read_to_end(there, moved))
    await here.append(leader.log, 3, [DONE])
    assert [entry.event for entry in await reading] == [START, text(2), DONE]


@pytest.mark.parametrize("leads", ["here", "there"])
async def test_a_reader_follows_a_generation_to_the_log_that_it_joins(
    pair: Pair, leads: str
) -> None:
    """Two requests with one idempotency key: the second reads the first's own log, on either
    process, when the first joins a log that is shared already."""
    here, there = pair
    leader = await held(here if leads == "here" else there, text(2))
    mine = await held(here)
    readers = [asyncio.create_task(all_of(generations(logs), mine)) for logs in pair]
    await asyncio.sleep(0.1)
    await here.hold(Generation(**{**_fields(mine), "log": leader.log, "cache": "collapsed"}))
    await (here if leads == "here" else there).append(leader.log, 3, [DONE])
    for events in await asyncio.gather(*readers):
        assert events == [START, text(2), DONE]


# Stop, release and forget from elsewhere.


async def test_stop_and_the_last_release_travel(pair: Pair) -> None:
    """Another process stops the writer; a generation that would join then is refused."""
    here, there = pair
    for by_release in (True, False):
        mine = await held(here, text(2))
        stopped: list[Stopped] = []
        here.on_stop(mine.log, stopped.append)
        if by_release:
            await there.release(mine, "disconnect")
        else:
            await there.stop(mine.log, "disconnect")
        with pytest.raises(Conflict):
            await there.hold(hold_on(mine.log, "late"))
        await until(lambda stopped=stopped: stopped, "the writer has to stop")  # type: ignore[misc]
        assert stopped == ["disconnect"]
        await here.append(mine.log, 3, [Cancelled("disconnect")])
        assert (await read_to_end(there, mine))[-1].event == Cancelled("disconnect")


@pytest.mark.parametrize("why", ["caller", "revoked"])
@pytest.mark.parametrize("by", ["here", "there"])
async def test_a_released_generation_ends_in_every_process(
    pair: Pair, by: str, why: Literal["caller", "revoked"]
) -> None:
    """A release on any process ends that generation for its readers on all of them, at the same
    place; the log goes on for the other."""
    here, there = pair
    mine = await held(here, text(2))
    other = hold_on(mine.log, "-b", owner="someone")
    await there.hold(other)
    stopped: list[Stopped] = []
    here.on_stop(mine.log, stopped.append)
    readers = [asyncio.create_task(read_to_end(logs, other)) for logs in pair]
    staying = [asyncio.create_task(read_to_end(logs, mine)) for logs in pair]
    await asyncio.sleep(0.05)
    await (here if by == "here" else there).release(other, why)
    endings = await asyncio.gather(*readers)
    assert endings[0] == endings[1]
    assert endings[0][-1].event == let_go(why)
    await here.append(mine.log, 3, [text(3), DONE])
    for seen in await asyncio.gather(*staying):
        assert seen[-1].event == DONE
    assert stopped == []
    for logs in pair:
        assert await read_to_end(logs, other) == endings[0]
        assert await logs.tail(mine.log, other.id) == Tail(3, True)


async def test_a_released_generation_gets_no_later_events(pair: Pair) -> None:
    """Though it reads in another process, and the writer had gone on before Redis knew: the
    position of its ending is one that it has not seen as an event."""
    here, there = pair
    for _ in range(10):
        mine = await held(here, text(2))
        other = hold_on(mine.log, "-b", owner="someone")
        await there.hold(other)
        reading = await following(there, other, 2)
        written = here._mirror.written[mine.log]
        await until(
            lambda written=written: not written.busy and written.sent == 2, "all is mirrored"
        )  # type: ignore[misc]
        written.busy = True  # as while an append is on its way
        await here.release(other, "caller")
        await here.append(mine.log, 3, [text(3), text(4)])
        written.busy = False
        here._mirror.flush(written)
        seen = await asyncio.wait_for(reading, 5)
        assert [entry.n for entry in seen] == [1, 2, 3]
        assert seen[-1].event == let_go("caller")


async def test_the_last_release_of_two_processes_stops_the_log(pair: Pair) -> None:
    """The writer's own hold may be the first to go."""
    here, there = pair
    mine = await held(here)
    other = hold_on(mine.log, "-b")
    await there.hold(other)
    stopped: list[Stopped] = []
    here.on_stop(mine.log, stopped.append)
    await here.release(mine, "caller")
    await asyncio.sleep(0.05)
    assert stopped == []
    await there.release(other, "disconnect")
    await until(lambda: stopped, "the writer has to stop")
    assert stopped == ["disconnect"]


async def test_a_generation_forgotten_in_another_process_is_forgotten_here(pair: Pair) -> None:
    """A generation that another process forgets is gone from the process that wrote it, and
    from one that had read it."""
    here, there = pair
    for forgetting, other in (pair, (there, here)):
        mine = await held(here, text(2), DONE)
        assert await read_to_end(there, mine) == await read_to_end(here, mine)
        await forgetting.forget(mine)
        assert not await _found(forgetting, mine)
        await eventually(lambda mine=mine, other=other: _gone(other, mine), "it is gone")  # type: ignore[misc]
        with pytest.raises(LogGone):
            await read_to_end(there, mine)


async def _gone(logs: RedisLogs, generation: Generation) -> bool:
    return await logs.find(generation.id) is None and not await _found(logs, generation)


# Bounds.


async def test_every_key_has_a_time_to_live(redis_server: RedisServer) -> None:
    """Whatever was done, every key has a time to live; of what was forgotten none is left."""
    redis_server.ask("FLUSHALL")
    async with process(redis_server) as here, process(redis_server) as there:
        for more in ((), (text(2),), (text(2), DONE), (FAILED,)):
            mine = await held(here, *more)
            other = hold_on(mine.log, "-b")
            await there.hold(other)
            await there.claim(mine.log, mine.id, 60)
            await read_to_end(there, mine) if DONE in more else None
            await there.release(other, "caller")
            await there.stop(mine.log, "caller")
        await there.forget(await held(here, Delta("secret", "text"), DONE))
        await asyncio.sleep(0.1)
        assert _immortal(redis_server) == []
        await kill(there)
    assert _immortal(redis_server) == []


def _immortal(server: RedisServer) -> list[bytes]:
    keys = server.ask("KEYS", "*")
    assert len(keys) > 10
    return [key for key in keys if server.ask("PTTL", key) == -1]  # -2: it has just expired
