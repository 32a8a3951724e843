"""Guesses: keys and tickets that do not exist, counted by the address that sent them.

A credential counts only after its look-up has failed. So any number of valid callers can share
one address. An address has few look-ups under way at a time, and none once it has reached its
limit, so guessing costs the database little.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

from streamapi.access import bounded_dict
from streamapi.access.limit_key import network
from streamapi.access.limits import Limit, Limits, Want
from streamapi.errors import RateLimited

LOOKUPS = 2
"""Look-ups at once for one address: half of the connections to the database. Others wait."""

PERIOD = 60.0
"""Seconds of the limit. A repeated guess counts once in this time."""

MOST_COUNTED = 10_000
"""Guesses remembered as counted. Beyond it the oldest is forgotten, and would count again."""


class Guesses:
    """The guesses that this process has seen. An address may make `most` of them in a minute."""

    def __init__(
        self, limits: Limits, most: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limits = limits
        self._limit = Limit(most, PERIOD)
        self._clock = clock
        self._counted_until: dict[tuple[str, str], float] = {}
        self._lookups: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def lookup(self, address: str | None) -> AsyncIterator[None]:
        """Hold one of the look-ups of an address; wait until one is free."""
        name = network(address)
        lookups = self._lookups.get(name)
        if lookups is None:
            lookups = self._lookups[name] = asyncio.Semaphore(LOOKUPS)
        async with lookups:
            yield

    async def check(self, address: str | None, digest: str) -> None:
        """Raise `RateLimited` where the address has reached its limit, unless this credential
        was counted in the last minute: showing it again takes nothing."""
        if self._is_counted((network(address), digest)):
            return
        [decision] = await self._limits.take(Want(_limit_key(address), self._limit, cost=0))
        if decision.remaining < 1:
            raise _refusal(self._limit.wait(decision.reset))

    async def count(self, address: str | None, digest: str) -> None:
        """Count a guess. Raises `RateLimited` where it is one too many."""
        guess = network(address), digest
        if self._is_counted(guess):
            return
        bounded_dict.put(self._counted_until, guess, self._clock() + PERIOD, MOST_COUNTED)
        [decision] = await self._limits.take(Want(_limit_key(address), self._limit))
        if not decision.allowed:
            self._counted_until.pop(guess, None)
            raise _refusal(decision.retry_after)

    def _is_counted(self, guess: tuple[str, str]) -> bool:
        return self._clock() < self._counted_until.get(guess, 0.0)


def _limit_key(address: str | None) -> str:
    return f"failures/{network(address)}"


def _refusal(wait: float) -> RateLimited:
    detail = "Too many wrong keys or tickets came from your address. Check yours, then wait."
    return RateLimited(detail, retry_after=wait)
