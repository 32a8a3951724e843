"""Brings what other processes write into the memory of this one, while somebody here reads it.

One connection waits for all followed logs, and for the inbox of this process: other processes put
requests there that concern its logs. Redis cannot add a key to a read that is under way, so this
process sends itself a message to start the read again. Readers hold no connection.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from redis.exceptions import RedisError

from streamapi.errors import StoreUnavailable
from streamapi.generation.log import LogGone
from streamapi.generation.memory_log import MemoryLogs
from streamapi.generation.redis.followed_log import FollowedLog
from streamapi.generation.redis.orphans import Orphans
from streamapi.generation.redis.scripts import LOOK, PAGE, WAKE
from streamapi.generation.redis.wire import FORMAT, Lives, lost, newer
from streamapi.redis_connection import RECONNECT_INTERVAL, RedisConnection, connect, within

logger = logging.getLogger(__name__)

BLOCK = 1.0
"""Seconds that one read waits at most: a wake-up that is lost delays a new log by so much."""

PAGE_ENTRIES = 500
"""Entries of a stream, or logs, that are asked for at once: a page arrives within the time-out."""

MESSAGES = ("wake", "hold", "release", "stop", "forget")
Message = Callable[[str, str, str, bytes], Awaitable[None]]
"""Takes a message of the inbox: its kind, a log, a generation, and the data of the kind."""


class Follower:
    """Follows the logs that are read here. `message` takes what comes into the inbox; `pace` is
    how many seconds a read waits for entries to come together."""

    def __init__(
        self,
        connection: RedisConnection,
        local: MemoryLogs,
        orphans: Orphans,
        lives: Lives,
        prefix: str,
        process: str,
        pace: float,
        message: Message,
    ) -> None:
        self._connection = connection
        self._local = local
        self._orphans = orphans
        self._lives = lives
        self._streams = f"{prefix}log:".encode()
        self._inbox = f"{prefix}inbox:{process}".encode()
        self._inbox_cursor = b"0-0"
        self._pace = pace
        self._message = message
        self._followed: dict[str, FollowedLog] = {}

    async def look(self, log: str, generation: str = "") -> Sequence[Any]:
        """What Redis knows of a log: the answer of `LOOK`. Raises `LogGone` and
        `StoreUnavailable`."""
        [found] = await self._connection.call(LOOK, generation, log)
        if len(found) > 1 and found[5] > FORMAT:
            raise newer()
        if len(found) > 1 and self._orphans.among(found):
            self._orphans.end(log)
            [found] = await self._connection.call(LOOK, generation, log)
        if len(found) == 1:
            stored = self._local.get(log)
            if stored is not None and stored.ended:
                self._local.drop(log)
            raise LogGone(log)
        return found  # type: ignore[no-any-return]

    async def follow(self, log: str) -> FollowedLog:
        """Bring a log into memory, and keep it coming until `leave`."""
        followed = self._followed.get(log)
        if followed is None:
            followed = self._followed[log] = FollowedLog(log, self._local)
            followed.loaded = asyncio.create_task(self._load(followed), name=f"load {log}")
        followed.readers += 1
        try:
            assert followed.loaded is not None
            await asyncio.shield(followed.loaded)
        except BaseException:
            self.leave(followed)
            raise
        return followed

    def leave(self, followed: FollowedLog) -> None:
        """A reader has left. With the last one the log goes from memory, unless it has ended."""
        followed.readers -= 1
        if followed.readers == 0 and self._followed.get(followed.log) is followed:
            del self._followed[followed.log]
            if followed.loaded is not None:
                followed.loaded.cancel()
            stored = followed.stored
            if stored is not None and not stored.ended:
                self._local.drop(followed.log)

    async def _load(self, followed: FollowedLog) -> None:
        tail, ended, *_ = await self.look(followed.log)
        stored = followed.stored
        if stored is not None and stored.ended and ended and stored.tail == tail:
            return
        self._local.drop(followed.log)
        page: Sequence[Any] = [None] * PAGE_ENTRIES
        while len(page) == PAGE_ENTRIES:
            page = await self._connection.call(PAGE, followed.log, followed.cursor, PAGE_ENTRIES)
            for at, values in page:
                followed.take(at, values)
        stored = followed.stored
        if stored is None:
            raise LogGone(followed.log)
        if not stored.ended:
            self._connection.post(WAKE, ())

    def check(self) -> None:
        """Ask Redis how the followed logs are: a writer that died says nothing."""
        self._orphans.retry()
        logs = [followed for followed in self._followed.values() if followed.arriving]
        for n in range(0, len(logs), PAGE_ENTRIES):
            some = logs[n : n + PAGE_ENTRIES]
            self._connection.post(
                LOOK, ("", *(followed.log for followed in some)), partial(self._checked, some)
            )

    def _checked(self, logs: Sequence[FollowedLog], answer: Any) -> None:
        if isinstance(answer, StoreUnavailable):
            return
        now = time.monotonic()
        for followed, found in zip(logs, answer, strict=True):
            stored = followed.stored
            if stored is None or stored.ended or self._followed.get(followed.log) is not followed:
                continue
            if len(found) == 1:
                followed.missing = followed.missing or now
                if self._orphans.certain and now - followed.missing >= self._lives.lease / 1000:
                    self._local.lose(followed.log, lost())
                continue
            followed.missing = None
            if found[0] > len(stored.entries):
                if followed.behind == len(stored.entries):  # nothing came since the last look
                    followed.read_again()
                    self._connection.post(WAKE, ())
                followed.behind = len(stored.entries)
            if self._orphans.among(found):
                self._orphans.end(followed.log)

    async def run(self) -> None:
        """Serve until cancelled."""
        connection = self._connection.connection()
        try:
            while True:
                try:
                    await within(self._connection.timeout, connect(connection))
                    while True:
                        await self._read(connection)
                except (OSError, RedisError) as error:
                    # The connection for requests warns of the same.
                    logger.debug("the follower lost Redis: %s", error)
                    await asyncio.sleep(RECONNECT_INTERVAL)
        finally:
            await connection.disconnect(nowait=True)

    async def _read(self, connection: Any) -> None:
        """Wait once for new entries and messages, and take them."""
        logs = {
            self._streams + followed.log.encode(): followed
            for followed in self._followed.values()
            if followed.arriving
        }
        cursors = [followed.cursor for followed in logs.values()]
        await connection.send_command(
            "XREAD", "COUNT", PAGE_ENTRIES, "BLOCK", round(BLOCK * 1000),
            "STREAMS", self._inbox, *logs, self._inbox_cursor, *cursors,
        )  # fmt: skip
        answer = await within(BLOCK + self._connection.timeout, connection.read_response())
        for stream, entries in answer or ():
            for at, values in entries:
                if stream == self._inbox:
                    self._inbox_cursor = at
                    await self._receive(values)
                elif stream in logs:
                    self._take(logs[stream], at, values)
        if logs and answer:
            await asyncio.sleep(self._pace)  # let what follows come together

    def _take(self, followed: FollowedLog, at: bytes, values: Sequence[bytes]) -> None:
        try:
            if followed.arriving:
                followed.take(at, values)
        except Exception as error:  # no room for it, most likely: its readers must come again
            logger.warning("%s cannot be followed: %s", followed.log, error)
            self._followed.pop(followed.log, None)
            followed.break_off(error)

    async def _receive(self, values: Sequence[bytes]) -> None:
        fields = dict(zip(values[::2], values[1::2], strict=True))
        try:
            kind, log, generation = (fields[name].decode() for name in (b"k", b"l", b"g"))
            if kind not in MESSAGES:
                logger.warning("ignored message %r about %s from a newer version", kind, log)
            await self._message(kind, log, generation, fields[b"d"])
        except Exception:
            logger.exception("a message of another process could not be used")
