"""What the log lines of a server say, and that no reader of theirs holds it up."""

import asyncio
import fcntl
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from tests.conftest import RedisServer
from tests.test_server import serving, started

EVIL = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}


async def test_a_line_has_the_code_of_what_was_refused_or_failed() -> None:
    """By whichever transport; what went well has none."""
    failing = {"prompt": "[[fault:safety_before_text]]"}
    late = {"prompt": "[[fault:safety]] [[words:50]]"}
    async with serving() as (process, url):
        async with httpx.AsyncClient(base_url=url, timeout=20) as client:
            await client.post("/v1/text", json={"prompt": "[[words:2]]"})
            await client.post("/v1/text", json={})
            await client.post("/v1/text", json=failing)
            await client.post("/v1/text/stream", json=late)
            await client.get("/v1/text/stream", params=failing)
            await client.get("/v1/generations/gen_unknown")
            await client.get("/nothing")
            await client.post("/v1/text", json={}, headers={"Origin": "https://evil.example"})
            await client.options("/v1/text", headers=EVIL)
            await client.options("/v1/text")
        process.send_signal(signal.SIGTERM)
        output, _ = await process.communicate()
    lines = [json.loads(line) for line in output.splitlines()]
    asked = [line for line in lines if line.get("path", "/healthz") != "/healthz"]
    assert [(line["method"], line["status"], line["code"]) for line in asked] == [
        ("POST", 200, None),
        ("POST", 422, "invalid_request"),
        ("POST", 422, "content_blocked"),
        ("POST", 200, "content_blocked"),
        ("GET", 200, "content_blocked"),
        ("GET", 404, "not_found"),
        ("GET", 404, "not_found"),
        ("POST", 403, "origin_not_allowed"),
        ("OPTIONS", 403, "origin_not_allowed"),
        ("OPTIONS", 200, None),
    ]


async def test_a_preflight_is_answered_as_its_request_would_be() -> None:
    """For a page that may not ask it is refused; for one that may, it says so."""
    async with (
        serving(CORS_ORIGINS="https://app.example") as (_, url),
        httpx.AsyncClient(base_url=url) as client,
    ):
        refused = await client.options("/v1/text", headers=EVIL)
        assert (refused.status_code, refused.json()["code"]) == (403, "origin_not_allowed")
        assert "access-control-allow-origin" not in refused.headers
        may = await client.options("/v1/text", headers={**EVIL, "Origin": "https://app.example"})
        assert may.status_code == 200
        assert may.headers["access-control-allow-origin"] == "https://app.example"


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
