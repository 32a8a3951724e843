"""Limits in a Redis: exact across processes, in one round trip for all that a request takes.

One script decides by the clock of Redis, so the processes need not agree on the time. Every key
has a TTL and contains the digest of what it counts: a dump of the key space shows no key and no
address. A slot is a member of a sorted set with an expiry, which its process renews. So the slots
of a killed process become free.

While Redis is away, each process allows its part of a limit, one of `processes` parts. It goes
back to Redis by itself (see `RedisConnection`), and then registers the slots that it gave out
meanwhile.
"""

import asyncio
import hashlib
import logging
import secrets
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from streamapi.access.limits import (
    SLOT_WAIT,
    Decision,
    Limit,
    MemoryLimits,
    Slots,
    Want,
    part_of,
)
from streamapi.access.redis_limits_scripts import HOLD, RELEASE, SCRIPTS, SETTLE, TAKE
from streamapi.errors import StoreUnavailable
from streamapi.generation import background_tasks
from streamapi.redis_connection import RedisConnection, Script

logger = logging.getLogger(__name__)

MICRO = 1_000_000
"""Microseconds in a second: the scripts count in them."""

SLOTS_PER_CALL = 1000
"""Slots that one call renews; more would keep Redis from others for too long."""


class RedisLimits:
    """The `Limits` of several processes. `timeout` is the seconds that a request may wait for
    Redis. `processes` is how many there are. `lease` is the seconds
    after which the slots of a process that is gone become free. Without a `clock` the time is that
    of Redis; tests pass one."""

    def __init__(
        self,
        url: str,
        timeout: float,
        processes: int = 1,
        lease: float = 15.0,
        prefix: str = "streamapi:",
        clock: Callable[[], float] | None = None,
        scripts: Sequence[Script] = SCRIPTS,
    ) -> None:
        self.connection = RedisConnection(
            url, prefix, secrets.token_hex(8), self._renew_slots, scripts, timeout
        )
        self._lease_ms = int(lease * 1000)
        self.connection.probe = HOLD, ("", self._lease_ms)
        self._processes = processes
        self._clock = clock
        self._local = MemoryLimits(clock) if clock else MemoryLimits()
        self._held: dict[tuple[str, str], None] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def take(self, *wants: Want) -> Sequence[Decision]:
        arguments = (self._now(), self._lease_ms, *_arguments(wants))
        try:
            reply = await self.connection.call(TAKE, *arguments)
        except StoreUnavailable:
            local = self._local.take_now(wants, self._processes)
            decisions = [msgspec.structs.replace(it, local=True) for it in local]
        else:
            decisions = [_decision(want, *reply[n * 4 : n * 4 + 4]) for n, want in enumerate(wants)]
        if all(it.allowed for it in decisions):
            slots = (want for want in wants if isinstance(want.limit, Slots))
            self._held.update({(want.key, want.name): None for want in slots})
        return decisions

    def settle(self, key: str, limit: Limit, difference: int, local: bool = False) -> None:
        if local:
            part = Limit(part_of(limit.count, self._processes), limit.period)
            self._local.settle(key, part, difference)
        else:
            period = round(limit.period * MICRO)
            self.connection.post(
                SETTLE, (self._now(), _key_digest(key), limit.count, period, difference)
            )

    def release(self, key: str, name: str) -> None:
        self._held.pop((key, name), None)
        self._local.release(key, name)
        self.connection.post(RELEASE, (_key_digest(key), name))

    async def start(self) -> None:
        runs = {"connection": self.connection.run, "lease": self._run_renewals}
        self._tasks = [background_tasks.start(f"limits {name}", run) for name, run in runs.items()]
        await self.connection.tried.wait()

    async def aclose(self) -> None:
        try:
            async with asyncio.timeout(self.connection.timeout):
                # Calls keep their order: when this one returns, Redis has all that came before.
                await self.connection.call(HOLD, "", self._lease_ms)
        except (StoreUnavailable, TimeoutError):
            logger.warning(
                "Redis did not take the last settlements of the limits: estimates stay counted "
                "until their period is over, and slots until their lease is"
            )
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run_renewals(self) -> None:
        while True:
            await asyncio.sleep(self._lease_ms / 3000)  # a third of the lease, in seconds
            self._renew_slots()

    def _renew_slots(self) -> None:
        """Put off the expiry of every slot that is held here. A Redis that lost them, or that was
        away when they were given out, gets them too."""
        held = list(self._held)
        for at in range(0, len(held), SLOTS_PER_CALL):
            some = held[at : at + SLOTS_PER_CALL]
            names = [part for key, name in some for part in (_key_digest(key), name)]
            self.connection.post(HOLD, (self._now(), self._lease_ms, *names))

    def _now(self) -> str:
        return "" if self._clock is None else f"{self._clock() * MICRO:.0f}"


@lru_cache(maxsize=4096)
def _key_digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:32]


def _arguments(wants: Sequence[Want]) -> list[str | int]:
    arguments: list[str | int] = []
    for want in wants:
        limit = want.limit
        period = 0 if isinstance(limit, Slots) else round(limit.period * MICRO)
        cost = min(want.cost, limit.count)
        arguments += [_key_digest(want.key), limit.count, period, cost, want.name]
    return arguments


def _decision(want: Want, allowed: Any, remaining: Any, retry_after: Any, reset: Any) -> Decision:
    if isinstance(want.limit, Slots):
        return Decision(bool(allowed), remaining, 0.0 if allowed else SLOT_WAIT, 0.0)
    return Decision(bool(allowed), remaining, float(retry_after) / MICRO, float(reset) / MICRO)
