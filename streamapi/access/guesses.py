"""Guesses: keys and tickets that nobody has, counted by the address that shows them.

What exists is no guess, and a guess is counted when it has turned out to be one. So valid callers
of one address can come all at once, in any number. An address has few look-ups under way at a
time, and none once its limit is reached, so guessing costs the database little.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

from streamapi.access.answer_charge import network
from streamapi.access.limits import Limit, Limits, Want
from streamapi.errors import RateLimited

LOOKUPS = 2
"""Keys that are looked up at once for one address: half of the connections to the database. More
of them wait."""

PERIOD = 60.0
"""Seconds in which an address may guess so often, and in which one guess counts once."""

MOST_COUNTED = 10_000
"""Guesses remembered as counted; the oldest are forgotten beyond it, and would count again."""


class Guesses:
    """The guesses that this process has seen. `most` is how many an address may make in a
    minute."""

    def __init__(
        self, limits: Limits, most: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limits = limits
        self._limit = Limit(most, PERIOD)
        self._clock = clock
        self._counted: dict[tuple[str, str], float] = {}
        self._gates: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def looking_up(self, address: str | None) -> AsyncIterator[None]:
        """One of the few look-ups of an address; others wait for their turn."""
        name = network(address)
        gate = self._gates.get(name)
        if gate is None:
            gate = self._gates[name] = asyncio.Semaphore(LOOKUPS)
        async with gate:
            yield

    async def check(self, address: str | None, digest: str) -> None:
        """Raise `RateLimited` where this may be a guess, and the address has made too many."""
        if self._is_counted((network(address), digest)):
            return
        want = Want(_key(address), self._limit, cost=0)
        [taken] = await self._limits.take(want)
        if taken.remaining < 1:
            raise _refusal(self._limit.wait(taken.reset))

    async def count(self, address: str | None, digest: str) -> None:
        """This was a guess. Raises `RateLimited` where it was one too many."""
        guess = network(address), digest
        if self._is_counted(guess):
            return
        self._remember(guess)
        [taken] = await self._limits.take(Want(_key(address), self._limit))
        if not taken.allowed:
            self._counted.pop(guess, None)
            raise _refusal(taken.retry_after)

    def _is_counted(self, guess: tuple[str, str]) -> bool:
        return self._clock() < self._counted.get(guess, 0.0)

    def _remember(self, guess: tuple[str, str]) -> None:
        self._counted.pop(guess, None)  # to the end of the dict: the oldest goes first
        self._counted[guess] = self._clock() + PERIOD
        if len(self._counted) > MOST_COUNTED:
            del self._counted[next(iter(self._counted))]


def _key(address: str | None) -> str:
    return f"failures/{network(address)}"


def _refusal(wait: float) -> RateLimited:
    return RateLimited("Too many bad keys came from here.", retry_after=wait)
