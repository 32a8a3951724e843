"""The rule of the limits (GCRA) in memory: its bound of keys, and its promise in any stretch."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamapi.access import limits
from streamapi.access.limits import Limit, MemoryLimits, Taken, Want, left_of
from tests.access.test_limits_contract import Clock


async def allowed(store: MemoryLimits, key: str, limit: Limit) -> bool:
    [taken] = await store.take(Want(key, limit))
    return taken.allowed


async def test_old_keys_give_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of keys has a bound: the one that asked longest ago is forgotten."""
    monkeypatch.setattr(limits, "MOST_KEYS", 10)
    store, limit = MemoryLimits(), Limit(1, 60.0)
    for n in range(50):
        assert await allowed(store, str(n), limit)
    assert len(store._arrivals) == 10
    assert await allowed(store, "0", limit)
    assert not await allowed(store, "49", limit)


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
        if await allowed(store, "k", limit):
            passed.append(clock.now)
    for first, start in enumerate(passed):
        for last in range(first, len(passed)):
            stretch = passed[last] - start
            assert last - first + 1 <= count + stretch * count / 10.0 + 2 * limits.ROUNDING


@pytest.mark.parametrize(("elapsed", "left"), [(0.0, 10), (30.0, 10), (45.0, 5), (70.0, 0)])
def test_only_what_has_not_flowed_off_is_given_back(elapsed: float, left: int) -> None:
    """Ten taken behind twenty others: those twenty flow off first."""
    limit = Limit(20, 60.0)
    taken = Taken(True, 0, 0.0, 60.0)
    assert left_of(10, limit, taken, elapsed) == left
