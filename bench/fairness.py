"""One caller with every call stalled and a thousand requests waiting, and what another notices.

    python -m bench.fairness

Callers are told apart by their address (127.0.0.1 and 127.0.0.2). The promise: the other's time to
first token is at most twice its own alone plus 50 ms, at p99.
"""

import asyncio
import sys
import time

import aiohttp

from bench.rig import percentile, system

STALLED, QUEUED, PROBES = 300, 1000, 200
CALLS = 2 * STALLED


async def _first_token(session: aiohttp.ClientSession, server: str, prompt: str) -> float:
    began = time.perf_counter()
    async with session.post(f"{server}/v1/text/stream", json={"prompt": prompt}) as answer:
        async for line in answer.content:
            if line.startswith(b"event: delta"):
                return time.perf_counter() - began
    raise SystemExit("a probe had no answer")


async def _probes(session: aiohttp.ClientSession, server: str) -> list[float]:
    return [await _first_token(session, server, f"probe {n} [[words:3]]") for n in range(PROBES)]


async def _hold(session: aiohttp.ClientSession, server: str, n: int) -> None:
    prompt = f"stall {n} [[fault:hang_after_text after=1]]"
    async with session.post(f"{server}/v1/text/stream", json={"prompt": prompt}) as answer:
        await answer.read()


async def _running(session: aiohttp.ClientSession, server: str, count: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        async with session.get(f"{server}/readyz") as answer:
            if (await answer.json())["running"] >= count:
                return
        await asyncio.sleep(0.2)
    raise SystemExit(f"there were never {count} generations")


async def main() -> int:
    """Measure, and tell; 1 when the promise is broken."""
    waits = {"IDLE_TIMEOUT": "500", "FIRST_CONTENT_TIMEOUT": "500", "TOTAL_TIMEOUT": "600"}
    bounds = {"UPSTREAM_CALLS": str(CALLS), "UPSTREAM_QUEUE_PER_KEY": str(QUEUED)}
    unbounded = aiohttp.TCPConnector(limit=0)
    other = aiohttp.TCPConnector(local_addr=("127.0.0.2", 0))
    async with (
        system(0.001, **waits, **bounds) as (server, _, _),
        aiohttp.ClientSession(connector=unbounded, timeout=aiohttp.ClientTimeout(None)) as busy,
        aiohttp.ClientSession(connector=other) as caller,
    ):
        await _probes(caller, server)
        alone = await _probes(caller, server)
        held = [
            asyncio.create_task(_hold(busy, server, n)) for n in range(STALLED + QUEUED)
        ]  # fmt: skip
        await _running(caller, server, STALLED + QUEUED)
        beside = await _probes(caller, server)
        for task in held:
            task.cancel()
        await asyncio.wait(held)
    for name, times in (("alone", alone), (f"beside {STALLED} + {QUEUED}", beside)):
        p50, p99 = (percentile(times, part) * 1000 for part in (0.5, 0.99))
        print(f"{name:20} time to first token: p50 {p50:6.1f} ms, p99 {p99:6.1f} ms")
    return int(percentile(beside, 0.99) > 2 * percentile(alone, 0.99) + 0.05)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
