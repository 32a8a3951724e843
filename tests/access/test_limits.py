"""The rule of the limits (GCRA), with a clock of our own."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamapi.access import limits
from streamapi.access.limits import Limit, MemoryLimits, Taken


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> MemoryLimits:
    return MemoryLimits(clock)


async def take(store: MemoryLimits, limit: Limit, times: int, key: str = "k") -> list[Taken]:
    return [await store.take(key, limit) for _ in range(times)]


@pytest.mark.parametrize("count", [1, 2, 3, 7, 60, 120, 1000])
@pytest.mark.parametrize("period", [1.0, 60.0, 3600.0, 86_400.0])
async def test_a_burst_of_exactly_the_limit_passes(
    store: MemoryLimits, count: int, period: float
) -> None:
    """All of the limit at once, and not one more; the remaining count is told."""
    taken = await take(store, Limit(count, period), count)
    assert all(state.allowed for state in taken)
    assert [state.remaining for state in taken] == [count - n - 1 for n in range(count)]
    refused = await store.take("k", Limit(count, period))
    assert (refused.allowed, refused.remaining) == (False, 0)


async def test_retry_after_is_when_it_works(store: MemoryLimits, clock: Clock) -> None:
    """Exactly then one request passes; a moment before it does not."""
    limit = Limit(3, 60.0)
    await take(store, limit, 3)
    refused = await store.take("k", limit)
    assert refused.retry_after == pytest.approx(20.0)
    clock.now += refused.retry_after - 0.001
    assert not (await store.take("k", limit)).allowed
    clock.now += 0.002
    assert (await store.take("k", limit)).allowed
    assert not (await store.take("k", limit)).allowed


async def test_a_refusal_costs_nothing(store: MemoryLimits, clock: Clock) -> None:
    """However often one is refused, the wait does not grow."""
    limit = Limit(2, 10.0)
    await take(store, limit, 2)
    waits = {round(state.retry_after, 6) for state in await take(store, limit, 50)}
    assert waits == {5.0}


async def test_reset_is_when_the_limit_is_whole_again(store: MemoryLimits, clock: Clock) -> None:
    """After it a whole burst passes."""
    limit = Limit(4, 8.0)
    state = (await take(store, limit, 3))[-1]
    assert state.reset == pytest.approx(6.0)
    clock.now += state.reset
    assert all(taken.allowed for taken in await take(store, limit, 4))


async def test_keys_do_not_share(store: MemoryLimits) -> None:
    """One caller's burst is no other's."""
    limit = Limit(1, 60.0)
    assert (await store.take("a", limit)).allowed
    assert (await store.take("b", limit)).allowed
    assert not (await store.take("a", limit)).allowed


async def test_many_at_once_are_counted_one_by_one(store: MemoryLimits) -> None:
    """Sixty at the same time against twenty: exactly twenty pass."""
    limit = Limit(20, 3600.0)
    taken = await asyncio.gather(*(store.take("k", limit) for _ in range(60)))
    assert sum(state.allowed for state in taken) == 20


async def test_a_clock_that_goes_back_locks_nobody_out(store: MemoryLimits, clock: Clock) -> None:
    """At worst a caller waits as long as the clock went back."""
    limit = Limit(2, 10.0)
    await store.take("k", limit)
    clock.now -= 5
    state = await store.take("k", limit)
    assert state.allowed or state.retry_after <= 15


async def test_old_keys_give_way(store: MemoryLimits, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of keys has a bound: the one that asked longest ago is forgotten."""
    monkeypatch.setattr(limits, "MOST_KEYS", 10)
    limit = Limit(1, 60.0)
    for n in range(50):
        await store.take(str(n), limit)
    assert len(store._arrivals) == 10
    assert (await store.take("0", limit)).allowed
    assert not (await store.take("49", limit)).allowed


@given(
    count=st.integers(1, 30),
    gaps=st.lists(st.floats(0, 5), min_size=1, max_size=120),
)
async def test_no_window_sees_more_than_a_burst_and_the_rate(count: int, gaps: list[float]) -> None:
    """In any stretch of time at most the limit passes, and what the stretch refills."""
    clock = Clock()
    store, limit = MemoryLimits(clock), Limit(count, 10.0)
    passed: list[float] = []
    for gap in gaps:
        clock.now += gap
        if (await store.take("k", limit)).allowed:
            passed.append(clock.now)
    for first, start in enumerate(passed):
        for last in range(first, len(passed)):
            stretch = passed[last] - start
            assert last - first + 1 <= count + stretch * count / 10.0 + 1e-6
