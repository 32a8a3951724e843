"""The rules of a chain of models: which is asked next, on what terms, and what passes on.

A chain has the model that was asked for first, then its fallbacks. While another model stands
ready, a model gets one attempt and no long wait in a queue; the last one gets the full retries.
The budget for the first content is shared: each model gets what is left of it, divided by the
models that are left. Pure: no await, no clock, no I/O.
"""

from collections.abc import Sequence

import msgspec

from streamapi.errors import (
    AccessRefused,
    ModelGone,
    ModelOutputInvalid,
    Overloaded,
    StreamapiError,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from streamapi.generation.health import Circuit

RETRIED = (UpstreamUnavailable, UpstreamTimeout, ModelOutputInvalid)
"""What another attempt at the same model may mend, before the first content."""

PASSED_ON = (*RETRIED, ModelGone, AccessRefused, Overloaded)
"""What the next model of the chain may mend. Bad requests and blocked content are not here:
another model would be asked to do what the first one refused."""


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How often, and for how many seconds, a producer waits.

    `attempts` are upstream requests per model; `backoff` is the first wait (it doubles, with
    full jitter). A model has `attempt` seconds to write something, shown or not; all models
    together have `first_content`; `fallback_after` bounds a model's queue while another model
    stands ready. A model that writes may be silent for `idle`, and everything ends at `total`.
    `output` are the characters that an answer may have.
    """

    attempts: int
    output: int
    backoff: float
    attempt: float
    first_content: float
    fallback_after: float
    idle: float
    total: float


class Terms(msgspec.Struct, frozen=True):
    """What one model of a chain gets: so many `attempts` that end by `until`. The request may wait
    in its queue until `queue_until`."""

    attempts: int
    until: float
    queue_until: float


def next_of(circuits: Sequence[Circuit], now: float) -> int:
    """The index of the model to ask: the first that stands ready; when none does, the one whose
    cool-down ends soonest."""
    for index, circuit in enumerate(circuits):
        if circuit.ready(now):
            return index
    return min(range(len(circuits)), key=lambda index: circuits[index].until or 0.0)


def terms(retry_policy: RetryPolicy, now: float, end: float, others: Sequence[Circuit]) -> Terms:
    """The terms of a model that is asked `now`, when the budget has this `end` and the `others`
    come after it. A request that leaves the queue has time for an attempt, or half of the share:
    a call in the last moment would be in vain, and look like a failure of the model."""
    share = (end - now) / (1 + len(others))
    until = now + share
    queue_until = until - min(retry_policy.attempt, share / 2)
    if any(circuit.ready(now) for circuit in others):
        return Terms(1, until, min(queue_until, now + retry_policy.fallback_after))
    return Terms(retry_policy.attempts, until, queue_until)


def failure_of(failures: Sequence[StreamapiError]) -> StreamapiError:
    """The error of a chain in which each model failed: the last one that may pass by itself, else
    the last one."""
    passing = [error for error in failures if error.retryable]
    return (passing or failures)[-1]
