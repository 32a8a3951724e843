"""`streamapi serve --workers 2`: real processes that share an address and a real Redis."""

import asyncio
import json
import os
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import websockets

from tests.test_server import serving, started

pytestmark = pytest.mark.skipif(
    not shutil.which("redis-server"), reason="there is no redis-server here"
)


HANGS = {"prompt": "go on [[fault:hang_after_text]]"}
ENDINGS = ("done", "failed", "cancelled")


@pytest.fixture(scope="module")
async def redis() -> AsyncIterator[str]:
    """The URL of a Redis for these tests, which writes nothing to disk."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        *("redis-server", "--port", str(port), "--bind", "127.0.0.1"),
        *("--save", "", "--appendonly", "no"),
        stdout=asyncio.subprocess.DEVNULL,
    )
    for _ in range(500):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            break
        except OSError:
            await asyncio.sleep(0.01)
    yield f"redis://127.0.0.1:{port}"
    process.kill()
    await process.wait()


async def answering(url: str, enough: int, without: frozenset[int] = frozenset()) -> set[int]:
    """The processes that answer, once there are `enough` besides those of `without`. Each request
    has a connection of its own, and must be answered."""
    seen: set[int] = set()
    async with asyncio.timeout(20):
        while len(seen - without) < enough:
            async with httpx.AsyncClient(timeout=20) as client:
                seen.add((await client.get(f"{url}/readyz")).json()["pid"])
    return seen


def children_of(parent: asyncio.subprocess.Process) -> set[int]:
    """The child processes of a process."""
    return set(map(int, Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()))


def alive(pid: int) -> bool:
    """Whether a process runs. A zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def gone(pids: set[int], seconds: float) -> None:
    """Wait until none of the processes runs."""
    async with asyncio.timeout(seconds):
        while any(map(alive, pids)):
            await asyncio.sleep(0.01)


async def test_processes_count_together(redis: str) -> None:
    """Of sixty requests over twenty connections to two processes exactly twenty pass."""
    settings = {"WORKERS": "2", "REDIS_URL": redis, "RATE_LIMIT": "20/hour"}
    async with serving(**settings, DRAIN_TIMEOUT="1") as (_, url):
        await answering(url, 2)

        async def three() -> list[int]:
            async with httpx.AsyncClient(timeout=20) as client:
                return [(await client.post(f"{url}/v1/text", json={})).status_code for _ in "abc"]

        codes = await asyncio.gather(*(three() for _ in range(20)))
        assert sorted(code for of in codes for code in of) == [422] * 20 + [429] * 40


async def test_without_redis_each_process_has_its_part_of_a_limit() -> None:
    """With `--workers 4` and without Redis each process allows a quarter."""
    settings = {"REDIS_URL": "redis://127.0.0.1:1", "RATE_LIMIT": "40/hour", "DRAIN_TIMEOUT": "1"}
    each_anew = {"Connection": "close"}  # so any of the processes may get it
    async with serving("--workers", "4", **settings) as (_, url):
        await answering(url, 4)
        async with httpx.AsyncClient(base_url=url, headers=each_anew, timeout=20) as client:
            answers = await asyncio.gather(*(client.post("/v1/text", json={}) for _ in range(200)))
        passed = [answer.status_code for answer in answers].count(422)
        assert 10 < passed <= 40


async def test_a_killed_child_is_replaced_and_a_signal_drains_all(redis: str) -> None:
    """Two processes answer on one address. When one is killed, every new connection is still
    answered, and another process takes its place. SIGTERM then ends all of them without a
    traceback."""
    async with serving(WORKERS="2", REDIS_URL=redis, DRAIN_TIMEOUT="1") as (parent, url):
        first = await answering(url, 2)
        assert first == children_of(parent)
        os.kill(next(iter(first)), signal.SIGKILL)
        await answering(url, 1, without=frozenset(first))
        children = children_of(parent)
        assert len(children) == 2
        async with httpx.AsyncClient(base_url=url, timeout=20) as client:
            answer = await client.post("/v1/text", json={"prompt": "hello"})
        assert answer.json()["status"] == "done"
        parent.send_signal(signal.SIGTERM)
        output, error = await asyncio.wait_for(parent.communicate(), 1 + 2)
        assert parent.returncode == 0
        assert b"Traceback" not in output + error
        assert b"another takes its place" in output
        await gone(children, 0.1)


async def test_a_second_interrupt_does_not_wait(redis: str) -> None:
    """After the first SIGINT streams go on; the second ends every process at once."""
    async with serving(WORKERS="2", REDIS_URL=redis, DRAIN_TIMEOUT="60") as (parent, url):
        children = children_of(parent)
        async with httpx.AsyncClient(base_url=url, timeout=20) as client:
            headers = {"Prefer": "respond-async"}
            assert (await client.post("/v1/text", json=HANGS, headers=headers)).status_code == 202
            parent.send_signal(signal.SIGINT)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(parent.wait(), 0.5)
            parent.send_signal(signal.SIGINT)
            assert await asyncio.wait_for(parent.wait(), 10) == 130  # of the 60 of the drain
        await gone(children, 5)


async def test_children_do_not_outlive_their_parent(redis: str) -> None:
    """When the parent is killed, its children notice, and drain."""
    async with serving(WORKERS="2", REDIS_URL=redis, DRAIN_TIMEOUT="1") as (parent, url):
        async with httpx.AsyncClient(base_url=url, timeout=20) as client:
            headers = {"Prefer": "respond-async"}
            assert (await client.post("/v1/text", json=HANGS, headers=headers)).status_code == 202
        children = children_of(parent)
        parent.kill()
        await gone(children, 1 + 2)


async def test_children_that_cannot_start_stop_the_server() -> None:
    """A process that ends again and again is replaced a few times only."""
    program = (
        "import sys; sys.executable = 'false'; from streamapi import cli; sys.exit(cli.main())"
    )
    settings = {"BIND": "127.0.0.1:0", "WORKERS": "2", "REDIS_URL": "redis://127.0.0.1"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program, "serve"),
        env={**os.environ, **{f"STREAMAPI_{name}": value for name, value in settings.items()}},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, error = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 1
    assert b"ended 5 times within 10 s" in error
    assert b"Traceback" not in error


async def test_a_setting_that_children_refuse_stops_the_server(redis: str) -> None:
    """The parent exits with 2, like a single process; the sentence is on stderr, and there is no
    banner."""
    for wrong, named in (
        ({"FAST_MODEL": "gemini-9"}, b"STREAMAPI_FAST_MODEL names the model 'gemini-9'"),
        ({"AUTH": "keys", "DATABASE_URL": "sqlite:////no/where.db"}, b"STREAMAPI_DATABASE_URL"),
    ):
        process = await started(BIND="127.0.0.1:0", WORKERS="2", REDIS_URL=redis, **wrong)
        _, error = await asyncio.wait_for(process.communicate(), 20)
        assert process.returncode == 2
        assert named in error
        assert b"Traceback" not in error
        assert b"streamapi on" not in error


async def test_readers_are_asked_to_reconnect(redis: str) -> None:
    """With Redis a drain closes its readers at once: a stream ends with a `retry:`, and so does a
    reader that comes again; a socket gets 1001. Their answers are still written until the drain
    is over."""
    async with (
        serving(REDIS_URL=redis, DRAIN_TIMEOUT="1.5", DISCONNECT_GRACE="0.1") as (process, url),
        httpx.AsyncClient(base_url=url, timeout=20) as client,
        websockets.connect(url.replace("http", "ws") + "/v1/ws") as ws,
    ):
        waits = asyncio.create_task(client.post("/v1/text", json=HANGS))
        start = {"type": "start", "task": "text", "request": {**HANGS, "on_disconnect": "cancel"}}
        await ws.send(json.dumps(start))
        followed = json.loads(await ws.recv())["generation"]
        async with client.stream("GET", "/v1/text/stream", params=HANGS) as response:
            lines = response.aiter_lines()
            seen = [await anext(lines) for _ in range(12)]
            process.send_signal(signal.SIGTERM)
            seen += [line async for line in lines]
        assert seen[0] == "retry: 2000"
        assert_asked_to_reconnect(seen[-2:])
        assert not {f"event: {ending}" for ending in ENDINGS} & set(seen)
        async for _ in ws:
            pass  # the messages that had arrived before the 1001
        assert ws.close_code == 1001
        last = next(line for line in reversed(seen) if line.startswith("id: "))[4:]
        again = await client.get("/v1/text/stream", headers={"Last-Event-ID": last})
        assert again.status_code == 200
        assert_asked_to_reconnect(again.text.splitlines())
        assert again.headers["Connection"] == "close"
        refused = await client.post("/v1/text", json=HANGS)
        assert refused.json()["code"] == "shutting_down"
        await asyncio.sleep(0.3)  # longer than the grace
        for generation in (last.partition(".")[0], followed):
            answer = (await client.get(f"/v1/generations/{generation}")).json()
            assert answer["status"] == "running", generation
        assert (await waits).json()["code"] == "shutting_down"
        output, error = await asyncio.wait_for(process.communicate(), 2)
        assert process.returncode == 0
        assert b"Traceback" not in output + error


def assert_asked_to_reconnect(lines: list[str]) -> None:
    """The last lines are a `retry:` with jitter, and nothing else."""
    assert lines[1:] in ([], [""])
    assert lines[0].startswith("retry: ")
    assert 200 <= int(lines[0][7:]) <= 1500


async def test_several_processes_need_a_redis() -> None:
    """Without it each process would have logs of its own."""
    process = await started("--workers", "2")
    _, error = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 2
    assert b"STREAMAPI_REDIS_URL" in error
