"""The log lines of a server, and that no reader of them delays it."""

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


async def test_a_line_has_the_code_of_a_refusal_or_failure() -> None:
    """At every transport; a success has no code."""
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
    requests = [line for line in lines if line.get("path", "/healthz") != "/healthz"]
    assert [(line["method"], line["status"], line["code"]) for line in requests] == [
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


async def test_a_preflight_of_a_foreign_page_is_refused() -> None:
    """The preflight of an allowed page says that the request may come."""
    async with (
        serving(CORS_ORIGINS="https://app.example") as (_, url),
        httpx.AsyncClient(base_url=url) as client,
    ):
        refused = await client.options("/v1/text", headers=EVIL)
        assert (refused.status_code, refused.json()["code"]) == (403, "origin_not_allowed")
        assert "access-control-allow-origin" not in refused.headers
        allowed = await client.options(
            "/v1/text", headers={**EVIL, "Origin": "https://app.example"}
        )
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-origin"] == "https://app.example"


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
    """Send so many requests that their lines fill the pipe many times over."""
    retries = httpx.AsyncHTTPTransport(retries=10)
    async with httpx.AsyncClient(base_url=url, timeout=60, transport=retries) as client:
        for _ in range(times):
            assert (await client.get("/healthz")).status_code == 200


async def test_a_reader_that_stalls_does_not_delay_the_server() -> None:
    """The server answers, and ends in time, while nobody reads its lines."""
    async with unread() as (process, url):
        await ask(url, 100)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 10) == 0


async def test_a_reader_that_stalls_does_not_delay_workers(
    redis_server: RedisServer,
) -> None:
    """The same holds for several processes on one stdout, and for their parent."""
    settings: dict[str, Any] = {"WORKERS": "2", "REDIS_URL": redis_server.url}
    async with unread(**settings) as (process, url):
        await ask(url, 100)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 20) == 0
