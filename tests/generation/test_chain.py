"""The rules of a chain: who is next, on what terms, and what it fails for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamapi.errors import (
    AccessRefused,
    CallerError,
    ModelGone,
    Overloaded,
    UpstreamTimeout,
    UpstreamUnavailable,
    every_error,
)
from streamapi.generation.chain import PASSED_ON, RETRIED, failure_of, next_of, terms
from streamapi.generation.health import Circuit, CircuitBounds
from tests.generation.defaults import retry_policy

BOUNDS = CircuitBounds(in_a_row=1)


def circuit(opened: float | None) -> Circuit:
    """A circuit that a refusal opened for so many seconds at the moment 0; closed without."""
    made = Circuit(BOUNDS)
    if opened is not None:
        made.begin(0.0).end("refusal", 0.0, opened)
    return made


@pytest.mark.parametrize(
    ("opened", "now", "index"),
    [
        ([None], 1.0, 0),
        ([5.0], 1.0, 0),
        ([None, None], 1.0, 0),
        ([5.0, None], 1.0, 1),
        ([5.0, None], 5.0, 0),
        ([9.0, 5.0, 7.0], 1.0, 1),
        ([9.0, 5.0, 7.0], 8.0, 1),
        ([None, 5.0], 1.0, 0),
    ],
)
def test_who_is_next(opened: list[float | None], now: float, index: int) -> None:
    """The first that stands ready; when none does, the one whose cool-down ends soonest."""
    assert next_of([circuit(it) for it in opened], now) == index


def test_whose_probe_is_out_does_not_stand_ready() -> None:
    """Behind the cool-down the second request goes to the next model."""
    first = circuit(5.0)
    first.begin(6.0)
    assert next_of([first, circuit(None)], 6.0) == 1


def test_the_last_model_has_all_that_is_left() -> None:
    """All attempts, the whole budget, a queue as long as that but for one attempt."""
    given_ = terms(retry_policy(attempts=3), 0.0, 45.0, [])
    assert (given_.attempts, given_.until, given_.queue_until) == (3, 45.0, 25.0)


def test_while_another_stands_ready_a_model_has_little() -> None:
    """One attempt, its share of the budget, and no long wait in its queue."""
    given_ = terms(retry_policy(), 0.0, 45.0, [circuit(None), circuit(None)])
    assert (given_.attempts, given_.until, given_.queue_until) == (1, 15.0, 1.0)


def test_a_model_that_is_out_of_order_does_not_stand_ready() -> None:
    """Behind it there is nobody to hurry for; but its share of the budget is left to it."""
    given_ = terms(retry_policy(attempts=3), 0.0, 40.0, [circuit(60.0)])
    assert (given_.attempts, given_.until, given_.queue_until) == (3, 20.0, 10.0)


@given(
    now=st.floats(0, 1000), left=st.floats(0.1, 1000), attempt=st.floats(0.1, 100),
    others=st.lists(st.booleans(), max_size=4),
)  # fmt: skip
def test_who_leaves_the_queue_has_time_for_an_answer(
    now: float, left: float, attempt: float, others: list[bool]
) -> None:
    """An attempt, or half of the share: the queue must not use up what it waits for."""
    ready = [circuit(None if it else now + 60.0) for it in others]
    given_ = terms(retry_policy(attempt=attempt), now, now + left, ready)
    least = min(attempt, left / (1 + len(others)) / 2)
    assert now < given_.queue_until <= given_.until - least + 1e-6


@given(budget=st.floats(0.1, 1000), models=st.integers(1, 8), used=st.floats(0, 1))
def test_shares_come_to_the_budget(budget: float, models: int, used: float) -> None:
    """Whatever each model uses of its share, the last one never ends beyond the budget, and each
    has a share."""
    now = 0.0
    for left in range(models, 0, -1):
        until = terms(retry_policy(), now, budget, [circuit(None)] * (left - 1)).until
        assert now < until <= budget * 1.0001
        now += (until - now) * used * 0.99


AWAY, LATE, FULL = UpstreamUnavailable("a"), UpstreamTimeout("l"), Overloaded("f")
GONE, WHO = ModelGone("g"), AccessRefused("w")


@pytest.mark.parametrize(
    ("failures", "told"),
    [
        ([AWAY], AWAY),
        ([GONE], GONE),
        ([AWAY, GONE], AWAY),
        ([GONE, AWAY, WHO], AWAY),
        ([AWAY, LATE, WHO], LATE),
        ([GONE, WHO], WHO),
        ([FULL, WHO], FULL),
    ],
)
def test_a_chain_fails_for_what_may_pass(failures: list, told: Exception) -> None:
    """The last of the failures that may pass by themselves; without any, the last."""
    assert failure_of(failures) is told


def test_what_the_caller_must_mend_stays_with_the_caller() -> None:
    """No bad request and no blocked content is retried or passed on."""
    for kind in every_error():
        if issubclass(kind, CallerError):
            assert not issubclass(kind, PASSED_ON), kind
            assert not issubclass(kind, RETRIED), kind
