"""`streamapi serve` as a process: its start, unsafe settings, and its drain."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import websockets

from tests import sse
from tests.conftest import until

STARTS_WITHIN = 60.0
"""Seconds in which a server process must answer. An idle machine needs one of them."""


async def _listens(url: str) -> None:
    async with httpx.AsyncClient() as client:
        while True:
            try:
                await client.get(f"{url}/healthz")
                return
            except httpx.TransportError:
                await asyncio.sleep(0.02)


@asynccontextmanager
async def serving(
    *arguments: str, **settings: str
) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """A server process and its address, which the banner shows."""
    process = await started(*arguments, BIND="127.0.0.1:0", **settings)
    assert process.stderr is not None
    banner = (await asyncio.wait_for(process.stderr.readline(), 20)).decode()
    try:
        url = banner.split()[-1]
        async with asyncio.timeout(STARTS_WITHIN):
            await _listens(url)
        yield process, url
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def started(
    *arguments: str, stdout: int = asyncio.subprocess.PIPE, **settings: str
) -> asyncio.subprocess.Process:
    """Start `streamapi serve`, without a key for Gemini."""
    env = {name: value for name, value in os.environ.items() if name != "GOOGLE_API_KEY"}
    env |= {f"STREAMAPI_{name}": value for name, value in settings.items()}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "streamapi",
        "serve",
        *arguments,
        env=env,
        stdout=stdout,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_without_a_key_the_emulator_answers() -> None:
    """On loopback `serve` needs no setting: the emulator answers, and `/readyz` says so."""
    async with serving() as (_, url), httpx.AsyncClient(base_url=url, timeout=20) as client:
        assert (await client.get("/readyz")).json()["upstream"] == "emulator"
        answer = await client.post("/v1/text", json={"prompt": "hello"})
        assert answer.json()["status"] == "done"


async def test_the_emulator_is_not_open_to_other_machines() -> None:
    """Without a key for Gemini the server refuses an address that other machines can reach."""
    process = await started("--bind", "0.0.0.0:0")
    _, error = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 2
    assert b"GOOGLE_API_KEY is not set" in error


async def test_the_access_log_has_the_address_of_the_client() -> None:
    """Behind one proxy it is the address that the proxy adds, not one that a client made up."""
    async with serving(TRUSTED_HOPS="1") as (process, url), httpx.AsyncClient() as client:
        headers = {"X-Forwarded-For": "198.51.100.6, 192.0.2.77"}
        await client.get(f"{url}/readyz", headers=headers)
        assert process.stdout is not None
        async with asyncio.timeout(5):
            while b"/readyz" not in (line := await process.stdout.readline()):
                pass
        assert json.loads(line)["address"] == "192.0.2.77"


async def test_an_open_server_is_not_open_to_other_machines() -> None:
    """Without keys the server refuses an address that other machines can reach, and says what to
    set; with several processes too."""
    for workers in ((), ("--workers", "2")):
        process = await started(
            "--bind",
            "0.0.0.0:0",
            *workers,
            GEMINI_BASE_URL="http://127.0.0.1:1",
            REDIS_URL="redis://127.0.0.1:1",
        )
        _, error = await asyncio.wait_for(process.communicate(), 20)
        assert process.returncode == 2
        assert b"STREAMAPI_AUTH=keys" in error


async def test_the_banner_says_whether_keys_are_needed(database_url: str) -> None:
    """An open server says so; a server with keys says how to make one."""
    for settings, sentence in (
        ({}, b"OPEN to this machine"),
        ({"AUTH": "keys", "DATABASE_URL": database_url}, b"streamapi keys create"),
    ):
        async with serving(**settings) as (process, url), httpx.AsyncClient(timeout=20) as client:
            status = (await client.get(f"{url}/v1/models")).status_code
            assert status == (401 if settings else 200)
            assert process.stderr is not None
            async with asyncio.timeout(20):
                while sentence not in await process.stderr.readline():
                    pass


async def test_a_server_with_keys_can_bind_any_address(database_url: str) -> None:
    """It needs a key on every address."""
    settings = {"AUTH": "keys", "DATABASE_URL": database_url}
    process = await started("--bind", "0.0.0.0:0", GEMINI_BASE_URL="http://127.0.0.1:1", **settings)
    assert process.stderr is not None
    url = (await asyncio.wait_for(process.stderr.readline(), 20)).decode().split()[-1]
    async with httpx.AsyncClient() as client:
        for _ in range(500):
            try:
                answer = await client.get(f"{url.replace('0.0.0.0', '127.0.0.1')}/v1/models")
                break
            except httpx.TransportError:
                await asyncio.sleep(0.02)
    process.terminate()
    await process.communicate()
    assert answer.status_code == 401


async def test_an_unusable_database_is_a_sentence_on_stderr() -> None:
    """There is no traceback, and no banner."""
    process = await started(BIND="127.0.0.1:0", AUTH="keys", DATABASE_URL="sqlite:////no/where.db")
    output, error = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 2
    assert b"STREAMAPI_DATABASE_URL" in error
    assert b"Traceback" not in output + error
    assert b"streamapi on" not in error


async def test_an_open_server_touches_no_database(tmp_path: Path) -> None:
    """It does not even import SQLAlchemy."""
    script = (
        "import asyncio, sys\n"
        "from streamapi import cli\n"
        "from streamapi.app import create_app\n"
        "from streamapi.settings import Settings\n"
        "app = create_app(Settings(gemini_base_url='http://127.0.0.1:1'))\n"
        "asyncio.run(app.test_client().get('/openapi.json'))\n"
        "print([name for name in ('sqlalchemy', 'alembic', 'aiosqlite') if name in sys.modules])"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE, cwd=tmp_path
    )
    output, _ = await process.communicate()
    assert output.split() == [b"[]"]
    assert list(tmp_path.iterdir()) == []


async def test_a_wrong_setting_is_a_sentence_on_stderr() -> None:
    """The server does not start; the sentence names the setting, and there is no banner."""
    for name, value in (
        ("RETRY_ATTEMPTS", "0"),
        ("DEFAULT_MODEL", "gemini-9"),
        ("FALLBACK_MODELS", "gemini-3.5-flash-lite,gemini-9"),
    ):
        process = await started(BIND="127.0.0.1:0", **{name: value})
        _, error = await asyncio.wait_for(process.communicate(), 20)
        assert process.returncode == 2
        assert f"streamapi: STREAMAPI_{name}" in error.decode()
        assert "Traceback" not in error.decode()
        assert "streamapi on" not in error.decode()


async def test_sigterm_drains() -> None:
    """At SIGTERM new work is refused at once. Streams go on until `DRAIN_TIMEOUT` and then end with
    `shutting_down`; sockets are closed with 1001. The process exits with 0 and no traceback."""
    async with (
        serving(DRAIN_TIMEOUT="1.0", PING_INTERVAL="0.2") as (process, url),
        httpx.AsyncClient(base_url=url, timeout=20) as client,
        websockets.connect(url.replace("http", "ws") + "/v1/ws") as socket,
    ):
        query = {"prompt": "go on [[fault:hang_after_text]]"}
        async with client.stream("GET", "/v1/text/stream", params=query) as response:
            events = sse.events(response)
            seen = [await anext(events), await anext(events)]
            process.send_signal(signal.SIGTERM)
            seen.append(await _next_but_deltas(events))  # a ping: the signal has been handled
            assert (await client.get("/readyz")).status_code == 503
            refused = await client.post("/v1/text", json={"prompt": "hello"})
            assert refused.json()["code"] == "shutting_down"
            assert refused.headers["Retry-After"]
            seen += [event async for event in events]
        assert seen[-1].type == "failed"
        assert seen[-1].data["problem"]["code"] == "shutting_down"
        with pytest.raises(websockets.ConnectionClosed) as closed:
            json.loads(await socket.recv())
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001
        output, error = await asyncio.wait_for(process.communicate(), 10)
        assert process.returncode == 0
        assert b"Traceback" not in output + error


async def test_the_port_stays_open_while_a_balancer_notices() -> None:
    """For `DRAIN_DELAY` `/readyz` is 503 and the process still serves, because a balancer has not
    looked yet. Only then it refuses new work."""
    async with (
        serving(DRAIN_DELAY="2.0", DRAIN_TIMEOUT="2.0") as (process, url),
        httpx.AsyncClient(base_url=url, timeout=20) as client,
    ):
        hangs = {"prompt": "go on [[fault:hang_after_text]]"}
        last = asyncio.create_task(client.post("/v1/text", json=hangs))
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(1.8):
            while (await client.get("/readyz")).status_code != 503:
                await asyncio.sleep(0.01)
        answer = await client.post("/v1/text", json={"prompt": "hello"})
        assert answer.json()["status"] == "done"
        async with asyncio.timeout(5.0):
            while (await client.post("/v1/text", json={"prompt": "hello"})).status_code != 503:
                await asyncio.sleep(0.05)
        assert (await last).json()["code"] == "shutting_down"
        output, error = await asyncio.wait_for(process.communicate(), 10)
        assert process.returncode == 0
        assert b"Traceback" not in output + error


async def test_a_second_interrupt_ends_at_once() -> None:
    """A second Ctrl-C does not wait for the drain."""
    async with (
        serving(DRAIN_TIMEOUT="60") as (process, url),
        httpx.AsyncClient(base_url=url, timeout=20) as client,
    ):
        hangs = {"prompt": "go on [[fault:hang_after_text]]"}
        await client.post("/v1/text", json=hangs, headers={"Prefer": "respond-async"})
        process.send_signal(signal.SIGINT)
        while (await client.get("/readyz")).status_code != 503:
            await asyncio.sleep(0.01)
        process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(process.wait(), 1) == 130


def children(pid: int) -> list[int]:
    """The child processes of a process."""
    return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_a_syntax_process_ends_with_the_server(number: signal.Signals) -> None:
    """It has its socket pair and stderr, but no socket of the server. It ends when the server has
    ended, for any reason."""
    async with serving() as (process, url), httpx.AsyncClient(base_url=url, timeout=20) as client:
        assert children(process.pid) == []
        request = {"prompt": "Write it.", "language": "python"}
        answer = (await client.post("/v1/code", json=request)).json()
        assert answer["result"]["syntax"]["valid"]
        [child] = children(process.pid)
        assert sorted(os.listdir(f"/proc/{child}/fd")) == ["0", "1", "2"]
        process.send_signal(number)
        await process.wait()
        await until(lambda: not Path(f"/proc/{child}/cmdline").exists(), "the child is gone")


async def _next_but_deltas(events: AsyncIterator[sse.Seen]) -> sse.Seen:
    async for event in events:
        if event.type != "delta":
            return event
    raise AssertionError("the stream ended")
