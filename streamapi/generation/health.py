"""How healthy a model is: one circuit per model, by which a chain chooses the model to ask.

A circuit is closed while the model answers. It opens when the model fails too often, and stays
open for a cool-down. After the cool-down it lets exactly one request through, the probe, whose
outcome closes the circuit or opens it again for longer.

A circuit never refuses a request. It orders the models of a chain; when none is healthy, they
are asked all the same. Pure: no I/O, and the clock is passed in.
"""

import random
from collections import deque
from collections.abc import Callable
from typing import Literal

import msgspec

from streamapi.errors import (
    AccessRefused,
    ModelGone,
    UpstreamLimited,
    UpstreamTimeout,
    UpstreamUnavailable,
)

Outcome = Literal["success", "failure", "refusal", "nothing"]
"""The outcome of a request to a model. A refusal (429, or no access) opens the circuit at once;
`nothing` says nothing about the model: a bad request, blocked content, a cancelled request."""


class CircuitBounds(msgspec.Struct, frozen=True):
    """When a circuit opens, and for how long; times are in seconds.

    It opens after `in_a_row` failures, or when more than half of at least `least` requests in
    `window` failed: one failure can be chance, so can most of three. The first cool-down is
    `cool_down`, short because most faults pass; it doubles up to `longest`. Jitter takes up to a
    quarter off, so that processes do not probe together. A refusal opens the circuit for the wait
    that the provider asks for, else for `refused`; after `longest_wait` the model is probed anyway.
    """

    in_a_row: int = 5
    least: int = 10
    window: float = 30.0
    cool_down: float = 5.0
    longest: float = 60.0
    refused: float = 30.0
    longest_wait: float = 3600.0


SLICES = 30
"""Parts of the window in which outcomes are counted, so that a circuit's memory is bounded."""


class Circuit:
    """The circuit of one model. Each request `begin`s, and its `Trial` ends with one outcome."""

    __slots__ = (
        "_bounds", "_epoch", "_in_a_row", "_jitter", "_openings", "_probing", "_slices", "until",
    )  # fmt: skip

    def __init__(self, bounds: CircuitBounds, jitter: Callable[[], float] = random.random) -> None:
        self._bounds = bounds
        self._jitter = jitter
        self.until: float | None = None  # the end of the cool-down; None while closed
        self._probing = False
        self._openings = 0  # since the circuit was last closed: how often the cool-down doubles
        self._epoch = 0  # grows with each opening: an outcome of an earlier epoch is stale
        self._in_a_row = 0
        self._slices: deque[tuple[int, int, int]] = deque()  # (slice, requests, failures)

    def ready(self, now: float) -> bool:
        """Whether the next request has a chance: the circuit is closed, or the request would be
        the probe."""
        return self.until is None or (now >= self.until and not self._probing)

    def begin(self, now: float) -> "Trial":
        """Send a request to the model, as the probe when one is due. The trial must `end`."""
        probe = self.until is not None and self.ready(now)
        self._probing = self._probing or probe
        return Trial(self, self._epoch, probe)

    def _end(self, trial: "Trial", outcome: Outcome, now: float, wait: float | None) -> bool:
        if trial.probe:
            self._probing = False
        epoch = self._epoch
        if outcome == "refusal":
            self._refused(now, wait)
        elif trial.epoch == self._epoch:
            if outcome == "success":
                self._succeeded(now)
            elif outcome == "failure":
                self._failed(trial, now)
        return self._epoch != epoch

    def _succeeded(self, now: float) -> None:
        if self.until is not None:
            self.until = None
            self._openings = 0
            self._slices.clear()
        self._in_a_row = 0
        self._count(now, 0)

    def _failed(self, trial: "Trial", now: float) -> None:
        if self.until is not None:
            if trial.probe:  # only a probe makes the cool-down longer
                self._open(now)
            return
        self._in_a_row += 1
        self._count(now, 1)
        requests = sum(count for _, count, _ in self._slices)
        failures = sum(count for _, _, count in self._slices)
        too_many = requests >= self._bounds.least and 2 * failures > requests
        if self._in_a_row >= self._bounds.in_a_row or too_many:
            self._open(now)

    def _open(self, now: float) -> None:
        bounds = self._bounds
        seconds = min(bounds.longest, bounds.cool_down * 2 ** min(self._openings, 30))
        self._openings += 1
        self._open_until(now + seconds * (1 - self._jitter() / 4))

    def _refused(self, now: float, wait: float | None) -> None:
        seconds = self._bounds.refused if wait is None else min(wait, self._bounds.longest_wait)
        if self.until is None or now >= self.until:
            self._open_until(now + seconds)
        else:  # a later deadline wins
            self.until = max(self.until, now + seconds)

    def _open_until(self, moment: float) -> None:
        self.until = moment
        self._epoch += 1
        self._in_a_row = 0
        self._slices.clear()

    def _count(self, now: float, failures: int) -> None:
        slices, here = self._slices, int(now * SLICES / self._bounds.window)
        while slices and slices[0][0] <= here - SLICES:
            slices.popleft()
        if slices and slices[-1][0] == here:
            _, requests, failed = slices.pop()
            slices.append((here, requests + 1, failed + failures))
        else:
            slices.append((here, 1, failures))


class Trial:
    """One request to a model. Only its first `end` counts."""

    __slots__ = ("_circuit", "_ended", "epoch", "probe")

    def __init__(self, circuit: Circuit, epoch: int, probe: bool) -> None:
        self._circuit = circuit
        self._ended = False
        self.epoch = epoch
        self.probe = probe

    def end(self, outcome: Outcome, now: float, wait: float | None = None) -> bool:
        """End the request with this outcome; `wait` is what the provider asked for in a refusal.
        Returns whether the circuit opened because of it."""
        if self._ended:
            return False
        self._ended = True
        return self._circuit._end(self, outcome, now, wait)


class Circuits:
    """The circuits of this process, by the names of the models."""

    def __init__(self, bounds: CircuitBounds | None = None) -> None:
        self.bounds = bounds or CircuitBounds()
        self._models: dict[str, Circuit] = {}

    def of(self, model: str) -> Circuit:
        """The circuit of one model. Names are the catalogue's, so there are few."""
        circuit = self._models.get(model)
        if circuit is None:
            circuit = self._models[model] = Circuit(self.bounds)
        return circuit


def outcome_of(error: BaseException) -> Outcome:
    """What a failure before the first content says about the model."""
    if isinstance(error, UpstreamLimited | AccessRefused):
        return "refusal"
    if isinstance(error, UpstreamUnavailable | UpstreamTimeout | ModelGone):
        return "failure"
    return "nothing"
