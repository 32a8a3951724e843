"""A model that plays a script, and the log that a producer wrote of it."""

import asyncio
import gc
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any

from streamapi.generation.admission import Admission
from streamapi.generation.chain import RetryPolicy
from streamapi.generation.event import ENDINGS, Done, Event, Start, Usage
from streamapi.generation.generation import Generation
from streamapi.generation.generations import Generations
from streamapi.generation.health import Circuits
from streamapi.generation.log import Logs
from streamapi.generation.log_bounds import LogBounds
from streamapi.generation.memory_log import MemoryLogs
from streamapi.generation.model import Chunk, Model, Parser, Prompt
from streamapi.generation.producer import Producer
from streamapi.generation.request import GenerationRequest
from streamapi.tasks.text import TextParser
from tests.generation import defaults

PROMPT = Prompt(())
QUICK = defaults.retry_policy(
    attempts=3, backoff=0.002, attempt=0.3, first_content=2.0, idle=0.3, total=5.0
)
END = Chunk(finish="stop", usage=Usage(3, 7, 1), model="scripted-001")
LOG = "log_produced"
GENERATION = Generation(
    id="gen_produced", log=LOG, owner="anonymous", task="text", model="m", created=0.0
)


class Pause:
    """A silence in a script; for ever, unless it says how long."""

    def __init__(self, seconds: float = 60.0) -> None:
        self.seconds = seconds

    def __repr__(self) -> str:
        return f"Pause({self.seconds:g})"


Step = Chunk | tuple[Chunk, ...] | BaseException | Pause
Script = Sequence[Step]


def generations(
    logs: Logs, retry_policy: RetryPolicy = QUICK, grace: float = 0.1, **more: Any
) -> Generations:
    """The generations of a process, which try again quickly."""
    ttls = {"idempotency_ttl": 3600.0, "cache_ttl": 3600.0}
    more = {**ttls, "admission": defaults.admission(), **more}
    return Generations(logs, retry_policy, grace=grace, **more)


def say(*texts: str) -> list[Step]:
    return [Chunk(text) for text in texts]


class Scripted:
    """A `Model`: each request plays the next script, the last one for ever."""

    def __init__(self, *scripts: Script, name: str = "scripted") -> None:
        self.name = name
        self.scripts = scripts
        self.requested: list[float] = []
        self.closed: list[float] = []
        self.open = 0

    def dropped(self, prompt: Prompt) -> tuple[str, ...]:
        return () if prompt.temperature is None else ("temperature",)

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Sequence[Chunk], None]:
        script = self.scripts[min(len(self.requested), len(self.scripts) - 1)]
        self.requested.append(time.monotonic())
        self.open += 1
        try:
            for step in script:
                if isinstance(step, Pause):
                    await asyncio.sleep(step.seconds)
                elif isinstance(step, BaseException):
                    raise step
                else:
                    await asyncio.sleep(0)  # a real stream waits for its socket
                    yield step if isinstance(step, tuple) else (step,)
        finally:
            self.open -= 1
            self.closed.append(time.monotonic())

    @property
    def requests(self) -> int:
        return len(self.requested)


class ScriptedProducer:
    """A producer on a log of its own."""

    def __init__(
        self,
        *models: Model,
        retry_policy: RetryPolicy = QUICK,
        parser: Callable[[], Parser] = TextParser,
        prompt: Prompt = PROMPT,
        bounds: LogBounds | None = None,
        admission: Admission | None = None,
        circuits: Circuits | None = None,
    ) -> None:
        self.admission = admission or defaults.admission()
        self.circuits = circuits or Circuits()
        self.logs: Logs = MemoryLogs(bounds or defaults.log_bounds())
        self._ask = GenerationRequest(
            task="text", model="m", models=models, prompt=prompt, parser=parser
        )
        self._retry_policy = retry_policy
        self.producer: Producer
        self.task: asyncio.Task[None]

    async def begin(self) -> "ScriptedProducer":
        await self.logs.append(LOG, 1, [Start("text", 0.0)])
        self.producer = Producer(
            self.logs, GENERATION, self._ask, self._retry_policy, self.admission, self.circuits
        )
        self.task = self.producer.start()
        return self

    async def come_to(self, true: Callable[[Event], bool]) -> Event:
        """Wait for an event."""
        async with asyncio.timeout(5), aclosing(self.logs.read(LOG)) as batches:
            async for batch in batches:
                for entry in batch:
                    if true(entry.event):
                        return entry.event
        raise AssertionError("the log ended before")

    async def events(self) -> list[Event]:
        """All events, once the producer is through; there is one ending, and it is last."""
        async with asyncio.timeout(5):
            await asyncio.wait({self.task})
            assert (await self.logs.tail(LOG)).ended, self.task
            events = [entry.event async for batch in self.logs.read(LOG) for entry in batch]
        assert isinstance(events[0], Start)
        assert [isinstance(event, ENDINGS) for event in events].count(True) == 1
        assert isinstance(events[-1], ENDINGS)
        assert self.task.exception() is None if not self.task.cancelled() else False
        return events

    async def ending(self) -> Event:
        return (await self.events())[-1]

    async def code(self) -> str:
        """The code of the failure it ended in; else the type of its ending."""
        ending = await self.ending()
        return getattr(getattr(ending, "problem", None), "code", ending.type)


async def produce(*models: Model, **more: object) -> list[Event]:
    """All events of an answer by these models, asked one after another."""
    return await (await ScriptedProducer(*models, **more).begin()).events()  # type: ignore[arg-type]


async def eventually_closed(model: Scripted) -> None:
    """Wait until no stream of the model is open; a close may take a pass of the event loop."""
    end: Awaitable[None] | None = None
    for _ in range(100):
        if not model.open:
            return
        end = asyncio.sleep(0)
        await end
    gc.collect()
    raise AssertionError(f"{model.open} streams of {model.name} are still open")


def text_of(events: Sequence[Event]) -> str:
    return "".join(getattr(event, "text", "") for event in events)


def done(event: Event) -> Done:
    assert isinstance(event, Done), event
    return event
