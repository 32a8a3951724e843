"""The limits of several processes: what they share, what a killed process leaves behind, and what
they allow while Redis is away."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from streamapi.access.limits import Limit, Slots, Want
from streamapi.access.redis_limits import RedisLimits
from tests.conftest import RedisServer, until

HOUR = Limit(20, 3600.0)


@asynccontextmanager
async def process(server: RedisServer, prefix: str, **more: Any) -> AsyncIterator[RedisLimits]:
    """The limits of one process."""
    limits = RedisLimits(server.url, 0.3, prefix=prefix, **more)
    await limits.start()
    try:
        yield limits
    finally:
        await limits.aclose()


def keys(server: RedisServer, prefix: str) -> list[str]:
    return [key.decode() for key in server.ask("KEYS", f"{prefix}*")]


async def test_processes_count_together(redis_server: RedisServer) -> None:
    """Of sixty requests at once over two processes exactly twenty pass, by the clock of Redis."""
    prefix = f"{uuid4().hex}:"
    async with process(redis_server, prefix) as one, process(redis_server, prefix) as other:
        requests = ((one, other)[n % 2].take(Want("k", HOUR)) for n in range(60))
        taken = await asyncio.gather(*requests)
    assert sum(state.allowed for [state] in taken) == 20
    assert not any(state.local for [state] in taken)


async def test_keys_in_redis_are_digests_and_expire(redis_server: RedisServer) -> None:
    """No key of Redis shows what it counts, and each has a TTL."""
    prefix = f"{uuid4().hex}:"
    async with process(redis_server, prefix) as limits:
        await limits.take(Want("key/secret", HOUR, 3), Want("key/secret", Slots(2), name="n"))
        limits.settle("other/secret", HOUR, 50)
        await limits.take(Want("address/192.0.2.7", HOUR))
        found = keys(redis_server, prefix)
        assert len(found) == 5
        assert not [key for key in found if "secret" in key or "192.0.2.7" in key]
        assert all(0 < redis_server.ask("PTTL", key) <= 3 * 3_601_000 for key in found)


async def test_scripts_are_loaded_again(redis_server: RedisServer) -> None:
    """A `SCRIPT FLUSH` changes no decision."""
    async with process(redis_server, f"{uuid4().hex}:") as limits:
        redis_server.ask("SCRIPT", "FLUSH")
        [state] = await limits.take(Want("k", HOUR))
        assert (state.remaining, state.local) == (19, False)


async def test_without_redis_each_process_has_its_part(tmp_path: Path) -> None:
    """Each of four processes allows a quarter, and at least one; then Redis decides again."""
    server = RedisServer(tmp_path)
    server.start()
    async with process(server, "t:", processes=4) as limits:
        server.stop()
        taken = [(await limits.take(Want("k", HOUR)))[0] for _ in range(30)]
        assert sum(state.allowed for state in taken) == 5
        assert all(state.local for state in taken)
        [small, slot] = await limits.take(Want("s", Limit(2, 60.0)), Want("s", Slots(3), name="a"))
        assert small.allowed
        assert slot.allowed
        assert not (await limits.take(Want("s", Slots(3), name="b")))[0].allowed
        server.start()
        await until(lambda: limits.connection.available, "Redis is back")
        [state] = await limits.take(Want("k", HOUR))
        assert (state.remaining, state.local) == (19, False)
        [slot] = await limits.take(Want("s", Slots(3), name="c"))
        assert slot.remaining == 1, "Redis counts the slot that was taken meanwhile"
    server.stop()


async def test_a_redis_that_hangs_delays_one_request(tmp_path: Path) -> None:
    """The first request waits a moment, the next ones do not."""
    server = RedisServer(tmp_path)
    server.start()
    async with process(server, "t:") as limits:
        server.freeze()
        began = asyncio.get_running_loop().time()
        taken = [(await limits.take(Want("k", HOUR)))[0] for _ in range(25)]
        assert asyncio.get_running_loop().time() - began < 1.0
        assert sum(state.allowed for state in taken) == 20
        server.thaw()
    server.stop()


async def test_a_killed_process_gives_its_slots_back(redis_server: RedisServer) -> None:
    """It holds them as long as it lives, and then until its lease is over."""
    prefix, want = f"{uuid4().hex}:", Want("s", Slots(1), name="a")
    other = Want("s", Slots(1), name="b")
    async with process(redis_server, prefix, lease=0.3) as survivor:
        limits = RedisLimits(redis_server.url, 0.3, lease=0.3, prefix=prefix)
        await limits.start()
        assert (await limits.take(want))[0].allowed
        [key] = [key for key in keys(redis_server, prefix) if "slots" in key]
        first = redis_server.ask("ZSCORE", key, "a")
        await until(lambda: redis_server.ask("ZSCORE", key, "a") != first, "it is renewed")
        assert not (await survivor.take(other))[0].allowed
        for task in limits._tasks:  # as if it were killed
            task.cancel()
        await asyncio.gather(*limits._tasks, return_exceptions=True)
        await until(lambda: not redis_server.ask("EXISTS", key), "its lease is over")
        assert (await survivor.take(other))[0].allowed
