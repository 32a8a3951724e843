"""How much may be asked in a time: one atomic `take`.

The rule is GCRA (the leaky bucket as a meter, ITU-T I.371): a key has a theoretical arrival time
which each request pushes on by one period's share; a request that would push it further than one
period ahead is refused. So a key costs one number, and bursts up to the limit pass.
"""

import time
from collections.abc import Callable

import msgspec

MOST_KEYS = 100_000
"""Keys remembered; beyond it the oldest are forgotten, which can only let a request pass."""


class Limit(msgspec.Struct, frozen=True):
    """`count` requests in `period` seconds."""

    count: int
    period: float


class Taken(msgspec.Struct, frozen=True):
    """What `take` decided. `retry_after` is 0 when allowed; `reset` is when the limit is whole
    again; both in seconds."""

    allowed: bool
    remaining: int
    retry_after: float
    reset: float


class MemoryLimits:
    """Limits in the memory of one process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._arrivals: dict[str, float] = {}

    async def take(self, key: str, limit: Limit) -> Taken:
        """Count one request of `key`, if the limit allows it."""
        now = self._clock()
        share = limit.period / limit.count
        arrival = max(self._arrivals.get(key, now), now) + share
        ahead = arrival - now
        if ahead > limit.period + 1e-9:
            return Taken(False, 0, ahead - limit.period, ahead - share)
        self._arrivals.pop(key, None)  # to the end of the dict: the oldest goes first
        self._arrivals[key] = arrival
        if len(self._arrivals) > MOST_KEYS:
            del self._arrivals[next(iter(self._arrivals))]
        return Taken(True, int((limit.period - ahead) / share + 1e-9), 0.0, ahead)
