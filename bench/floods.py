"""What floods of one client cost the others: the delay of `/healthz`, and of another's first token.

    python -m bench.floods [NAME ...] [--seconds 5]

Each flood runs in a process of its own, from 127.0.0.1, against a freshly started server; the other
caller asks from 127.0.0.2. The promise: at most 100 ms more for the other caller at p99, for
`/healthz` and for the first token, and no descriptor held five seconds after the flood.
"""

import argparse
import asyncio
import os
import sys
import time
from pathlib import Path

import aiohttp

from bench.flooding import FLOODS
from bench.rig import percentile, system

SERVER = {"RATE_LIMIT": "120/minute"}
ALLOWED_MS, SETTLED_AFTER, SETTLED_DESCRIPTORS = 100.0, 5.0, 2


class Times:
    """How long `/healthz` and first tokens took, in milliseconds."""

    def __init__(self) -> None:
        self.health: list[float] = []
        self.token: list[float] = []

    def p99(self) -> list[float]:
        """The 99th percentiles of both; where nothing was answered, infinity."""
        both = (self.health, self.token)
        return [percentile(times, 0.99) if times else float("inf") for times in both]

    def __str__(self) -> str:
        health, token = self.p99()
        return f"/healthz p99 {health:.1f} ms ({len(self.health)}), first token p99 {token:.1f} ms"


async def _probe(server: str, seconds: float) -> Times:
    """Ask from another address, on fresh connections, as long as the flood goes on."""
    times, end, n = Times(), time.monotonic() + seconds, 0
    connector = aiohttp.TCPConnector(local_addr=("127.0.0.2", 0), force_close=True)
    timeout = aiohttp.ClientTimeout(total=10)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        while time.monotonic() < end:
            began = time.perf_counter()
            async with session.get(f"{server}/healthz") as answer:
                await answer.read()
            times.health.append((time.perf_counter() - began) * 1000)
            n += 1
            if n % 5 == 0 and len(times.token) < 100:  # below its limit of requests
                began = time.perf_counter()
                ask = {"prompt": f"probe {n} [[words:3]]"}
                async with session.post(f"{server}/v1/text/stream", json=ask) as answer:
                    async for line in answer.content:
                        if line.startswith(b"event: delta"):
                            times.token.append((time.perf_counter() - began) * 1000)
            await asyncio.sleep(0.01)
    return times


def _descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


async def _one(name: str, seconds: float) -> bool:
    async with system(0.001, **SERVER) as (server, _, pid):
        await _probe(server, 1.0)  # what is slow once, such as imports, is behind us
        alone = await _probe(server, 2.0)
        held = _descriptors(pid)
        flood = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench.flooding", name, server, str(seconds),
            cwd=Path(__file__).parent.parent,
        )  # fmt: skip
        beside = await _probe(server, seconds + 1.0)  # it takes a moment to begin
        await asyncio.wait_for(flood.wait(), seconds + 30)
        await asyncio.sleep(SETTLED_AFTER)
        more = _descriptors(pid) - held
    added = [now - then for now, then in zip(beside.p99(), alone.p99(), strict=True)]
    good = max(added) <= ALLOWED_MS and more <= SETTLED_DESCRIPTORS
    print(f"{name:18} alone:  {alone}\n{'':18} beside: {beside}", flush=True)
    print(f"{'':18} added {added[0]:.1f} and {added[1]:.1f} ms; {more} descriptors held later"
          f"{'' if good else '   <-- the promise is broken'}", flush=True)  # fmt: skip
    return good


async def main() -> int:
    """Measure each flood; 1 when a promise is broken."""
    parser = argparse.ArgumentParser(prog="python -m bench.floods", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(FLOODS))
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args()
    kept = [await _one(name, options.seconds) for name in options.names or FLOODS]
    return int(not all(kept))


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
