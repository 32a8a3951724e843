"""Rates and slots: one atomic `take` takes from several limits at once, or from none.

Rates follow GCRA (ITU-T I.371, the leaky bucket as a meter). Each key has one number, its
theoretical arrival time. Each unit that is taken moves that time on by an interval of
`period / count` seconds; a unit that would move it more than one period ahead is refused. So a
burst up to the limit passes. An amount that was taken as an estimate is settled later: the arrival
time moves on, or back, by the difference.

Slots limit how many of something exist at once: each is held under a name until its release.
"""

import math
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from streamapi.access import bounded_dict

MOST_KEYS = 100_000
"""Keys remembered. Beyond it the oldest is forgotten, which can only let a request pass."""

ROUNDING = 0.001
"""The part of one unit that passes although it exceeds the limit: sums of fractions are inexact."""

SLOT_WAIT = 1.0
"""Seconds until a caller tries again for a slot: nobody knows when a stream will end."""


class Limit(msgspec.Struct, frozen=True):
    """A rate: `count` units in `period` seconds."""

    count: int
    period: float

    def wait(self, reset: float, cost: int = 1) -> float:
        """Seconds until `cost` units pass, of a limit that is whole again in `reset` seconds."""
        return max(0.0, reset + min(cost, self.count) * self.period / self.count - self.period)


class Slots(msgspec.Struct, frozen=True):
    """`count` slots, which are held at the same time."""

    count: int


class Want(msgspec.Struct, frozen=True):
    """A wish to take `cost` units of a key's limit, or the slot `name`. A cost above the limit
    counts as the whole limit, because it could never pass otherwise. A cost of 0 takes nothing,
    and tells what is left."""

    key: str
    limit: Limit | Slots
    cost: int = 1
    name: str = ""


class Decision(msgspec.Struct, frozen=True):
    """The answer of `take` to one `Want`. `retry_after` is the seconds until it would pass, 0
    where it is allowed. `reset` is the seconds until the limit is whole again. With `local` this
    process decided alone, by its part of the limit."""

    allowed: bool
    remaining: int
    retry_after: float
    reset: float
    local: bool = False


class Limits(Protocol):
    """Counts what callers take. `tests/access/test_limits_contract.py` tests every backend."""

    async def take(self, *wants: Want) -> Sequence[Decision]:
        """Take all that is wanted, or nothing. Each decision says whether its want alone would
        have passed."""

    def settle(self, key: str, limit: Limit, difference: int, local: bool = False) -> None:
        """Take `difference` more units of a key, even beyond its limit; give them back if it is
        negative. `local` is that of the decision that is settled."""

    def release(self, key: str, name: str) -> None:
        """Release a slot. A second release changes nothing."""

    async def start(self) -> None:
        """Start the tasks of the backend, on the running loop."""

    async def aclose(self) -> None:
        """Send what is still queued, and stop the tasks."""


def gcra(arrival: float, now: float, limit: Limit, cost: int) -> tuple[float, Decision]:
    """The next arrival time, and the decision. A refusal leaves the arrival time as it was."""
    interval = limit.period / limit.count
    before = max(arrival, now)
    after = before + min(cost, limit.count) * interval
    if after - now > limit.period + ROUNDING * interval:
        left = int(max(0.0, limit.period - (before - now)) / interval + ROUNDING)
        return arrival, Decision(False, left, after - now - limit.period, before - now)
    left = int((limit.period - (after - now)) / interval + ROUNDING)
    return after, Decision(True, left, 0.0, after - now)


class MemoryLimits:
    """Limits in the memory of one process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._arrivals: dict[str, float] = {}
        self._slots: dict[str, set[str]] = {}

    async def take(self, *wants: Want) -> Sequence[Decision]:
        return self.take_now(wants)

    def take_now(self, wants: Sequence[Want], processes: int = 1) -> list[Decision]:
        """`take` without waiting, for one of several processes: each has an equal part of each
        limit, and at least 1."""
        now = self._clock()
        decided = [self._decide(_part(want, processes), now) for want in wants]
        if all(decision.allowed for _, decision in decided):
            for want, (arrival, _) in zip(wants, decided, strict=True):
                if isinstance(want.limit, Slots):
                    self._slots.setdefault(want.key, set()).add(want.name)
                else:
                    bounded_dict.put(self._arrivals, want.key, arrival, MOST_KEYS)
        return [decision for _, decision in decided]

    def settle(self, key: str, limit: Limit, difference: int, local: bool = False) -> None:
        now = self._clock()
        before = max(self._arrivals.get(key, now), now)
        arrival = before + difference * limit.period / limit.count
        bounded_dict.put(self._arrivals, key, arrival, MOST_KEYS)

    def release(self, key: str, name: str) -> None:
        held = self._slots.get(key, set())
        held.discard(name)
        if not held:
            self._slots.pop(key, None)

    async def start(self) -> None:
        pass  # this backend has no tasks

    async def aclose(self) -> None:
        pass  # this backend has nothing outside of the process

    def _decide(self, want: Want, now: float) -> tuple[float, Decision]:
        if isinstance(want.limit, Slots):
            left = want.limit.count - len(self._slots.get(want.key, ()))
            allowed = left > 0
            return 0.0, Decision(allowed, max(0, left - 1), 0.0 if allowed else SLOT_WAIT, 0.0)
        return gcra(self._arrivals.get(want.key, now), now, want.limit, want.cost)


def _part(want: Want, processes: int) -> Want:
    if processes == 1:
        return want
    limit = msgspec.structs.replace(want.limit, count=part_of(want.limit.count, processes))
    return msgspec.structs.replace(want, limit=limit)


def part_of(count: int, processes: int) -> int:
    """The part of a limit's count that one of several processes may let pass by itself."""
    return max(1, count // processes)


def refundable(cost: int, limit: Limit, decision: Decision, elapsed: float) -> int:
    """How many of the units that were taken `elapsed` seconds ago can be given back: those that
    have not leaked from the bucket yet. More would hide what other requests took since."""
    interval = limit.period / limit.count
    unleaked = max(0.0, decision.reset - elapsed) / interval
    return min(min(cost, limit.count), math.ceil(unleaked - 1e-9))
