"""What a chain of two models costs while the first one cannot answer, at the default settings.

    python -m bench.fallback

For each trouble: the first token of the first request, the median of the sixth to the sixtieth, and
how often the first model was asked in all. The promise: within a second (a model that hangs:
within its attempt and a second), then under 100 ms, and at most 20 requests.
"""

import asyncio
import statistics
import sys
import time

import aiohttp

from bench.rig import system

FIRST, SECOND = "gemini-3.5-flash", "gemini-3.8-flash"
TROUBLES = ("401", "404", "429", "429_delay delay=10", "503", "reset", "hang")
REQUESTS = 60


async def _first_token(session: aiohttp.ClientSession, server: str, prompt: str) -> float:
    began = time.perf_counter()
    body = {"prompt": prompt, "model": FIRST}
    async with session.post(f"{server}/v1/text/stream", json=body) as answer:
        async for line in answer.content:
            if line.startswith(b"event: delta"):
                return time.perf_counter() - began
    raise SystemExit("a request had no answer")


async def _one(trouble: str) -> bool:
    async with (
        system(0.001, FALLBACK_MODELS=SECOND) as (server, emulator, _),
        aiohttp.ClientSession() as session,
    ):
        await _first_token(session, server, "warm [[words:3]]")
        times = [
            await _first_token(
                session, server, f"ask {n} [[fault:{trouble} model={FIRST}]] [[words:3]]"
            )
            for n in range(REQUESTS)
        ]
        async with session.get(f"{emulator}/control", params={"prompt": "ask "}) as report:
            calls = (await report.json())["calls"]
    asked = sum(call["model"] == FIRST for call in calls)
    median = statistics.median(times[5:])
    print(
        f"{trouble:20} first {times[0] * 1000:8.1f} ms, then {median * 1000:6.1f} ms; "
        f"the first model was asked {asked} times of {REQUESTS}",
        flush=True,
    )
    bound = 21.0 if trouble == "hang" else 1.0
    return times[0] <= bound and median <= 0.1 and asked <= 20


async def main() -> int:
    """Measure each trouble; 1 when a promise is broken."""
    return int(not all([await _one(trouble) for trouble in TROUBLES]))


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
