"""A caller leaves at any moment: a request is cancelled at its first wait, its second, and so on,
and each time nothing of it is left behind."""

import asyncio
import types
from collections.abc import Awaitable, Callable, Generator
from typing import Any

import pytest

from streamapi.access.answer_charge import AnswerCharge
from streamapi.access.limits import MemoryLimits
from streamapi.access.redis_limits import RedisLimits
from streamapi.generation.ended import Ended
from streamapi.generation.event import Event
from streamapi.generation.memory_log import MemoryLogs
from streamapi.generation.redis.logs import RedisLogs
from streamapi.generation.request import Caller, GenerationRequest
from streamapi.settings import Settings
from tests.api.wire import unique
from tests.conftest import RedisServer, until
from tests.generation.defaults import admission, log_bounds, memory_logs, retry_policy
from tests.generation.scripted import END, Pause, Scripted, generations, say
from tests.generation.test_generations import ask

LONG = retry_policy(attempt=60.0, first_content=60.0, idle=60.0, total=60.0)
SILENCE = 0.2
"""Seconds after the last event in which every wait that is still to come begins."""

EVENTS = 3
"""What comes before the model's pause: the start and two deltas."""

SETTINGS = Settings(max_streams=50)
WAYS: dict[str, dict[str, Any]] = {
    "alone": {},
    "cancelling": {"on_disconnect": "cancel"},
    "named": {"idempotency_key": "TAG", "digest": "d"},
    "cacheable": {"cache": "use", "cache_key": "TAG"},
    "both": {"cache": "use", "cache_key": "TAG", "idempotency_key": "TAG", "digest": "d"},
}


@types.coroutine
def cut(work: Awaitable[Any], at: int, waits: list[int]) -> Generator[Any, Any, Any]:
    """`work`, whose task is cancelled when it waits for the `at`th time."""
    steps = work.__await__()
    take: Callable[[], Any] = lambda: next(steps)  # noqa: E731
    while True:
        try:
            wait = take()
        except StopIteration as end:
            return end.value
        waits.append(at)
        task = asyncio.current_task()
        if len(waits) == at and task is not None:
            task.cancel()
        try:
            yield wait
            take = lambda: next(steps)  # noqa: E731
        except BaseException as error:
            take = lambda error=error: steps.throw(error)  # type: ignore[misc]  # noqa: E731


class Process:
    """Generations, and what each of them takes: a stream, tokens, a slot of the model."""

    def __init__(self, logs: MemoryLogs | RedisLogs, limits: MemoryLimits | RedisLimits) -> None:
        self._limits = limits
        self._admission = admission(calls=2, queue=10, queue_per_account=5)
        self._endings: list[Ended] = []
        self._logs = logs
        self._generations = generations(
            logs, LONG, 0.0, admission=self._admission, observers=[self._endings.append]
        )

    async def ask(self, ask: GenerationRequest, seen: list[Event]) -> None:
        """Ask, and read to the end; what has come is seen."""
        caller = Caller("me", key="key_mine")
        charge = AnswerCharge(self._limits, SETTINGS, caller, ask)
        generation = await self._generations.start(caller, ask, charge)
        async for batch in self._generations.read(generation):
            seen.extend(entry.event for entry in batch)

    @property
    def empty(self) -> bool:
        local = getattr(self._logs, "_local", self._logs)
        slots = getattr(self._limits, "_held", None) or getattr(self._limits, "_slots", None)
        return (
            self._generations.idle
            and not slots
            and self._admission.of("scripted").idle
            and all(stored.ended for stored in local._logs.values())
        )


async def leave(process: Process, way: dict[str, Any], at: int) -> bool:
    """Ask a model that does not end by itself, and leave at that wait, or when nothing more is to
    come; whether it was at that wait."""
    tag, model = unique(), Scripted([*say("a", "b"), Pause(), END])
    seen: list[Event] = []
    request = ask(model, **{k: tag if v == "TAG" else v for k, v in way.items()})
    waits: list[int] = []

    async def run() -> None:
        await cut(process.ask(request, seen), at, waits)

    task = asyncio.create_task(run())
    await until(lambda: task.done() or len(seen) == EVENTS, "all that is to come has come")
    await asyncio.wait({task}, timeout=SILENCE)
    there = task.done()
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    await until(lambda: process.empty and not model.open, f"nothing is left (wait {at})")
    return there


async def every_moment(process: Process, way: dict[str, Any]) -> int:
    """Leave at each wait, one after another. Returns how many there were."""
    at = 1
    while await leave(process, way, at):
        at += 1
    return at - 1


@pytest.mark.parametrize("way", WAYS)
async def test_leaving_leaves_nothing(way: str) -> None:
    """No reader, log, stream or slot, and no call to the model."""
    assert await every_moment(Process(memory_logs(), MemoryLimits()), WAYS[way]) >= 2


@pytest.mark.parametrize("way", WAYS)
async def test_leaving_leaves_nothing_in_redis(redis_server: RedisServer, way: str) -> None:
    """Where there is more to wait for."""
    logs = RedisLogs(redis_server.url, log_bounds(), prefix="leaving:", timeout=0.3, tick=0.01)
    limits = RedisLimits(redis_server.url, 0.3)
    await logs.start()
    await limits.start()
    assert await every_moment(Process(logs, limits), WAYS[way]) >= 3
    await logs.aclose()
    await limits.aclose()
