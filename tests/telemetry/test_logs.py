"""The log lines of a server: no reader of theirs holds it up."""

import asyncio
import fcntl
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from tests.conftest import RedisServer
from tests.test_server import started


@asynccontextmanager
async def unread(**settings: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """A server whose stdout is a pipe of one page that nobody reads, and its address."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    process = await started(stdout=writing, BIND="127.0.0.1:0", **settings)
    os.close(writing)
    assert process.stderr is not None
    try:
        banner = (await asyncio.wait_for(process.stderr.readline(), 20)).decode()
        yield process, banner.split()[-1]
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
        os.close(reading)


async def ask(url: str, times: int) -> None:
    """Ask so often that the lines of it fill the pipe many times over."""
    retries = httpx.AsyncHTTPTransport(retries=10)
    async with httpx.AsyncClient(base_url=url, timeout=60, transport=retries) as client:
        for _ in range(times):
            assert (await client.get("/healthz")).status_code == 200


async def test_a_reader_that_stalls_stops_nobody() -> None:
    """The server answers, and ends in time."""
    async with unread() as (process, url):
        await ask(url, 100)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 10) == 0


async def test_a_reader_that_stalls_stops_no_worker(redis_server: RedisServer) -> None:
    """The same for several processes on one stdout, and for the one that watches them."""
    settings: dict[str, Any] = {"WORKERS": "2", "REDIS_URL": redis_server.url}
    async with unread(**settings) as (process, url):
        await ask(url, 100)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 20) == 0
