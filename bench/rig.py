"""The server and the emulator in processes of their own, as an operator would run them."""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

ROOT = Path(__file__).parent.parent


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def process(*command: str, up: str, **env: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a command of streamapi's until the block ends; `up` is an address that answers."""
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "streamapi", *command,
        cwd=ROOT, env={**os.environ, **env}, stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        await _answers(up)
        yield started
    finally:
        started.terminate()
        await asyncio.wait_for(started.wait(), 30)


async def _answers(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        for _ in range(1000):
            try:
                async with session.get(url):
                    return
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.02)
    raise SystemExit(f"{url} did not come up")


@asynccontextmanager
async def system(pace: float = 0.02, **settings: str) -> AsyncIterator[tuple[str, str, int]]:
    """The server's address, the emulator's, and the server's process id."""
    upstream, port = free_port(), free_port()
    emulator, server = f"http://127.0.0.1:{upstream}", f"http://127.0.0.1:{port}"
    env = {
        "STREAMAPI_BIND": f"127.0.0.1:{port}",
        "STREAMAPI_GEMINI_BASE_URL": emulator,
        "STREAMAPI_RATE_LIMIT": "off",
        "STREAMAPI_TOKENS_PER_MINUTE": "0",
        "STREAMAPI_TOKENS_PER_DAY": "0",
        "STREAMAPI_MAX_STREAMS": "0",
        **{f"STREAMAPI_{name}": value for name, value in settings.items()},
    }
    emulate = ("emulate", "--bind", f"127.0.0.1:{upstream}", "--pace", str(pace))
    async with (
        process(*emulate, up=f"{emulator}/control"),
        process("serve", up=f"{server}/readyz", **env) as running,
    ):
        yield server, emulator, running.pid


def pss(pid: int) -> float:
    """The proportional memory of a process, in megabytes."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise SystemExit("no smaps_rollup here")


def percentile(values: list[float], part: float) -> float:
    """The value below which `part` of all lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]
