"""Each background task goes on after an unexpected exception."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any
from uuid import uuid4

import pytest

from streamapi import drain
from streamapi.access.key_cache import KeyCache
from streamapi.access.limits import Slots, Want
from streamapi.access.redis_limits import RedisLimits
from streamapi.access.revocation_watcher import RevocationWatcher
from streamapi.emulator import Emulator
from streamapi.generation import background_tasks
from streamapi.generation.redis.logs import RedisLogs
from tests.access.conftest import Records
from tests.access.conftest import records as records  # a fixture
from tests.conftest import RedisServer, running, until
from tests.generation import scripted
from tests.generation.defaults import log_bounds, memory_logs
from tests.generation.test_log_contract import DONE, START, fresh, hold_on, text


class Failing:
    """Makes the next call of a method raise, and counts the calls after that."""

    def __init__(self, patch: pytest.MonkeyPatch, owner: Any, method: str) -> None:
        self.failed = False
        self.after = 0
        self._real: Callable[..., Any] = getattr(owner, method)
        patch.setattr(owner, method, self._call)

    def _call(self, *arguments: Any) -> Any:
        if not self.failed:
            self.failed = True
            raise RuntimeError("unexpected")
        self.after += 1
        return self._real(*arguments)

    async def goes_on(self) -> None:
        """Wait until the method has failed, and was called again."""
        await until(lambda: self.failed and self.after, "the task goes on")


def logged(caplog: pytest.LogCaptureFixture, name: str) -> bool:
    """Whether the log has the exception and the name of the task."""
    return any(
        record.exc_info and f"{name!r} failed" in record.getMessage() for record in caplog.records
    )


# `background_tasks.start` itself.


async def test_the_wait_doubles_up_to_its_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A task that fails at once waits longer each time; after a longer run the wait is short."""
    waits: list[float] = []
    clock = 0.0
    ran = iter([0.0] * 8 + [60.0, 0.0])

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    async def run() -> None:
        nonlocal clock
        try:
            clock += next(ran)
        except StopIteration:
            raise asyncio.CancelledError from None
        raise RuntimeError

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "time", lambda: clock)
    monkeypatch.setattr(background_tasks.asyncio, "sleep", sleep)
    with suppress(asyncio.CancelledError):
        await background_tasks._run("it", run)
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0, 2.0, 0.1, 0.2]


async def test_a_task_that_just_ends_runs_again(caplog: pytest.LogCaptureFixture) -> None:
    """A background task is meant to run until it is cancelled."""
    runs: list[int] = []

    async def run() -> None:
        runs.append(1)

    task = background_tasks.start("brief", run)
    await until(lambda: len(runs) > 1, "it runs again")
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    assert "'brief' ended" in caplog.text


# The tasks of the logs, each with an exception in it.


@pytest.fixture
async def pair(redis_server: RedisServer) -> AsyncIterator[tuple[RedisLogs, RedisLogs]]:
    """The logs of two processes on one Redis."""
    prefix = f"{uuid4().hex}:"
    one, other = (
        RedisLogs(redis_server.url, log_bounds(), tick=0.02, lease=0.6, prefix=prefix, timeout=0.3)
        for _ in "ab"
    )
    await one.start()
    await other.start()
    yield one, other
    await one.aclose()
    await other.aclose()


LOG_TASKS = {
    "connection": ("_connection", "_send_queue"),
    "follower": ("_follower", "_read"),
    "mirror": ("_mirror", "tick"),
    "lease": ("_mirror", "renew"),
}


async def test_every_task_of_the_logs_is_tested(pair: tuple[RedisLogs, RedisLogs]) -> None:
    """Add each new task to `LOG_TASKS`, and so to the test below."""
    names = {task.get_name() for task in pair[0]._tasks}
    assert names == {f"redis {name}" for name in LOG_TASKS}


@pytest.mark.parametrize("name", LOG_TASKS)
async def test_the_logs_survive_an_exception(
    pair: tuple[RedisLogs, RedisLogs],
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """After it each process still follows what the other one writes."""
    for broken, working in (pair, pair[::-1]):
        part, method = LOG_TASKS[name]
        failing = Failing(monkeypatch, getattr(broken, part), method)
        await failing.goes_on()
        assert logged(caplog, f"redis {name}")
        await until(lambda broken=broken: broken.available, "it has Redis")  # type: ignore[misc]
        for writer, reader in ((broken, working), (working, broken)):
            log = fresh()
            await writer.append(log, 1, [START])
            mine = hold_on(log)
            await writer.hold(mine)
            reading = asyncio.create_task(read(reader, log))
            await writer.append(log, 2, [text(2)])
            await writer.append(log, 3, [DONE])
            assert await asyncio.wait_for(reading, 5) == [START, text(2), DONE]


async def read(logs: RedisLogs, log: str) -> list[Any]:
    """All events of a log."""
    return [entry.event async for batch in logs.read(log) for entry in batch]


# The other tasks.


@pytest.mark.parametrize("name", ["connection", "lease"])
async def test_the_limits_survive_an_exception(
    redis_server: RedisServer,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """After it Redis counts the limits again, and slots are renewed."""
    limits = RedisLimits(redis_server.url, 0.3, lease=0.3, prefix=f"{uuid4().hex}:")
    await limits.start()
    assert {task.get_name() for task in limits._tasks} == {"limits connection", "limits lease"}
    await limits.take(Want("held", Slots(1), name="n"))  # so that there is something to renew
    owner, method = (
        (limits.connection, "_send_queue") if name == "connection" else (limits, "_renew_slots")
    )
    failing = Failing(monkeypatch, owner, method)
    await failing.goes_on()
    assert logged(caplog, f"limits {name}")
    await until(lambda: limits.connection.available, "it has Redis")
    [taken] = await limits.take(Want("k", Slots(1), name="n"))
    assert taken.allowed
    assert not taken.local
    await limits.aclose()


async def test_the_revocation_watcher_survives_an_exception(
    records: Records, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """After it the readers of an expired key are closed."""
    generations = scripted.generations(memory_logs())
    watcher = RevocationWatcher(KeyCache(records, 30.0, 300.0), generations, 0.01)
    _, expired = await records.make(expires=time.time() - 1)
    failing = Failing(monkeypatch, watcher, "check")
    watcher.start()
    await failing.goes_on()
    assert logged(caplog, "revocation watcher")
    closed: list[str] = []
    with watcher.reading(expired.id, lambda: closed.append("reader")):
        await until(lambda: closed, "its reader is closed")
    await watcher.aclose()
    await generations.close(0.0)


async def test_the_drain_survives_an_exception(
    emulator: Emulator,
    redis_server: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Readers that come late are still asked to reconnect."""
    async with running(emulator, redis_url=redis_server.url) as server:
        failing = Failing(monkeypatch, drain, "_ask_to_reconnect")
        asked: list[str] = []
        closing = asyncio.Event()

        async def close(within: float) -> None:
            await closing.wait()

        monkeypatch.setattr(server.parts.generations, "close", close)
        draining = asyncio.create_task(drain.close(server.parts, 5.0))
        await failing.goes_on()
        assert logged(caplog, "requests to reconnect")
        server.parts.streams.add(lambda: asked.append("late"))
        await until(lambda: asked, "the late reader is asked to reconnect")
        closing.set()
        await draining
