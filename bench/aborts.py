"""How soon the upstream connection closes when nobody wants the answer any more.

    python -m bench.aborts [N]

N aborts, one at a time, of three kinds: cancelled; a reader that leaves with
`on_disconnect=cancel`; the same while the model hangs before its first content. The time is from
the client's act to the end of the call by the emulator's clock (both are this machine's).
"""

import asyncio
import sys
import time
from uuid import uuid4

import aiohttp

from bench.rig import percentile, system


async def main(count: int) -> None:
    async with system(pace=0.005) as (server, emulator, _), aiohttp.ClientSession() as session:
        times: dict[str, list[float]] = {"cancel": [], "leave": [], "leave before content": []}
        for n in range(count):
            kind = list(times)[n % 3]
            times[kind].append(await _abort(session, server, emulator, kind))
    every = [value for values in times.values() for value in values]
    for name, values in {**times, "all": every}.items():
        print(
            f"{name:22} n={len(values):4}  median {percentile(values, 0.5) * 1000:6.2f} ms"
            f"  p99 {percentile(values, 0.99) * 1000:6.2f} ms  max {max(values) * 1000:6.2f} ms"
        )


async def _abort(session: aiohttp.ClientSession, server: str, emulator: str, kind: str) -> float:
    tag = uuid4().hex
    fault = "hang" if kind == "leave before content" else "hang_after_text"
    query = {"prompt": f"{tag} [[fault:{fault}]]", "on_disconnect": "cancel"}
    response = await session.get(f"{server}/v1/text/stream", params=query)
    if kind == "leave before content":
        while not (await _calls(session, emulator, tag)):
            await asyncio.sleep(0.002)
    else:
        async for line in response.content:
            if line.startswith(b"event: delta"):
                break
        await asyncio.sleep(0.03)  # let the emulator come to its hang
    began = time.monotonic()
    if kind == "cancel":
        generation = response.headers["Generation-Id"]
        await (await session.post(f"{server}/v1/generations/{generation}/cancel")).read()
    response.close()
    while True:
        [call] = await _calls(session, emulator, tag)
        if call["ended"] is not None:
            assert call["outcome"] == "client_left", call
            return float(call["ended"]) - began
        await asyncio.sleep(0.002)


async def _calls(session: aiohttp.ClientSession, emulator: str, tag: str) -> list[dict]:
    async with session.get(f"{emulator}/control", params={"prompt": tag}) as response:
        return (await response.json())["calls"]


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 200))
