"""What this process writes, mirrored into Redis: once per tick, one entry per log.

Readers here get deltas before Redis has them. An ending waits for Redis: another process could
find the lease of this one expired and end the log, and then there would be two endings. While
Redis is away, an ending waits no longer than any request does. What could not be mirrored is
mirrored when Redis is back.

A reader may have seen more than Redis has when its writer is killed. That costs no reader its
ending, because an event's position shows who wrote it:

- A position below `LOST_AT` has one meaning. Only the log's writer gives it one: `APPEND` takes
  entries from no other process, and the writer gives each position once, from its own memory.
- `LOST_AT` has one meaning, too: `failed producer_lost`. Whoever ends a log in its writer's place
  uses this position and no other, whatever the tail: `LOST`, a follower whose log is gone from
  Redis, a writer that finds its log ended by another, and a reader beyond a finished log. So two
  survivors, or a survivor and a stalled writer, cannot disagree about it.
- A writer never reaches `LOST_AT`: logs have a bound of events far below it.

So a cursor below `LOST_AT` never stands on the ending of a lost log, however far ahead its reader
was: it gets that ending. A cursor on `LOST_AT` has had it, and gets nothing more. A cursor equal to
the tail of a log that its writer ended has seen the writer's event there: that ending.

Memory is the truth of a log for as long as its writer lives. A Redis that lost it (emptied, set
back, restarted) gets it again from its start.
"""

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

from streamapi.errors import StoreUnavailable
from streamapi.generation.event import ENDINGS, Cancelled, encode
from streamapi.generation.generation import Generation
from streamapi.generation.log import Conflict, Entry, Stopped
from streamapi.generation.memory_log import MemoryLogs
from streamapi.generation.redis.scripts import (
    APPEND,
    DROP,
    HOLD,
    LEFT,
    LOOK,
    LOST,
    RELEASE,
    RENEW,
)
from streamapi.generation.redis.wire import FORMAT, Lives, loss, lost, pack, pack_generation
from streamapi.generation.stored_log import StoredLog
from streamapi.redis_connection import RedisConnection

logger = logging.getLogger(__name__)

LOOKED_UP = 500
"""Logs that one request asks Redis about: its answer arrives within the time-out."""


class WrittenLog:
    """A log that is written here, and how much of it Redis has: the first `sent` entries, and
    everything when `done`. An append is under way while it is `busy`, and another one follows it
    when `again` is set. `ending` waits for Redis, and `landed` says whether Redis took it. `marks`
    are generations that let go; `released` are those that did while Redis was away."""

    __slots__ = ("again", "busy", "done", "ending", "landed", "log", "marks", "released", "sent",
                 "stored")  # fmt: skip

    def __init__(self, log: str, stored: StoredLog) -> None:
        self.log = log
        self.stored = stored
        self.sent = 0
        self.busy = False
        self.again = False
        self.done = False
        self.ending: Sequence[Entry] = ()
        self.landed: asyncio.Future[bool] | None = None
        self.marks: list[str] = []
        self.released: list[tuple[str, Stopped]] = []


class Mirror:
    """All logs that this process writes, in `written`."""

    def __init__(
        self, connection: RedisConnection, local: MemoryLogs, lives: Lives, process: str
    ) -> None:
        self._connection = connection
        self._local = local
        self._lives = lives
        self._process = process.encode()
        self.written: dict[str, WrittenLog] = {}
        self.dirty: set[WrittenLog] = set()

    def open(self, log: str) -> WrittenLog:
        """A log has begun here."""
        stored = self._local.get(log)
        assert stored is not None, "a log is mirrored once it is in memory"
        written = self.written[log] = WrittenLog(log, stored)
        self.dirty.add(written)
        return written

    async def end(self, written: WrittenLog, entries: Sequence[Entry]) -> None:
        """Append an ending, and what stands before it in its batch. Raises `Conflict`."""
        if written.ending:
            raise Conflict(f"{written.log} is about to have its ending")
        written.stored.takes(written.log, entries)
        encode(entries[-1].event)  # one that cannot be encoded fails here, and not in a callback
        written.ending = entries
        written.landed = asyncio.get_running_loop().create_future()
        self.flush(written)
        if not await asyncio.shield(written.landed):
            raise Conflict(f"{written.log} has its ending from another process")

    def tick(self) -> None:
        """Mirror what has come since the last tick."""
        while self.dirty and self._connection.available:
            self.flush(self.dirty.pop())

    def flush(self, written: WrittenLog) -> None:
        """Mirror a log now."""
        if written.busy:
            written.again = True
            return
        if not self._connection.available:
            self._show(written)
            return
        if written.sent:  # a follower must see where a generation let go before what came later
            self._mark(written)
        batch = [*written.stored.entries[written.sent :], *written.ending]
        if batch:
            written.busy = True
            ends = isinstance(batch[-1].event, ENDINGS)
            lives = self._lives
            life = (
                (lives.ended, lives.ended_generation) if ends else (lives.running, lives.generation)
            )
            self._connection.post(
                APPEND,
                (written.log, written.sent + 1, pack(batch), len(batch), batch[-1].event.type,
                 int(ends), *life, lives.lease, FORMAT),
                partial(self._flushed, written, written.sent + len(batch), ends),
            )  # fmt: skip
        if written.stored.lost is not None:
            self._connection.post(LOST, loss(written.log, self._lives))
        self._mark(written)

    def _mark(self, written: WrittenLog) -> None:
        """Tell followers where generations let go, in a log that Redis has."""
        for generation in written.marks:
            left = written.stored.released[generation]
            why = left.event.by if isinstance(left.event, Cancelled) else "revoked"
            self._connection.post(LEFT, (written.log, generation, left.n, why))
        written.marks.clear()

    def _flushed(self, written: WrittenLog, upto: int, ends: bool, answer: Any) -> None:
        written.busy = False
        again, written.again = written.again, False
        if self.written.get(written.log) is not written:  # forgotten meanwhile
            away = isinstance(answer, StoreUnavailable)
            self._resolve(written, ends and (away or answer[0] == 1))
            return
        if isinstance(answer, StoreUnavailable):
            self._show(written)
            return
        done, *found = answer
        if done == 1:
            written.sent = upto
            if ends:
                self._show(written, done=True)
        elif done == -1:
            self.anew(written)
        elif found[1] == self._process:  # it was there already: its answer was lost
            self._show(written, done=True)
        elif found[1] or found[2] != self._process:
            self._lose(written)
        else:
            written.sent, again = found[0], True  # or a part of it
        if again:
            self.flush(written)

    def _show(self, written: WrittenLog, done: bool = False) -> None:
        """Let readers here see the ending: Redis has it, or is away."""
        written.done = done
        entries, written.ending = written.ending, ()
        if entries:
            self._local.put(written.log, entries)
        self._resolve(written, True)

    def _lose(self, written: WrittenLog) -> None:
        """Another process took this one for dead. Readers elsewhere have seen the ending at
        `LOST_AT`, so readers here get it too."""
        logger.warning("%s was ended by another process", written.log)
        written.done, written.ending = True, ()
        stop = written.stored.stop
        self._local.lose(written.log, lost())
        if stop is not None:
            stop("shutdown")
        self._resolve(written, False)

    def _resolve(self, written: WrittenLog, landed: bool) -> None:
        if written.landed is not None and not written.landed.done():
            written.landed.set_result(landed)

    def anew(self, written: WrittenLog) -> None:
        """Mirror a log again from its start, with all that is known of it."""
        written.sent = 0
        self._catch_up(written)

    def _catch_up(self, written: WrittenLog) -> None:
        written.marks = list(written.stored.released)  # type: ignore[arg-type]
        self.flush(written)
        for generation in self._local.holders(written.log):
            self._connection.post(HOLD, self.held(generation))
        for generation_id, why in written.released:
            self._connection.post(RELEASE, (generation_id, written.log, why))
        written.released.clear()

    def held(self, generation: Generation) -> tuple[str, str, bytes, int]:
        """The arguments of the script `HOLD`."""
        packed = pack_generation(generation)
        return generation.id, generation.log, packed, self._lives.generation

    def left(self, written: WrittenLog, generation: str) -> None:
        """Tell followers in other processes where a generation let go."""
        if generation in written.stored.released:
            written.marks.append(generation)
            self.flush(written)

    def dropped(self, log: str) -> None:
        """A log was dropped here. Drop it in Redis too, so that the bounds hold there as well."""
        written = self.written.pop(log, None)
        if written is not None:
            self.dirty.discard(written)
            self._connection.post(DROP, (log,))
            if not written.busy:  # else the answer of Redis says whether the ending landed
                self._resolve(written, False)

    def back(self) -> None:
        """Redis is there (again), and may know less than it did."""
        self.dirty.clear()
        finished: list[WrittenLog] = []
        for written in self.written.values():
            if written.done:
                finished.append(written)
            else:
                self._catch_up(written)
        self.renew()  # its answer names the running logs that Redis has lost
        for n in range(0, len(finished), LOOKED_UP):
            logs = finished[n : n + LOOKED_UP]
            self._connection.post(
                LOOK, ("", *(written.log for written in logs)), partial(self._found, logs)
            )

    def _found(self, finished: Sequence[WrittenLog], answer: Any) -> None:
        """A Redis that was set back may have a log without the ending that it had."""
        if not isinstance(answer, StoreUnavailable):
            for written, found in zip(finished, answer, strict=True):
                if len(found) > 1 and not found[1] and found[2] == self._process:
                    self.anew(written)

    def renew(self) -> None:
        """Renew the lease, and the life of all that runs."""
        running = [
            log
            for log, written in self.written.items()
            if written.sent and not written.stored.ended
        ]
        lives = self._lives
        self._connection.post(
            RENEW, (lives.lease, lives.running, lives.generation, *running), self._renewed
        )

    def _renewed(self, answer: Any) -> None:
        if not isinstance(answer, StoreUnavailable):
            for log in answer:
                written = self.written.get(log.decode())
                if written is not None and not written.busy:
                    self.anew(written)
