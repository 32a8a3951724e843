"""Logs that many processes share through Redis or Valkey: the backend past one process.

A log is served from memory in the process that writes it, so the token path never waits for
Redis. A mirror copies what is written here into Redis (`mirror.py`). A follower copies what other
processes write into memory here (`follower.py`). `holds.py` has the generations on a log,
`orphans.py` the logs whose writer is gone. What must be decided at once is decided by scripts
(`scripts.py`), over one connection (`redis_connection.py`).

Without Redis, a process goes on with what it has in memory. What needs other processes (claims,
their generations, their logs) raises `StoreUnavailable`, at once or within 0.3 s.
"""

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

from streamapi.errors import StoreUnavailable
from streamapi.generation import background_tasks
from streamapi.generation.event import ENDINGS, Event
from streamapi.generation.generation import Generation
from streamapi.generation.log import Conflict, Eager, Entry, Stopped, Tail
from streamapi.generation.log_bounds import LogBounds
from streamapi.generation.memory_log import MemoryLogs
from streamapi.generation.redis import scripts
from streamapi.generation.redis.follower import Follower
from streamapi.generation.redis.holds import Holds
from streamapi.generation.redis.mirror import Mirror
from streamapi.generation.redis.orphans import Orphans
from streamapi.generation.redis.wire import Lives, unpack_generation
from streamapi.generation.stored_log import StoredLog, entries_of
from streamapi.redis_connection import RedisConnection

logger = logging.getLogger(__name__)

TICK = 0.05
"""Seconds between two mirrorings. Readers on other processes get events so much later, which
people hardly notice; a shorter tick costs Redis more round trips."""

LEASE = 5.0
"""Seconds without a renewal after which a process counts as dead. Readers of its logs wait that
long for their ending; a process that merely stalls for longer loses its logs."""

LEASE_RENEWALS = 5
"""Renewals in the time of one lease: some may be late, and the process still counts as alive."""


class RedisLogs:
    """See `log.Logs` for the verbs. `prefix` begins the name of each key; `timeout` is the
    seconds that a request may wait for Redis, `tick` is the seconds
    between two mirrorings, `lease` how long a process counts as alive without a renewal. Lives on
    one event loop, from `start` to `aclose`."""

    def __init__(
        self,
        url: str,
        bounds: LogBounds,
        *,
        prefix: str,
        timeout: float,
        tick: float = TICK,
        lease: float = LEASE,
    ) -> None:
        self.process = secrets.token_hex(8)
        self._tick = tick
        self._lease = lease
        # What is forgotten here is still known to Redis, so no promise hangs on this memory.
        self._local = MemoryLogs(
            bounds, dropped=lambda log: self._mirror.dropped(log), promises=False
        )
        lives = Lives.of(bounds, lease)
        self._connection = RedisConnection(
            url, prefix, self.process, self._back, scripts.SCRIPTS, timeout
        )
        self._connection.probe = scripts.RENEW, (lives.lease, lives.running, lives.generation)
        self._lives = lives
        self._mirror = Mirror(self._connection, self._local, lives, self.process)
        self._holds = Holds(self._connection, self._local, self._mirror, lives)
        self._orphans = Orphans(self._connection, lives)
        self._follower = Follower(
            self._connection, self._local, self._orphans, lives, prefix, self.process, tick / 2,
            self._holds.message,
        )  # fmt: skip
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def available(self) -> bool:
        """Whether Redis is there, and takes writes."""
        return self._connection.available

    @property
    def failures(self) -> int:
        """How often Redis did not answer, or refused."""
        return self._connection.failures

    async def start(self) -> None:
        """Begin. This waits for a Redis that is away no longer than a request would."""
        runs = {"connection": self._connection.run, "follower": self._follower.run}
        runs |= {"mirror": self._tick_on, "lease": self._renew_on}
        self._tasks = [background_tasks.start(f"redis {name}", run) for name, run in runs.items()]
        await self._connection.tried.wait()

    async def aclose(self) -> None:
        """Mirror what is left, give the lease back, and end."""
        try:
            async with asyncio.timeout(self._connection.timeout):
                self._mirror.tick()
                # When this is answered, what was under way before has been answered too.
                await self._connection.call(scripts.LOOK, "")
                await self._connection.call(scripts.GIVE_LEASE_BACK)
        except (StoreUnavailable, TimeoutError):
            logger.warning("what was written last could not be mirrored")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def append(self, log: str, position: int, events: Sequence[Event]) -> None:
        written = self._mirror.written.get(log)
        if written is None:
            if position != 1 or self._local.get(log) is not None:
                raise Conflict(f"{log} is not written here")
            if not isinstance(events[-1], ENDINGS):
                await self._local.append(log, position, events)
                self._mirror.open(log)
                return
            StoredLog().takes(log, entries_of(1, events))
            await self._local.append(log, 1, events[:1])
            written, position, events = self._mirror.open(log), 2, events[1:]
        if not events:
            return
        if isinstance(events[-1], ENDINGS):
            await self._mirror.end(written, entries_of(position, events))
        elif written.ending:
            raise Conflict(f"{log} is about to have its ending")
        else:
            await self._local.append(log, position, events)
            self._mirror.dirty.add(written)

    def read(
        self,
        log: str,
        after: int = 0,
        silence: float | None = None,
        hold: str | None = None,
        eager: Eager | None = None,
    ) -> AsyncGenerator[Sequence[Entry], None]:
        if log in self._mirror.written:
            return self._local.read(log, after, silence, hold, eager)
        # Events of another process's log can arrive before a cancellation that cuts them short.
        # An eager reader would write them out; a reader that wakes up sees both.
        return self._read_on(log, self._local.read(log, after, silence, hold))

    async def _read_on(
        self, log: str, local: AsyncGenerator[Sequence[Entry], None]
    ) -> AsyncGenerator[Sequence[Entry], None]:
        followed = await self._follower.follow(log)
        try:
            async with aclosing(local) as batches:
                async for batch in batches:
                    yield batch
        finally:
            self._follower.leave(followed)

    async def tail(self, log: str, hold: str | None = None) -> Tail:
        if log in self._mirror.written:
            return await self._local.tail(log, hold)
        n, ended, _, _, left, _ = await self._follower.look(log, hold or "")
        return Tail(left, True) if left else Tail(n, bool(ended))

    def weigh(self, log: str, after: int) -> int | None:
        return self._local.weigh(log, after)

    async def claim(
        self, name: str, generation: str, ttl: float, replaces: str | None = None
    ) -> str:
        for _ in range(3):
            winner = await self._connection.call(
                scripts.CLAIM, name, generation, max(1, round(ttl * 1000)), replaces or ""
            )
            if winner:
                return str(winner.decode())
            held = await self._local.find(generation)
            written = None if held is None else self._mirror.written.get(held.log)
            if written is None:
                break
            self._mirror.anew(written)  # Redis was emptied, and does not have it again yet
        raise StoreUnavailable("Redis lost this request. Send it again.")

    async def claimed(self, name: str) -> str | None:
        winner = await self._connection.call(scripts.CLAIMED, name)
        return winner.decode() or None

    async def hold(self, generation: Generation) -> None:
        await self._holds.hold(generation)

    async def find(self, generation: str) -> Generation | None:
        found = await self._local.find(generation)
        if found is None:
            packed = await self._connection.call(scripts.FIND, generation)
            found = None if packed is None else unpack_generation(packed)
        return found

    async def release(self, generation: Generation, why: Stopped) -> None:
        await self._holds.release(generation, why)

    def arrive(self, generation: Generation) -> None:
        self._connection.post(scripts.ARRIVE, (generation.id, self._lives.running))

    async def forget(self, generation: Generation) -> None:
        await self._holds.forget(generation)

    async def stop(self, log: str, why: Stopped) -> None:
        if log in self._mirror.written:
            await self._local.stop(log, why)
            self._connection.post(scripts.STOP, (log, why))
        else:
            await self._connection.call(scripts.STOP, log, why)

    def on_stop(self, log: str, stop: Callable[[Stopped], None]) -> None:
        self._local.on_stop(log, stop)

    def on_lost(self, report: Callable[[Generation], None]) -> None:
        self._orphans.report = report

    def _back(self) -> None:
        self._mirror.back()
        self._holds.back()

    async def _tick_on(self) -> None:
        while True:
            await asyncio.sleep(self._tick)
            self._mirror.tick()

    async def _renew_on(self) -> None:
        while True:
            await asyncio.sleep(self._lease / LEASE_RENEWALS)
            self._mirror.renew()
            self._follower.check()
