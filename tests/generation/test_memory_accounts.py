"""Whatever happens to logs in memory, the accounts of them equal what is there."""

import random
from contextlib import suppress

import msgspec
import pytest

from streamapi.errors import StreamapiError
from streamapi.generation.event import Cancelled, Delta, Start
from streamapi.generation.generation import Generation
from streamapi.generation.log import Conflict, LogGone
from streamapi.generation.memory_log import MemoryLogs
from streamapi.generation.redis.wire import lost
from tests.generation.defaults import log_bounds

BOUNDS = log_bounds(
    ttl=50.0,
    expired_ttl=80.0,
    max_bytes=20_000,
    max_logs=12,
    max_total_bytes=60_000,
    max_generations=25,
)


class History:
    """A random one, with logs and generations that come, go, and are mistaken for each other."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.now = 0.0
        self.logs = MemoryLogs(BOUNDS, lambda: self.now)
        self.tails = {"log_0": 1}
        self.generations = [self.generation()]

    def generation(self) -> Generation:
        """A new one, on one of the latest logs."""
        return Generation(
            id=f"gen_{self.chance.random()}", log=self.log(), owner=self.chance.choice("ab"),
            task="text", model="m", created=0.0, metadata={"a": "b"},
            promise=self.chance.choice([0.0, 30.0]),
        )  # fmt: skip

    def log(self) -> str:
        return self.chance.choice(list(self.tails)[-15:])

    async def step(self) -> None:
        """Anything."""
        self.now += self.chance.random() * 4
        held = self.chance.choice(self.generations[-15:])
        does = self.chance.choice([self._begin, self._hold, self._append, self._end, self._lose,
                                   self._move, self._claim])  # fmt: skip
        with suppress(Conflict, LogGone, StreamapiError):
            if self.chance.random() < 0.8:
                await does(held)
            elif self.chance.random() < 0.5:
                await self.logs.forget(held)
            else:
                await self.logs.release(held, "disconnect")

    async def _begin(self, _: Generation) -> None:
        log = f"log_{len(self.tails)}"
        self.tails[log] = 1
        await self.logs.append(log, 1, [Start("text", 0.0)])

    async def _hold(self, _: Generation) -> None:
        self.generations.append(self.generation())
        await self.logs.hold(self.generations[-1])

    async def _append(self, _: Generation) -> None:
        log = self.log()
        text = "x" * self.chance.randrange(1, 3000)
        await self.logs.append(log, self.tails[log] + 1, [Delta(text, "text")])
        self.tails[log] += 1

    async def _end(self, _: Generation) -> None:
        log = self.log()
        await self.logs.append(log, self.tails[log] + 1, [Cancelled("caller")])

    async def _lose(self, _: Generation) -> None:
        self.logs.lose(self.log(), lost())

    async def _move(self, held: Generation) -> None:
        moved = msgspec.structs.replace(held, log=self.log())
        await self.logs.hold(moved)
        self.generations.append(moved)

    async def _claim(self, held: Generation) -> None:
        name = f"name {self.chance.randrange(5)}"
        replaces = self.chance.choice([None, await self.logs.claimed(name)])
        await self.logs.claim(name, held.id, 20.0, replaces)


def check(logs: MemoryLogs) -> None:
    """Every account equals a count of what it is of."""
    stored, known = logs._logs, logs._generations
    assert logs._size == sum(log.cost for log in stored.values())
    assert set(logs._finished._logs) == {name for name, log in stored.items() if log.ended}
    for name, claim in logs._claims.items():
        held = known.get(claim.generation)
        assert held is not None
        assert name in held.names
    assert sum(known._of_owner.values()) == len(known._promised)
    places = [*known._promised, *known._ended, *known._logless]
    assert len(places) == len(set(places))
    for generation, held in known._held.items():
        assert (held.gone is None) == (held.generation.log in stored)
        assert (generation in places) or not (held.ended or held.gone is not None)
    assert set(places) <= set(known._held)


@pytest.mark.parametrize("seed", range(30))
async def test_the_accounts_are_true(seed: int) -> None:
    """Of bytes, finished logs, claims, promises and places, after each step."""
    history = History(seed)
    for _ in range(400):
        await history.step()
        check(history.logs)
