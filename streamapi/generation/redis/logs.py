"""Logs that many processes share through Redis or Valkey: the backend past one process.

A log is served from memory in the process that writes it, so the token path never waits for
Redis. Three things run beside: the connection over which this process asks
Redis (`redis_connection.py`), a mirror (`mirror.py`) of what is written here, and a follower
(`follower.py`) of what is written elsewhere. What must be decided at once is decided by scripts
(`scripts.py`).

Holds are counted in Redis; the writer of a log keeps a copy of them, told through its inbox, and
goes by that when Redis is away. What Redis's absence takes away is what needs others: claims,
generations of other processes, their logs. Those raise `StoreUnavailable`, at once or within
0.3 s.
"""

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, suppress

from streamapi.errors import StoreUnavailable
from streamapi.generation import background_tasks
from streamapi.generation.event import ENDINGS, Event
from streamapi.generation.generation import Generation
from streamapi.generation.log import Conflict, Eager, Entry, LogGone, Stopped, Tail
from streamapi.generation.memory_log import LogBounds, MemoryLogs
from streamapi.generation.redis import scripts
from streamapi.generation.redis.follower import Follower
from streamapi.generation.redis.mirror import Mirror, WrittenLog
from streamapi.generation.redis.orphans import Orphans
from streamapi.generation.redis.wire import Lives, unpack_generation, why_of
from streamapi.generation.stored_log import StoredLog, entries_of
from streamapi.redis_connection import PATIENCE, RedisConnection

logger = logging.getLogger(__name__)

LEASE_RENEWALS = 5
"""In one lease: one may be late, and nobody takes the process for dead."""

PENDING_DELETES = 1000
"""Generations that were forgotten while Redis was away, and must be forgotten there too."""


class RedisLogs:
    """See `log.Logs` for the verbs. `tick`: seconds between two mirrorings, `lease`: that a
    process is taken for alive without a word. Lives on one event loop, from `start` to `aclose`."""

    def __init__(
        self,
        url: str,
        bounds: LogBounds | None = None,
        *,
        tick: float = 0.05,
        lease: float = 5.0,
        prefix: str = "streamapi:",
    ) -> None:
        self.process = secrets.token_hex(8)
        self._tick = tick
        self._lease = lease
        # What is forgotten here is still known to Redis, so no promise hangs on this memory.
        self._local = MemoryLogs(
            bounds, dropped=lambda log: self._mirror.dropped(log), promises=False
        )
        self.bounds = self._local.bounds
        lives = Lives.of(self.bounds, lease)
        self._connection = RedisConnection(url, prefix, self.process, self._back, scripts.SCRIPTS)
        self._connection.probe = scripts.RENEW, (lives.lease, lives.running, lives.generation)
        self._lives = lives
        self._mirror = Mirror(self._connection, self._local, lives, self.process)
        self._orphans = Orphans(self._connection, lives)
        self._follower = Follower(
            self._connection, self._local, self._orphans, lives, prefix, self.process, tick / 2,
            self._told,
        )  # fmt: skip
        self._forgets: dict[str, str] = {}
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
        """Begin. A Redis that is away is waited for no longer than a request would."""
        runs = {"connection": self._connection.run, "follower": self._follower.run}
        runs |= {"mirror": self._tick_on, "lease": self._renew_on}
        self._tasks = [background_tasks.start(f"redis {name}", run) for name, run in runs.items()]
        await self._connection.tried.wait()

    async def aclose(self) -> None:
        """Mirror what is left, give the lease back, and end."""
        try:
            async with asyncio.timeout(PATIENCE):
                self._mirror.tick()
                await self._connection.call(
                    scripts.LOOK, ""
                )  # what was under way has been answered then
                await self._connection.call(scripts.BYE)
        except (StoreUnavailable, TimeoutError):
            logger.warning("what was written last could not be mirrored")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def append(self, log: str, position: int, events: Sequence[Event]) -> None:
        own = self._mirror.own.get(log)
        if own is None:
            if position != 1 or self._local.get(log) is not None:
                raise Conflict(f"{log} is not written here")
            if not isinstance(events[-1], ENDINGS):
                await self._local.append(log, position, events)
                self._mirror.open(log)
                return
            StoredLog().takes(log, entries_of(1, events))
            await self._local.append(log, 1, events[:1])
            own, position, events = self._mirror.open(log), 2, events[1:]
        if not events:
            return
        if isinstance(events[-1], ENDINGS):
            await self._mirror.end(own, entries_of(position, events))
        elif own.ending:
            raise Conflict(f"{log} is about to have its ending")
        else:
            await self._local.append(log, position, events)
            self._mirror.dirty.add(own)

    def read(
        self,
        log: str,
        after: int = 0,
        silence: float | None = None,
        hold: str | None = None,
        eager: Eager | None = None,
    ) -> AsyncGenerator[Sequence[Entry], None]:
        if log in self._mirror.own:
            return self._local.read(log, after, silence, hold, eager)
        # Of another process's log the events may come before a cancellation that cuts them short,
        # and only a reader in its own turn sees both.
        return self._read_on(log, self._local.read(log, after, silence, hold))

    async def _read_on(
        self, log: str, local: AsyncGenerator[Sequence[Entry], None]
    ) -> AsyncGenerator[Sequence[Entry], None]:
        copy = await self._follower.follow(log)
        try:
            async with aclosing(local) as batches:
                async for batch in batches:
                    yield batch
        finally:
            self._follower.leave(copy)

    async def tail(self, log: str, hold: str | None = None) -> Tail:
        if log in self._mirror.own:
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
            own = None if held is None else self._mirror.own.get(held.log)
            if own is None:
                break
            self._mirror.anew(own)  # Redis was emptied, and has not got it again yet
        raise StoreUnavailable("Redis does not know the generation that it should promise.")

    async def claimed(self, name: str) -> str | None:
        winner = await self._connection.call(scripts.CLAIMED, name)
        return winner.decode() or None

    async def hold(self, generation: Generation) -> None:
        before = await self._local.find(generation.id)
        own = self._mirror.own.get(generation.log)
        if own is not None:
            await self._local.hold(generation)
            self._mirror.flush(own)
        try:
            said, *more = await self._connection.call(scripts.HOLD, *self._mirror.held(generation))
        except StoreUnavailable:
            if own is None:
                raise
            own.done = False  # it is told when Redis is back
            return
        if said == b"stopping":
            if own is not None:
                own.kept.holds.discard(generation.id)
                self._local.forget_generation(generation.id)
            raise Conflict(f"{generation.log} is being stopped")
        if said == b"gone":
            if own is None:
                raise LogGone(generation.log)
            self._mirror.anew(own)
        elif own is None and before is not None:
            self._moved(before, more[1])

    def _moved(self, before: Generation, left: int) -> None:
        """A generation of ours holds another process's log now."""
        self._local.forget_generation(before.id)
        kept = self._local.get(before.log)
        if kept is not None:
            kept.holds.discard(before.id)
            if left == 0:
                self._local.drop(before.log)

    async def find(self, generation: str) -> Generation | None:
        found = await self._local.find(generation)
        if found is None:
            packed = await self._connection.call(scripts.FIND, generation)
            found = None if packed is None else unpack_generation(packed)
        return found

    async def release(self, generation: Generation, why: Stopped) -> None:
        own = self._mirror.own.get(generation.log)
        if own is None:
            await self._release_elsewhere(generation, why)
            return
        if own.kept.ended or generation.id not in own.kept.holds:
            return
        self._mirror.flush(own)
        try:
            left = await self._connection.call(scripts.RELEASE, generation.id, generation.log, why)
        except StoreUnavailable:
            left = -1
            own.released.append((generation.id, why))
        await self._let_go(own, generation, why, left)

    def arrive(self, generation: Generation) -> None:
        self._connection.post(scripts.ARRIVE, (generation.id, self._lives.running))

    async def _let_go(
        self, own: WrittenLog, generation: Generation, why: Stopped, left: int
    ) -> None:
        kept = own.kept
        if kept.ended or generation.id not in kept.holds or left == 3:
            return
        if left == 1:
            kept.holds.discard(generation.id)
            await self._local.stop(own.log, why)
        elif left == 2:
            kept.leave(generation.id, why)
        else:
            await self._local.release(generation, why)  # by what is known here
        self._mirror.left(own, generation.id)

    async def _release_elsewhere(self, generation: Generation, why: Stopped) -> None:
        try:
            await self._connection.call(scripts.RELEASE, generation.id, generation.log, why)
        except StoreUnavailable:
            if why == "caller":
                raise
            logger.warning("%s could not be let go: Redis is away", generation.id)

    async def forget(self, generation: Generation) -> None:
        await self.release(generation, "caller")
        own = self._mirror.own.get(generation.log)
        try:
            left = await self._connection.call(scripts.FORGET, generation.id, generation.log)
        except StoreUnavailable:
            self._forgets[generation.id] = generation.log
            while len(self._forgets) > PENDING_DELETES:
                del self._forgets[next(iter(self._forgets))]
            await self._local.forget(generation)
            raise
        self._local.forget_generation(generation.id)
        if own is not None:
            own.kept.holds.discard(generation.id)
            if own.kept.holds:
                return
        if left == 0:
            self._local.drop(generation.log)

    async def stop(self, log: str, why: Stopped) -> None:
        if log in self._mirror.own:
            await self._local.stop(log, why)
            self._connection.post(scripts.STOP, (log, why))
        else:
            await self._connection.call(scripts.STOP, log, why)

    def watch(self, log: str, stop: Callable[[Stopped], None]) -> None:
        self._local.watch(log, stop)

    def on_lost(self, report: Callable[[Generation], None]) -> None:
        self._orphans.report = report

    async def _told(self, kind: str, log: str, generation: str, data: bytes) -> None:
        """What another process asks of a log that is written here."""
        own = self._mirror.own.get(log)
        if own is None:
            return
        if kind == "hold":
            with suppress(Conflict, LogGone):
                await self._local.hold(unpack_generation(data))
        elif kind == "stop":
            own.kept.holds.discard(generation)
            await self._local.stop(log, why_of(data))
        elif kind == "release" and not own.kept.ended and generation in own.kept.holds:
            own.kept.leave(generation, why_of(data))
            self._mirror.left(own, generation)
        elif kind == "forget":
            own.kept.holds.discard(generation)
            self._local.forget_generation(generation)
            if not own.kept.holds:
                self._local.drop(log)

    def _back(self) -> None:
        self._mirror.back()
        forgets, self._forgets = self._forgets, {}
        for generation, log in forgets.items():
            self._connection.post(scripts.FORGET, (generation, log))

    async def _tick_on(self) -> None:
        while True:
            await asyncio.sleep(self._tick)
            self._mirror.tick()

    async def _renew_on(self) -> None:
        while True:
            await asyncio.sleep(self._lease / LEASE_RENEWALS)
            self._mirror.renew()
            self._follower.check()
