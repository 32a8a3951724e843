"""Limits in a Redis: exact across processes, in one round trip for all that a request takes.

One script decides by the clock of Redis, so the processes need not agree on the time. Every key
has a time to live, and holds the digest of what it counts: a dump of the key space names no key
and no address. A slot is a member of a sorted set, until a moment that its process puts off while
it lives; so a process that is killed gives back what it held.

When Redis is away each process lets its share of a limit pass, one of `share` parts, and goes
back to Redis by itself (see `RedisConnection`). Slots that were taken meanwhile are told to Redis
then.
"""

import asyncio
import hashlib
import logging
import secrets
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from streamapi.access.limits import SLOT_WAIT, Limit, MemoryLimits, Slots, Taken, Want
from streamapi.access.redis_limits_scripts import HOLD, RELEASE, SCRIPTS, SETTLE, TAKE
from streamapi.errors import StoreUnavailable
from streamapi.generation import background_tasks
from streamapi.redis_connection import PATIENCE, RedisConnection, Script

logger = logging.getLogger(__name__)

MICRO = 1_000_000


class RedisLimits:
    """Limits that processes share. `share`: how many processes there are. `lease` is how many
    seconds the slots of a process that is gone count on. Tests pass a `clock` of their own."""

    def __init__(
        self,
        url: str,
        share: int = 1,
        lease: float = 15.0,
        prefix: str = "streamapi:",
        clock: Callable[[], float] | None = None,
        scripts: Sequence[Script] = SCRIPTS,
    ) -> None:
        self.connection = RedisConnection(url, prefix, secrets.token_hex(8), self._renew, scripts)
        self._lease = int(lease * 1000)
        self.connection.probe = HOLD, ("", self._lease)
        self._share = share
        self._clock = clock
        self._local = MemoryLimits(clock) if clock else MemoryLimits()
        self._held: dict[tuple[str, str], None] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def take(self, *wants: Want) -> Sequence[Taken]:
        try:
            told = await self.connection.call(TAKE, self._now(), self._lease, *_arguments(wants))
        except StoreUnavailable:
            local = self._local.take_now(wants, self._share)
            taken = [msgspec.structs.replace(it, local=True) for it in local]
        else:
            taken = [_taken(want, *told[n * 4 : n * 4 + 4]) for n, want in enumerate(wants)]
        if all(it.allowed for it in taken):
            slots = (want for want in wants if isinstance(want.limit, Slots))
            self._held.update({(want.key, want.name): None for want in slots})
        return taken

    def settle(self, key: str, limit: Limit, difference: int, local: bool = False) -> None:
        if local:
            part = Limit(max(1, limit.count // self._share), limit.period)
            self._local.settle(key, part, difference)
        else:
            period = round(limit.period * MICRO)
            self.connection.post(
                SETTLE, (self._now(), _hidden(key), limit.count, period, difference)
            )

    def release(self, key: str, name: str) -> None:
        self._held.pop((key, name), None)
        self._local.release(key, name)
        self.connection.post(RELEASE, (_hidden(key), name))

    async def start(self) -> None:
        runs = {"connection": self.connection.run, "lease": self._beat}
        self._tasks = [background_tasks.start(f"limits {name}", run) for name, run in runs.items()]
        await self.connection.tried.wait()

    async def aclose(self) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                await self.connection.call(
                    HOLD, "", self._lease
                )  # what was said before is there then
        except (StoreUnavailable, TimeoutError):
            logger.warning("the limits of this process could not be settled")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._lease / 3000)
            self._renew()

    def _renew(self) -> None:
        """Put off the end of every slot that is held here; a Redis that lost them gets them."""
        held = list(self._held)
        for at in range(0, len(held), 1000):
            names = [part for key, name in held[at : at + 1000] for part in (_hidden(key), name)]
            self.connection.post(HOLD, (self._now(), self._lease, *names))

    def _now(self) -> str:
        return "" if self._clock is None else f"{self._clock() * MICRO:.0f}"


@lru_cache(maxsize=4096)
def _hidden(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:32]


def _arguments(wants: Sequence[Want]) -> list[str | int]:
    said: list[str | int] = []
    for want in wants:
        limit = want.limit
        period = 0 if isinstance(limit, Slots) else round(limit.period * MICRO)
        said += [_hidden(want.key), limit.count, period, min(want.cost, limit.count), want.name]
    return said


def _taken(want: Want, allowed: Any, remaining: Any, retry_after: Any, reset: Any) -> Taken:
    if isinstance(want.limit, Slots):
        return Taken(bool(allowed), remaining, 0.0 if allowed else SLOT_WAIT, 0.0)
    return Taken(bool(allowed), remaining, float(retry_after) / MICRO, float(reset) / MICRO)
