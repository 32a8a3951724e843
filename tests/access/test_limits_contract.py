"""The contract of every backend of the limits, memory and a real Redis, with the test's clock."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from streamapi.access.limits import Decision, Limit, Limits, MemoryLimits, Slots, Want
from streamapi.access.redis_limits import RedisLimits
from tests.access.conftest import Clock
from tests.conftest import RedisServer

HOUR = Limit(20, 3600.0)


@pytest.fixture(params=["memory", "redis"])
async def store(request: pytest.FixtureRequest, clock: Clock) -> AsyncIterator[Limits]:
    store: Limits = MemoryLimits(clock)
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        store = RedisLimits(server.url, 0.3, prefix=f"{uuid4().hex}:", clock=clock)
    await store.start()
    yield store
    await store.aclose()


async def take(store: Limits, limit: Limit, times: int = 1, cost: int = 1) -> list[Decision]:
    return [(await store.take(Want("k", limit, cost)))[0] for _ in range(times)]


@pytest.mark.parametrize("count", [1, 3, 7, 120, 400])
@pytest.mark.parametrize("period", [1.0, 60.0, 86_400.0])
async def test_a_burst_of_exactly_the_limit_passes(
    store: Limits, count: int, period: float
) -> None:
    """All of the limit passes at once, and not one unit more; each decision says what remains."""
    taken = await take(store, Limit(count, period), count)
    assert all(state.allowed for state in taken)
    assert [state.remaining for state in taken] == [count - n - 1 for n in range(count)]
    [refused] = await take(store, Limit(count, period))
    assert (refused.allowed, refused.remaining) == (False, 0)


@pytest.mark.parametrize("cost", [1, 7, 20])
async def test_after_retry_after_the_request_passes(store: Limits, clock: Clock, cost: int) -> None:
    """The same request passes exactly then, and not a moment before."""
    await take(store, HOUR, 20)
    [refused] = await take(store, HOUR, cost=cost)
    assert refused.retry_after == pytest.approx(180.0 * cost)
    clock.now += refused.retry_after - 2.5
    assert not (await take(store, HOUR, cost=cost))[0].allowed
    clock.now += 2.5
    assert (await take(store, HOUR, cost=cost))[0].allowed
    assert not (await take(store, HOUR))[0].allowed


async def test_a_refusal_costs_nothing(store: Limits) -> None:
    """The wait does not grow, however many requests are refused."""
    limit = Limit(2, 10.0)
    await take(store, limit, 2)
    waits = {round(state.retry_after, 6) for state in await take(store, limit, 50)}
    assert waits == {5.0}


async def test_reset_is_when_the_limit_is_whole_again(store: Limits, clock: Clock) -> None:
    """Then a whole burst passes."""
    limit = Limit(4, 8.0)
    state = (await take(store, limit, 3))[-1]
    assert state.reset == pytest.approx(6.0)
    clock.now += state.reset
    assert all(taken.allowed for taken in await take(store, limit, 4))


async def test_keys_do_not_share(store: Limits) -> None:
    """The burst of one caller takes nothing from another."""
    limit = Limit(1, 60.0)
    for key in ("a", "b"):
        assert [it.allowed for it in await store.take(Want(key, limit))] == [True]
    assert [it.allowed for it in await store.take(Want("a", limit))] == [False]


async def test_requests_at_once_are_counted_one_by_one(store: Limits) -> None:
    """Of sixty requests at the same time exactly twenty pass."""
    taken = await asyncio.gather(*(store.take(Want("k", HOUR)) for _ in range(60)))
    assert sum(state.allowed for [state] in taken) == 20


async def test_a_clock_that_goes_back_locks_nobody_out(store: Limits, clock: Clock) -> None:
    """At worst a caller waits as long as the clock went back."""
    limit = Limit(2, 10.0)
    await take(store, limit)
    clock.now -= 5
    [state] = await take(store, limit)
    assert state.allowed or state.retry_after <= 15


async def test_all_or_nothing(store: Limits) -> None:
    """When one limit refuses, nothing is taken from the others, and no slot."""
    wants = (Want("a", HOUR), Want("b", Limit(1, 60.0)), Want("s", Slots(5), name="x"))
    assert all(it.allowed for it in await store.take(*wants))
    refused = await store.take(*wants)
    assert [it.allowed for it in refused] == [True, False, True]
    [left] = await store.take(Want("a", HOUR))
    assert left.remaining == 18
    [free] = await store.take(Want("s", Slots(5), name="y"))
    assert free.remaining == 3


async def test_a_cost_above_the_limit_counts_as_the_whole_limit(store: Limits) -> None:
    """It could never pass otherwise."""
    [state] = await take(store, HOUR, cost=5000)
    assert (state.allowed, state.remaining) == (True, 0)
    [refused] = await take(store, HOUR, cost=5000)
    assert refused.retry_after == pytest.approx(3600.0)


async def test_a_cost_of_zero_takes_nothing(store: Limits, clock: Clock) -> None:
    """It tells what remains of a limit that is whole, begun or used up."""
    for taken, left in ((0, 20), (5, 15), (15, 0)):
        await take(store, HOUR, taken)
        [state, again] = await take(store, HOUR, 2, cost=0)
        assert state.remaining == again.remaining == left
    assert HOUR.wait(state.reset) == pytest.approx(180.0)
    clock.now += 180.0
    [state] = await take(store, HOUR, cost=0)
    assert state.remaining == 1


async def test_an_estimate_is_settled(store: Limits, clock: Clock) -> None:
    """The difference is taken or given back, even beyond the limit, and never below zero."""
    await take(store, HOUR, cost=15)
    store.settle("k", HOUR, -13)
    [state] = await take(store, HOUR)
    assert state.remaining == 17
    store.settle("k", HOUR, 37)  # 40 in all: twice the limit
    [refused] = await take(store, HOUR)
    assert refused.retry_after == pytest.approx(3600.0 + 180.0)
    store.settle("k", HOUR, -1000)
    assert sum(it.allowed for it in await take(store, HOUR, 21)) == 20


async def test_slots_are_held_until_released(store: Limits, clock: Clock) -> None:
    """No time frees a slot; a second release of one slot changes nothing."""
    for name in ("a", "b"):
        [state] = await store.take(Want("s", Slots(2), name=name))
        assert state.allowed
    [refused] = await store.take(Want("s", Slots(2), name="c"))
    assert (refused.allowed, refused.retry_after) == (False, 1.0)
    store.release("s", "a")
    store.release("s", "a")
    store.release("s", "never")
    taken = [await store.take(Want("s", Slots(2), name=name)) for name in ("c", "d")]
    assert [state.allowed for [state] in taken] == [True, False]
