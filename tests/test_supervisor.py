"""`streamapi serve --workers 2`: processes that share an address, real ones, with a real Redis."""

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
    """The address of a Redis of our own, that writes nothing."""
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


async def who_answers(url: str, enough: int, without: frozenset[int] = frozenset()) -> set[int]:
    """The processes that answer, once there are `enough` besides those of `without`. Each request
    has its own connection, and each must be answered."""
    seen: set[int] = set()
    async with asyncio.timeout(20):
        while len(seen - without) < enough:
            async with httpx.AsyncClient(timeout=20) as client:
                seen.add((await client.get(f"{url}/readyz")).json()["pid"])
    return seen


def children_of(parent: asyncio.subprocess.Process) -> set[int]:
    """The processes that a process has started."""
    return set(map(int, Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()))


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and is not yet buried does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def gone(pids: set[int], seconds: float) -> None:
    """Wait until none of the processes is left."""
    async with asyncio.timeout(seconds):
        while any(map(alive, pids)):
            await asyncio.sleep(0.01)


async def test_processes_count_together(redis: str) -> None:
    """Twenty an hour: of sixty requests over twenty connections, to two processes, exactly twenty
    pass; and Redis knows no address."""
    settings = {"WORKERS": "2", "REDIS_URL": redis, "RATE_LIMIT": "20/hour"}
    async with serving(**settings, DRAIN_TIMEOUT="1") as (_, url):
        await who_answers(url, 2)

        async def three() -> list[int]:
            async with httpx.AsyncClient(timeout=20) as client:
                return [(await client.post(f"{url}/v1/text", json={})).status_code for _ in "abc"]

        codes = await asyncio.gather(*(three() for _ in range(20)))
        assert sorted(code for of in codes for code in of) == [422] * 20 + [429] * 40


async def test_without_redis_each_process_has_its_part_of_a_limit() -> None:
    """`--workers 4` reaches the processes: with Redis away each lets a quarter pass."""
    settings = {"REDIS_URL": "redis://127.0.0.1:1", "RATE_LIMIT": "40/hour", "DRAIN_TIMEOUT": "1"}
    each_anew = {"Connection": "close"}  # so any of the processes may get it
    async with serving("--workers", "4", **settings) as (_, url):
        await who_answers(url, 4)
        async with httpx.AsyncClient(base_url=url, headers=each_anew, timeout=20) as client:
            answers = await asyncio.gather(*(client.post("/v1/text", json={}) for _ in range(200)))
        passed = [answer.status_code for answer in answers].count(422)
        assert 10 < passed <= 40


async def test_a_dead_child_is_replaced_and_a_signal_drains_all(redis: str) -> None:
    """Two processes answer on one address. One is killed: every new connection is answered all
    the same, and another takes its place. SIGTERM then ends all, cleanly."""
    async with serving(WORKERS="2", REDIS_URL=redis, DRAIN_TIMEOUT="1") as (parent, url):
        first = await who_answers(url, 2)
        assert first == children_of(parent)
        os.kill(next(iter(first)), signal.SIGKILL)
        await who_answers(url, 1, without=frozenset(first))
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
    """The first SIGINT lets streams go on; the second ends everything at once."""
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
    """A parent that is killed cannot say so: its children notice, and drain."""
    async with serving(WORKERS="2", REDIS_URL=redis, DRAIN_TIMEOUT="1") as (parent, url):
        async with httpx.AsyncClient(base_url=url, timeout=20) as client:
            headers = {"Prefer": "respond-async"}
            assert (await client.post("/v1/text", json=HANGS, headers=headers)).status_code == 202
        children = children_of(parent)
        parent.kill()
        await gone(children, 1 + 2)


async def test_children_that_cannot_live_are_given_up() -> None:
    """A process that ends again and again is not replaced for ever."""
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


async def test_a_setting_that_children_refuse_is_a_sentence(redis: str) -> None:
    """What no process can start with ends the parent too, as it would end one by itself; and
    nothing says before that it serves."""
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


async def test_readers_are_sent_where_another_process_serves_them(redis: str) -> None:
    """With shared logs a drain does not keep its readers. A stream is told when to come again, and
    closed; so is who comes again; a socket gets 1001. What they read is written on, whoever of
    them has left, to the bound of the drain."""
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
        assert_sent_away(seen[-2:])
        assert not {f"event: {ending}" for ending in ENDINGS} & set(seen)
        async for _ in ws:
            pass  # what had come; a 1001 is how it ends
        assert ws.close_code == 1001
        last = next(line for line in reversed(seen) if line.startswith("id: "))[4:]
        again = await client.get("/v1/text/stream", headers={"Last-Event-ID": last})
        assert again.status_code == 200
        assert_sent_away(again.text.splitlines())
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


def assert_sent_away(lines: list[str]) -> None:
    """`retry:` with jitter, and no more."""
    assert lines[1:] in ([], [""])
    assert lines[0].startswith("retry: ")
    assert 200 <= int(lines[0][7:]) <= 1500


async def test_several_processes_need_a_redis() -> None:
    """Their logs would be strangers to each other."""
    process = await started("--workers", "2")
    _, error = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 2
    assert b"STREAMAPI_REDIS_URL" in error
