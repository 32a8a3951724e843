"""What other processes write, fed into the memory of this one while somebody here reads it.

One connection waits for all of it, and for the inbox of this process, through which others ask
something of its logs; a message there also wakes the wait when what it waits for has changed, for
Redis lets nobody add a key to a read that is under way. Readers hold no connection.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from redis.exceptions import RedisError

from streamapi.errors import StoreUnavailable
from streamapi.generation.event import let_go
from streamapi.generation.log import LOST_AT, Entry, LogGone
from streamapi.generation.memory_log import MemoryLogs
from streamapi.generation.redis.orphans import Orphans
from streamapi.generation.redis.scripts import LOOK, PAGE, WAKE
from streamapi.generation.redis.wire import FORMAT, Lives, lost, newer, unpack, why_of
from streamapi.redis_connection import PATIENCE, RETRY, RedisConnection, connect, within

logger = logging.getLogger(__name__)

BLOCK = 1.0
"""Seconds that a read of Redis waits for new entries. A lost wake-up delays readers that long."""

PAGES = 500
"""Entries of a stream that one call reads."""

MESSAGES = ("wake", "hold", "release", "stop", "forget")
Told = Callable[[str, str, str, bytes], Awaitable[None]]


class FollowedLog:
    """A log of another process's, as far as it has come here. Its readers share it."""

    __slots__ = ("behind", "cursor", "loaded", "log", "marks", "missing", "readers")

    def __init__(self, log: str) -> None:
        self.log = log
        self.cursor = b"0-0"
        self.readers = 0
        self.marks: list[tuple[str, Entry]] = []
        self.loaded: asyncio.Task[None] | None = None
        self.behind = -1
        self.missing: float | None = None


class Follower:
    """`told` gets what the inbox says: a verb, a log, a generation, and what goes with it."""

    def __init__(
        self,
        connection: RedisConnection,
        local: MemoryLogs,
        orphans: Orphans,
        lives: Lives,
        prefix: str,
        process: str,
        pace: float,
        told: Told,
    ) -> None:
        self._connection = connection
        self._local = local
        self._orphans = orphans
        self._lives = lives
        self._streams = f"{prefix}log:".encode()
        self._inbox = f"{prefix}inbox:{process}".encode()
        self._heard = b"0-0"
        self._pace = pace
        self._told = told
        self._copies: dict[str, FollowedLog] = {}

    async def look(self, log: str, generation: str = "") -> Sequence[Any]:
        """What Redis knows of a log: `LOOK`. Raises `LogGone` and `StoreUnavailable`."""
        [found] = await self._connection.call(LOOK, generation, log)
        if len(found) > 1 and found[5] > FORMAT:
            raise newer()
        if len(found) > 1 and self._orphans.among(found):
            self._orphans.end(log)
            [found] = await self._connection.call(LOOK, generation, log)
        if len(found) == 1:
            kept = self._local.get(log)
            if kept is not None and kept.ended:
                self._local.drop(log)
            raise LogGone(log)
        return found  # type: ignore[no-any-return]

    async def follow(self, log: str) -> FollowedLog:
        """Bring a log into memory, and keep it coming until `leave`."""
        copy = self._copies.get(log)
        if copy is None:
            copy = self._copies[log] = FollowedLog(log)
            copy.loaded = asyncio.create_task(self._load(copy), name=f"load {log}")
        copy.readers += 1
        try:
            assert copy.loaded is not None
            await asyncio.shield(copy.loaded)
        except BaseException:
            self.leave(copy)
            raise
        return copy

    def leave(self, copy: FollowedLog) -> None:
        """A reader has left; with the last one the copy goes, unless it is whole."""
        copy.readers -= 1
        if copy.readers == 0 and self._copies.get(copy.log) is copy:
            del self._copies[copy.log]
            if copy.loaded is not None:
                copy.loaded.cancel()
            kept = self._local.get(copy.log)
            if kept is not None and not kept.ended:
                self._local.drop(copy.log)

    async def _load(self, copy: FollowedLog) -> None:
        tail, ended, *_ = await self.look(copy.log)
        kept = self._local.get(copy.log)
        if kept is not None and kept.ended and ended and kept.tail == tail:
            return
        self._local.drop(copy.log)
        page: Sequence[Any] = [None] * PAGES
        while len(page) == PAGES:
            page = await self._connection.call(PAGE, copy.log, copy.cursor, PAGES)
            for at, fields in page:
                self._feed(copy, at, fields)
        kept = self._local.get(copy.log)
        if kept is None:
            raise LogGone(copy.log)
        if not kept.ended:
            self._connection.post(WAKE, ())

    def _feed(self, copy: FollowedLog, at: bytes, fields: Sequence[bytes]) -> None:
        """Take an entry of a stream. What is known already is passed over: a Redis that was
        emptied gets a log again from its start."""
        told = dict(zip(fields[::2], fields[1::2], strict=True))
        copy.cursor = at
        n = int(told[b"n"])
        if b"g" in told:
            why = why_of(told[b"w"])
            left = let_go("caller" if why == "shutdown" else why)
            copy.marks.append((told[b"g"].decode(), Entry(n, left, b"")))
        else:
            kept = self._local.get(copy.log)
            known = 0 if kept is None else len(kept.entries)
            entries = [entry for entry in unpack(n, told[b"e"]) if entry.n > known]
            if kept is not None and kept.ended:
                return
            before = int(told[b"t"]) if n == LOST_AT else n - 1
            if before > known:
                copy.cursor = b"0-0"  # something is missing: read it all again
                return
            if n == LOST_AT:
                self._local.lose(copy.log, entries[0])
            elif entries:
                self._local.put(copy.log, entries)
        kept = self._local.get(copy.log)
        if kept is not None and copy.marks:
            for mark in [mark for mark in copy.marks if mark[1].n <= len(kept.entries) + 1]:
                copy.marks.remove(mark)
                kept.released[mark[0]] = mark[1]
                kept.wake()

    def check(self) -> None:
        """Ask how the followed logs are: a writer that died says nothing."""
        self._orphans.retry()
        copies = [copy for copy in self._copies.values() if self._comes(copy)]
        for n in range(0, len(copies), PAGES):
            some = copies[n : n + PAGES]
            self._connection.post(
                LOOK, ("", *(copy.log for copy in some)), partial(self._checked, some)
            )

    def _checked(self, copies: Sequence[FollowedLog], answer: Any) -> None:
        if isinstance(answer, StoreUnavailable):
            return
        now = time.monotonic()
        for copy, found in zip(copies, answer, strict=True):
            kept = self._local.get(copy.log)
            if kept is None or kept.ended or self._copies.get(copy.log) is not copy:
                continue
            if len(found) == 1:
                copy.missing = copy.missing or now
                if self._orphans.certain and now - copy.missing >= self._lives.lease / 1000:
                    self._local.lose(copy.log, lost())
                continue
            copy.missing = None
            if found[0] > len(kept.entries):
                if copy.behind == len(kept.entries):  # nothing came since the last look
                    copy.cursor = b"0-0"
                    self._connection.post(WAKE, ())
                copy.behind = len(kept.entries)
            if self._orphans.among(found):
                self._orphans.end(copy.log)

    def _comes(self, copy: FollowedLog) -> bool:
        """Whether more of it will come, and the past is here."""
        kept = self._local.get(copy.log)
        return (
            kept is not None
            and not kept.ended
            and kept.broken is None
            and copy.loaded is not None
            and copy.loaded.done()
        )

    async def run(self) -> None:
        """Serve until cancelled."""
        connection = self._connection.connection()
        try:
            while True:
                try:
                    await within(PATIENCE, connect(connection))
                    while True:
                        await self._turn(connection)
                except (OSError, RedisError) as error:
                    logger.debug("the follower lost Redis: %s", error)  # the lane says it louder
                    await asyncio.sleep(RETRY)
        finally:
            await connection.disconnect(nowait=True)

    async def _turn(self, connection: Any) -> None:
        """One wait for what comes."""
        copies = {
            self._streams + copy.log.encode(): copy
            for copy in self._copies.values()
            if self._comes(copy)
        }
        cursors = [copy.cursor for copy in copies.values()]
        await connection.send_command(
            "XREAD", "COUNT", PAGES, "BLOCK", round(BLOCK * 1000),
            "STREAMS", self._inbox, *copies, self._heard, *cursors,
        )  # fmt: skip
        answer = await within(BLOCK + PATIENCE, connection.read_response())
        for stream, entries in answer or ():
            for at, fields in entries:
                if stream == self._inbox:
                    self._heard = at
                    await self._hear(fields)
                elif stream in copies:
                    self._take(copies[stream], at, fields)
        if copies and answer:
            await asyncio.sleep(self._pace)  # let what follows come together

    def _take(self, copy: FollowedLog, at: bytes, fields: Sequence[bytes]) -> None:
        try:
            if self._comes(copy):
                self._feed(copy, at, fields)
        except Exception as error:  # no room for it, most likely: its readers must come again
            logger.warning("%s cannot be followed: %s", copy.log, error)
            kept = self._local.get(copy.log)
            if kept is not None:
                kept.broken = error
                kept.wake()
            self._copies.pop(copy.log, None)
            self._local.drop(copy.log)

    async def _hear(self, fields: Sequence[bytes]) -> None:
        told = dict(zip(fields[::2], fields[1::2], strict=True))
        try:
            kind, log, generation = (told[name].decode() for name in (b"k", b"l", b"g"))
            if kind not in MESSAGES:
                logger.warning("a newer version asks %r of %s: it is not known here", kind, log)
            await self._told(kind, log, generation, told[b"d"])
        except Exception:
            logger.exception("a message of another process's could not be used")
