"""What idle streams cost: memory for each, and how the server answers beside them.

python -m bench.idle [N]
"""

import asyncio
import sys
import time

import aiohttp

from bench.rig import percentile, pss, system


async def main(count: int) -> None:
    retry_policy = {"IDLE_TIMEOUT": "300", "ATTEMPT_TIMEOUT": "300", "FIRST_CONTENT_TIMEOUT": "300"}
    connector = aiohttp.TCPConnector(limit=0)
    async with (
        system(pace=0.001, **retry_policy) as (server, _, pid),
        aiohttp.ClientSession(connector=connector) as session,
    ):
        await _open(session, server, 20)
        before = pss(pid)
        for _ in range(count // 50):
            await asyncio.gather(*(_open(session, server, 1) for _ in range(50)))
        times = []
        for _ in range(500):
            began = time.perf_counter()
            async with session.get(f"{server}/healthz") as response:
                await response.read()
            times.append((time.perf_counter() - began) * 1000)
        print(
            f"{count} idle streams: /healthz p50 {percentile(times, 0.5):.2f} ms,"
            f" p99 {percentile(times, 0.99):.2f} ms, max {max(times):.2f} ms;"
            f" memory {(pss(pid) - before) * 1024 / count:.1f} KB (PSS) per stream,"
            f" each with its own upstream connection"
        )


async def _open(session: aiohttp.ClientSession, server: str, count: int) -> None:
    for _ in range(count):
        query = {"prompt": "idle [[fault:hang_after_text]]"}
        response = await session.get(f"{server}/v1/text/stream", params=query)
        seen = 0
        async for line in response.content:
            seen += line.startswith(b"event: delta")
            if seen == 3:
                break
        _held.append(response)


_held: list[aiohttp.ClientResponse] = []

if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000))
