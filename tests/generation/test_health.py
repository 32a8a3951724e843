"""The circuit of a model: when it opens, for how long, and that one probe goes through."""

import itertools

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from streamapi.errors import every_error
from streamapi.generation.health import (
    SLICES,
    Circuit,
    CircuitBounds,
    Circuits,
    Outcome,
    Trial,
    outcome_of,
)

BOUNDS = CircuitBounds()


def new() -> Circuit:
    """A circuit with the default bounds and no jitter."""
    return Circuit(BOUNDS, jitter=lambda: 0.0)


def go(circuit: Circuit, outcome: Outcome, now: float, wait: float | None = None) -> bool:
    return circuit.begin(now).end(outcome, now, wait)


def failed(circuit: Circuit, times: int, now: float = 0.0) -> Circuit:
    for _ in range(times):
        go(circuit, "failure", now)
    return circuit


def test_five_failures_in_a_row_open_it() -> None:
    """Four do not, and a success in between begins anew."""
    circuit = failed(new(), 4)
    go(circuit, "success", 0.0)
    failed(circuit, 4)
    assert circuit.until is None
    assert go(circuit, "failure", 0.0)
    assert circuit.until == 5.0


def test_more_than_half_of_ten_open_it() -> None:
    """Of ten requests within the window five may fail, and six may not."""
    circuit = new()
    for _ in range(5):
        go(circuit, "success", 1.0)
        go(circuit, "failure", 1.0)
    assert circuit.until is None
    go(circuit, "failure", 1.0)
    assert circuit.until is not None


def test_outcomes_older_than_the_window_do_not_count() -> None:
    """Failures that lie apart are the ordinary course of things."""
    circuit = new()
    for n in range(100):
        go(circuit, "failure", n * 10.0)
        go(circuit, "success", n * 10.0 + 0.1)
        go(circuit, "failure", n * 10.0 + 0.2)
    assert circuit.until is None


@pytest.mark.parametrize(("wait", "seconds"), [(None, 30.0), (7.0, 7.0), (1e9, 3600.0)])
def test_a_refusal_opens_it_at_once(wait: float | None, seconds: float) -> None:
    """For the provider's wait, else half a minute."""
    circuit = new()
    assert go(circuit, "refusal", 1.0, wait)
    assert circuit.until == 1.0 + seconds


def test_a_later_deadline_wins() -> None:
    """A longer refusal extends the cool-down; a shorter one changes nothing."""
    circuit = new()
    together = [circuit.begin(0.0) for _ in range(3)]
    for trial, wait in zip(together, (10.0, 40.0, 5.0), strict=True):
        trial.end("refusal", 0.0, wait)
    assert circuit.until == 40.0


def test_one_probe_after_the_cool_down() -> None:
    """No request is the probe before it is over; then one is, until its outcome is known."""
    circuit = failed(new(), 5)
    assert not circuit.ready(4.9)
    assert circuit.ready(5.0)
    probe = circuit.begin(5.0)
    assert probe.probe
    assert not circuit.ready(5.0)
    assert not circuit.begin(5.0).probe
    probe.end("success", 6.0)
    assert circuit.until is None
    assert circuit.ready(6.0)


def test_the_cool_down_doubles_up_to_a_minute() -> None:
    """A probe that fails makes it longer; a success begins anew."""
    circuit = failed(new(), 5)
    waits, now = [], 0.0
    for _ in range(7):
        assert circuit.until is not None
        waits.append(circuit.until - now)
        now = circuit.until
        go(circuit, "failure", now)
    assert waits == [5, 10, 20, 40, 60, 60, 60]
    assert circuit.until is not None
    go(circuit, "success", circuit.until)
    assert failed(circuit, 5, 1000.0).until == 1005.0


def test_jitter_takes_up_to_a_quarter_off() -> None:
    """Processes that lost a model together do not come back to it together."""
    circuit = Circuit(BOUNDS, jitter=lambda: 1.0)
    assert failed(circuit, 5).until == 3.75


@pytest.mark.parametrize("outcome", ["success", "failure", "refusal", "nothing"])
def test_the_slot_of_the_probe_is_freed(outcome: Outcome) -> None:
    """Whatever comes of the probe, another may follow once its time has come."""
    circuit = failed(new(), 5)
    circuit.begin(5.0).end(outcome, 5.0)
    assert circuit.ready(1000.0)
    assert circuit.ready(5.0) == (outcome in ("success", "nothing"))


def test_requests_from_before_the_opening_do_not_count() -> None:
    """Requests that were under way neither close the circuit nor make its cool-down longer."""
    circuit = new()
    late = [circuit.begin(0.0) for _ in range(2)]
    failed(circuit, 5)
    late[0].end("failure", 4.0)
    late[1].end("success", 4.0)
    assert circuit.until == 5.0


def test_requests_during_the_cool_down() -> None:
    """When all circuits are open, the models are asked all the same: a failure was expected and
    changes nothing, a success shows that the model is back."""
    circuit = failed(new(), 5)
    go(circuit, "failure", 1.0)
    assert circuit.until == 5.0
    go(circuit, "success", 2.0)
    assert circuit.until is None


def test_a_trial_ends_once() -> None:
    """A second end counts for nothing."""
    circuit = new()
    trial = circuit.begin(0.0)
    trial.end("nothing", 0.0)
    assert not trial.end("refusal", 0.0)
    assert circuit.until is None


def test_each_model_has_a_circuit_of_its_own() -> None:
    """By its name."""
    circuits = Circuits()
    assert circuits.of("a") is circuits.of("a")
    assert circuits.of("a") is not circuits.of("b")


def test_the_outcome_of_an_error() -> None:
    """Only what the model or the way to it was at fault for; a model that is gone fails, too."""
    from streamapi.errors import AccessRefused, ModelGone, UpstreamLimited

    said = {kind.__name__: outcome_of(kind("x")) for kind in every_error()}
    failures = {name for name, outcome in said.items() if outcome != "nothing"}
    assert failures == {"UpstreamUnavailable", "UpstreamTimeout"}
    assert outcome_of(ModelGone("x")) == "failure"
    assert outcome_of(AccessRefused("x")) == outcome_of(UpstreamLimited("x")) == "refusal"
    assert outcome_of(KeyError()) == outcome_of(KeyboardInterrupt()) == "nothing"


class Walk(RuleBasedStateMachine):
    """Any course of requests, in any order, with any pauses."""

    def __init__(self) -> None:
        super().__init__()
        self.circuit = Circuit(BOUNDS)
        self.now = 1000.0
        self.out: list[Trial] = []

    @rule(seconds=st.sampled_from([0.0, 0.5, 4.0, 31.0, 100.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def begin(self) -> None:
        ready, opened = self.circuit.ready(self.now), self.circuit.until
        trial = self.circuit.begin(self.now)
        assert trial.probe == (ready and opened is not None)
        self.out.append(trial)

    @precondition(lambda self: self.out)
    @rule(
        which=st.integers(0, 100),
        outcome=st.sampled_from(["success", "failure", "refusal", "nothing"]),
        wait=st.sampled_from([None, 0.0, 3.0, 500.0]),
    )
    def end(self, which: int, outcome: Outcome, wait: float | None) -> None:
        trial = self.out.pop(which % len(self.out))
        before = self.circuit.until
        opened = trial.end(outcome, self.now, wait)
        after = self.circuit.until
        if before is not None and after is not None:
            assert after >= before, "no deadline is taken back"
        if opened:
            assert after is not None
            assert after >= self.now
        if outcome == "refusal":
            assert after is not None

    @invariant()
    def at_most_one_probe(self) -> None:
        probes = [trial for trial in self.out if trial.probe]
        assert len(probes) <= 1
        if not probes and self.circuit.until is not None:
            assert self.circuit.ready(self.circuit.until), "a slot that no request holds"

    @invariant()
    def bounded(self) -> None:
        assert len(self.circuit._slices) <= SLICES + 1
        if self.circuit.until is not None:
            assert self.circuit.until - self.now <= BOUNDS.longest_wait


TestWalk = Walk.TestCase
TestWalk.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def test_a_dead_model_is_probed_less_and_less_often() -> None:
    """An hour of requests, ten a second, to a model that always fails: five, then the probes."""
    circuit, requests = new(), 0
    for tick in itertools.count():
        now = tick / 10
        if now > 3600:
            break
        if circuit.ready(now):
            requests += 1
            go(circuit, "failure", now)
    assert requests <= 5 + 4 + 3600 / 60
