"""The memory backend of the limits: its bound of keys, and what GCRA promises in any window."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamapi.access import limits
from streamapi.access.limits import Decision, Limit, MemoryLimits, Want, refundable
from tests.access.conftest import Clock


async def allowed(store: MemoryLimits, key: str, limit: Limit) -> bool:
    [decision] = await store.take(Want(key, limit))
    return decision.allowed


async def test_the_oldest_key_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of keys is bounded."""
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
    """In any window at most the limit passes, and what the window refills."""
    clock = Clock()
    store, limit = MemoryLimits(clock), Limit(count, 10.0)
    passed: list[float] = []
    for gap in gaps:
        clock.now += gap
        if await allowed(store, "k", limit):
            passed.append(clock.now)
    for first, start in enumerate(passed):
        for last in range(first, len(passed)):
            window = passed[last] - start
            assert last - first + 1 <= count + window * count / 10.0 + 2 * limits.ROUNDING


@pytest.mark.parametrize(("elapsed", "left"), [(0.0, 10), (30.0, 10), (45.0, 5), (70.0, 0)])
def test_units_that_have_leaked_are_not_refunded(elapsed: float, left: int) -> None:
    """Ten units that were taken after ten others leak last."""
    limit = Limit(20, 60.0)
    decision = Decision(True, 0, 0.0, 60.0)
    assert refundable(10, limit, decision, elapsed) == left
