"""How much may be asked: one atomic `take`, of several limits at once or of none.

The rule of a rate is GCRA (the leaky bucket as a meter, ITU-T I.371): a key has a theoretical
arrival time, which what is taken pushes on by its share of the period; what would push it further
than one period ahead is refused. So a key costs one number, and bursts up to the limit pass. What
was taken as an estimate is settled: the arrival time goes on, or back, by the difference.

`Slots` are the other limit: how many may be held at once, each under a name until it is released.
"""

import math
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

MOST_KEYS = 100_000
"""Keys remembered; beyond it the oldest are forgotten, which can only let a request pass."""

ROUNDING = 0.001
"""The part of one request that passes because sums of fractions are not exact."""

SLOT_WAIT = 1.0
"""Seconds after which to look again for a slot: nobody knows when a stream will end."""


class Limit(msgspec.Struct, frozen=True):
    """`count` in `period` seconds."""

    count: int
    period: float

    def wait(self, reset: float, cost: int = 1) -> float:
        """Seconds until `cost` passes, of a limit that is whole in `reset` seconds."""
        return max(0.0, reset + min(cost, self.count) * self.period / self.count - self.period)


class Slots(msgspec.Struct, frozen=True):
    """`count` at once."""

    count: int


class Want(msgspec.Struct, frozen=True):
    """To take `cost` of a key's limit; what is wanted beyond a whole limit counts as all of it, or
    it could never pass. A cost of 0 takes nothing: it asks what is left. `name` is what a slot is
    held under."""

    key: str
    limit: Limit | Slots
    cost: int = 1
    name: str = ""


class Taken(msgspec.Struct, frozen=True):
    """What `take` decided. `retry_after` is 0 when allowed; `reset` is when the limit is whole
    again; both in seconds. `local`: this process decided alone, by its share."""

    allowed: bool
    remaining: int
    retry_after: float
    reset: float
    local: bool = False


class Limits(Protocol):
    """Where limits are counted. Every backend passes `tests/access/test_limits_contract.py`."""

    async def take(self, *wants: Want) -> Sequence[Taken]:
        """Take all that is wanted, or nothing: each is told whether it would have passed."""

    def settle(self, key: str, limit: Limit, difference: int, local: bool = False) -> None:
        """Take so much more of a key, whatever its limit says; or give it back."""

    def release(self, key: str, name: str) -> None:
        """Give a slot back. Doing it twice is doing it once."""

    async def start(self) -> None:
        """Begin, on the loop that runs now."""

    async def aclose(self) -> None:
        """Say what is still to be said, and end."""


def gcra(arrival: float, now: float, limit: Limit, cost: int) -> tuple[float, Taken]:
    """The arrival time behind one request, and what was decided."""
    share = limit.period / limit.count
    before = max(arrival, now)
    after = before + min(cost, limit.count) * share
    if after - now > limit.period + ROUNDING * share:
        left = int(max(0.0, limit.period - (before - now)) / share + ROUNDING)
        return arrival, Taken(False, left, after - now - limit.period, before - now)
    return after, Taken(
        True, int((limit.period - (after - now)) / share + ROUNDING), 0.0, after - now
    )


class MemoryLimits:
    """Limits in the memory of one process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._arrivals: dict[str, float] = {}
        self._slots: dict[str, set[str]] = {}

    async def take(self, *wants: Want) -> Sequence[Taken]:
        return self.take_now(wants)

    def take_now(self, wants: Sequence[Want], share: int = 1) -> list[Taken]:
        """`take` without a wait, of one part in `share` of each limit, though of at least 1."""
        now = self._clock()
        decided = [self._decide(_part(want, share), now) for want in wants]
        if all(taken.allowed for _, taken in decided):
            for want, (arrival, _) in zip(wants, decided, strict=True):
                if isinstance(want.limit, Slots):
                    self._slots.setdefault(want.key, set()).add(want.name)
                else:
                    self._remember(want.key, arrival)
        return [taken for _, taken in decided]

    def _decide(self, want: Want, now: float) -> tuple[float, Taken]:
        if isinstance(want.limit, Slots):
            left = want.limit.count - len(self._slots.get(want.key, ()))
            allowed = left > 0
            return 0.0, Taken(allowed, max(0, left - 1), 0.0 if allowed else SLOT_WAIT, 0.0)
        return gcra(self._arrivals.get(want.key, now), now, want.limit, want.cost)

    def _remember(self, key: str, arrival: float) -> None:
        self._arrivals.pop(key, None)  # to the end of the dict: the oldest goes first
        self._arrivals[key] = arrival
        if len(self._arrivals) > MOST_KEYS:
            del self._arrivals[next(iter(self._arrivals))]

    def settle(self, key: str, limit: Limit, difference: int, local: bool = False) -> None:
        now = self._clock()
        before = max(self._arrivals.get(key, now), now)
        self._remember(key, before + difference * limit.period / limit.count)

    def release(self, key: str, name: str) -> None:
        held = self._slots.get(key, set())
        held.discard(name)
        if not held:
            self._slots.pop(key, None)

    async def start(self) -> None:
        pass  # nothing runs beside

    async def aclose(self) -> None:
        pass  # nothing is held outside


def _part(want: Want, share: int) -> Want:
    if share == 1:
        return want
    count = max(1, want.limit.count // share)
    return msgspec.structs.replace(want, limit=msgspec.structs.replace(want.limit, count=count))


def left_of(cost: int, limit: Limit, taken: Taken, elapsed: float) -> int:
    """How much of what was taken `elapsed` seconds ago has not flowed off yet: no more than that
    can be given back, or a high estimate would hide what came after it."""
    share = limit.period / limit.count
    return min(min(cost, limit.count), math.ceil(max(0.0, taken.reset - elapsed) / share - 1e-9))
