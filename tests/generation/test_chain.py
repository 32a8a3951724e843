"""The rules of a chain: which model is next, on what terms, and with which error it fails."""

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
def test_the_next_model_is_the_first_that_is_ready(
    opened: list[float | None], now: float, index: int
) -> None:
    """The first that stands ready; when none does, the one whose cool-down ends soonest."""
    assert next_of([circuit(it) for it in opened], now) == index


def test_a_model_with_a_running_probe_is_not_ready() -> None:
    """After the cool-down the second request goes to the next model."""
    first = circuit(5.0)
    first.begin(6.0)
    assert next_of([first, circuit(None)], 6.0) == 1


def test_the_last_model_gets_the_whole_budget() -> None:
    """All attempts, the whole budget, a queue as long as that but for one attempt."""
    given_ = terms(retry_policy(attempts=3), 0.0, 45.0, [])
    assert (given_.attempts, given_.until, given_.queue_until) == (3, 45.0, 25.0)


def test_a_model_before_a_ready_one_gets_one_attempt() -> None:
    """One attempt, its share of the budget, and no long wait in its queue."""
    given_ = terms(retry_policy(), 0.0, 45.0, [circuit(None), circuit(None)])
    assert (given_.attempts, given_.until, given_.queue_until) == (1, 15.0, 1.0)


def test_a_model_with_an_open_circuit_is_not_ready() -> None:
    """No other model follows it, so it gets all that is left of the budget."""
    given_ = terms(retry_policy(attempts=3), 0.0, 40.0, [circuit(60.0)])
    assert (given_.attempts, given_.until, given_.queue_until) == (3, 20.0, 10.0)


@given(
    now=st.floats(0, 1000), left=st.floats(0.1, 1000), attempt=st.floats(0.1, 100),
    others=st.lists(st.booleans(), max_size=4),
)  # fmt: skip
def test_a_request_that_leaves_the_queue_has_time_for_an_answer(
    now: float, left: float, attempt: float, others: list[bool]
) -> None:
    """An attempt, or half of the share: the queue must not use up what it waits for."""
    ready = [circuit(None if it else now + 60.0) for it in others]
    given_ = terms(retry_policy(attempt=attempt), now, now + left, ready)
    least = min(attempt, left / (1 + len(others)) / 2)
    assert now < given_.queue_until <= given_.until - least + 1e-6


@given(budget=st.floats(0.1, 1000), models=st.integers(1, 8), used=st.floats(0, 1))
def test_the_shares_add_up_to_the_budget(budget: float, models: int, used: float) -> None:
    """Whatever each model uses of its share, the last one never ends beyond the budget, and each
    has a share."""
    now = 0.0
    for left in range(models, 0, -1):
        until = terms(retry_policy(), now, budget, [circuit(None)] * (left - 1)).until
        assert now < until <= budget * 1.0001
        now += (until - now) * used * 0.99


AWAY, LATE, FULL = UpstreamUnavailable("a"), UpstreamTimeout("l"), Overloaded("f")
GONE, REFUSED = ModelGone("g"), AccessRefused("w")


@pytest.mark.parametrize(
    ("failures", "expected"),
    [
        ([AWAY], AWAY),
        ([GONE], GONE),
        ([AWAY, GONE], AWAY),
        ([GONE, AWAY, REFUSED], AWAY),
        ([AWAY, LATE, REFUSED], LATE),
        ([GONE, REFUSED], REFUSED),
        ([FULL, REFUSED], FULL),
    ],
)
def test_a_chain_fails_with_a_retryable_error(failures: list, expected: Exception) -> None:
    """The last of the failures that may pass by themselves; without any, the last."""
    assert failure_of(failures) is expected


def test_an_error_of_the_caller_is_not_passed_on() -> None:
    """No bad request and no blocked content is retried or passed on."""
    for kind in every_error():
        if issubclass(kind, CallerError):
            assert not issubclass(kind, PASSED_ON), kind
            assert not issubclass(kind, RETRIED), kind
