"""Who holds a log that processes share: counted in Redis, and followed by the log's writer.

The writer of a log has its holds in memory, too: other processes send messages to its inbox. While
Redis is away, the writer goes by those.
"""

import logging
from contextlib import suppress

from streamapi.errors import StoreUnavailable
from streamapi.generation.generation import Generation
from streamapi.generation.log import Conflict, LogGone, Stopped
from streamapi.generation.memory_log import MemoryLogs
from streamapi.generation.redis import scripts
from streamapi.generation.redis.mirror import Mirror, WrittenLog
from streamapi.generation.redis.wire import Lives, unpack_generation, why_of
from streamapi.redis_connection import RedisConnection

logger = logging.getLogger(__name__)

PENDING_DELETES = 1000
"""Generations that were deleted while Redis was away, and must be deleted there too. Beyond it,
the oldest stay in Redis until their time to live is over."""

LAST, SHARED, READ_ELSEWHERE = 1, 2, 3
"""What `RELEASE` says of a hold: it was the last; other generations hold the log; the generation
is read in another process. Anything else: this process decides by what it knows."""


class Holds:
    """The holds of all logs, those that this process writes and those of other processes."""

    def __init__(
        self, connection: RedisConnection, local: MemoryLogs, mirror: Mirror, lives: Lives
    ) -> None:
        self._connection = connection
        self._local = local
        self._mirror = mirror
        self._lives = lives
        self._pending_deletes: dict[str, str] = {}

    async def hold(self, generation: Generation) -> None:
        """See `Logs.hold`."""
        before = await self._local.find(generation.id)
        written = self._mirror.written.get(generation.log)
        if written is not None:
            await self._local.hold(generation)
            self._mirror.flush(written)
        try:
            answer, *more = await self._connection.call(
                scripts.HOLD, *self._mirror.held(generation)
            )
        except StoreUnavailable:
            if written is None:
                raise
            written.done = False  # Redis gets the hold when it is back
            return
        if answer == b"stopping":
            if written is not None:
                written.stored.holds.discard(generation.id)
                self._local.forget_generation(generation.id)
            raise Conflict(f"{generation.log} is being stopped")
        if answer == b"gone":
            if written is None:
                raise LogGone(generation.log)
            self._mirror.anew(written)
        elif written is None and before is not None:
            self._moved(before, more[1])

    def _moved(self, before: Generation, left: int) -> None:
        """A generation of this process holds another process's log now."""
        self._local.forget_generation(before.id)
        stored = self._local.get(before.log)
        if stored is not None:
            stored.holds.discard(before.id)
            if left == 0:
                self._local.drop(before.log)

    async def release(self, generation: Generation, why: Stopped) -> None:
        """See `Logs.release`."""
        written = self._mirror.written.get(generation.log)
        if written is None:
            await self._release_elsewhere(generation, why)
            return
        if written.stored.ended or generation.id not in written.stored.holds:
            return
        self._mirror.flush(written)
        try:
            left = await self._connection.call(scripts.RELEASE, generation.id, generation.log, why)
        except StoreUnavailable:
            left = None
            written.released.append((generation.id, why))
        await self._released(written, generation, why, left)

    async def _released(
        self, written: WrittenLog, generation: Generation, why: Stopped, left: int | None
    ) -> None:
        stored = written.stored
        if stored.ended or generation.id not in stored.holds or left == READ_ELSEWHERE:
            return
        if left == LAST:
            stored.holds.discard(generation.id)
            await self._local.stop(written.log, why)
        elif left == SHARED:
            stored.leave(generation.id, why)
        else:
            await self._local.release(generation, why)
        self._mirror.left(written, generation.id)

    async def _release_elsewhere(self, generation: Generation, why: Stopped) -> None:
        try:
            await self._connection.call(scripts.RELEASE, generation.id, generation.log, why)
        except StoreUnavailable:
            if why == "caller":
                raise
            logger.warning("%s could not be released: Redis is away", generation.id)

    async def forget(self, generation: Generation) -> None:
        """See `Logs.forget`."""
        await self.release(generation, "caller")
        written = self._mirror.written.get(generation.log)
        try:
            left = await self._connection.call(scripts.FORGET, generation.id, generation.log)
        except StoreUnavailable:
            self._pending_deletes[generation.id] = generation.log
            while len(self._pending_deletes) > PENDING_DELETES:
                del self._pending_deletes[next(iter(self._pending_deletes))]
            await self._local.forget(generation)
            raise
        self._local.forget_generation(generation.id)
        if written is not None:
            written.stored.holds.discard(generation.id)
            if written.stored.holds:
                return
        if left == 0:
            self._local.drop(generation.log)

    def back(self) -> None:
        """Redis is there again: forget there what was forgotten meanwhile."""
        pending, self._pending_deletes = self._pending_deletes, {}
        for generation, log in pending.items():
            self._connection.post(scripts.FORGET, (generation, log))

    async def message(self, kind: str, log: str, generation: str, data: bytes) -> None:
        """Do what another process asks of a log that is written here."""
        written = self._mirror.written.get(log)
        if written is None:
            return
        if kind == "hold":
            with suppress(Conflict, LogGone):
                await self._local.hold(unpack_generation(data))
        elif kind == "stop":
            written.stored.holds.discard(generation)
            await self._local.stop(log, why_of(data))
        elif kind == "release" and not written.stored.ended and generation in written.stored.holds:
            written.stored.leave(generation, why_of(data))
            self._mirror.left(written, generation)
        elif kind == "forget":
            written.stored.holds.discard(generation)
            self._local.forget_generation(generation)
            if not written.stored.holds:
                self._local.drop(log)
