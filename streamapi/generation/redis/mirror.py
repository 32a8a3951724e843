"""What this process writes, mirrored into Redis: once per tick, one entry per log.

Deltas are read here before Redis has them. An ending is not: another process could find our lease
expired and end the log otherwise, and then there would be two endings. So an ending waits for
Redis, unless Redis is away: nobody waits longer than the lane's patience, and what could not be
mirrored is mirrored when Redis is back.

A reader may have seen more than Redis has when its writer is killed. That costs no reader its
ending, because an event's position tells who wrote it:

- A position below `LOST_AT` has one meaning. Only the log's writer gives it one: `APPEND` takes
  entries from no other process, and the writer gives each position once, from its own memory.
- `LOST_AT` has one meaning, too: `failed producer_lost`. Whoever ends a log in its writer's place
  uses this position and no other, whatever the tail: `LOST`, a follower whose log is gone from
  Redis, a writer that finds its log ended by another, and a reader beyond a finished log. So two
  survivors, or a survivor and a stalled writer, cannot disagree about it.
- A writer never reaches `LOST_AT`: logs have a bound of events far below it.

So a cursor below `LOST_AT` never stands on the ending of a lost log, however far ahead its reader
was: it gets that ending. A cursor on `LOST_AT` has had it, and gets nothing more. A cursor equal to
the tail of a log that its writer ended has seen the writer's own event there: that ending.

Memory is the truth of a log for as long as its writer lives. A Redis that lost it (emptied, set
back, restarted) gets it again from its start.
"""

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

from streamapi.errors import StoreUnavailable
from streamapi.generation.event import ENDINGS, Cancelled
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


class WrittenLog:
    """A log that is written here, and how much of it Redis has: the first `sent` entries, and
    everything when `done`. `ending` waits for Redis."""

    __slots__ = ("again", "busy", "done", "ending", "kept", "landed", "log", "marks", "released",
                 "sent")  # fmt: skip

    def __init__(self, log: str, kept: StoredLog) -> None:
        self.log = log
        self.kept = kept
        self.sent = 0
        self.busy = False
        self.again = False
        self.done = False
        self.ending: Sequence[Entry] = ()
        self.landed: asyncio.Future[bool] | None = None
        self.marks: list[str] = []
        self.released: list[tuple[str, Stopped]] = []  # while Redis was away


class Mirror:
    """All logs that this process writes, in `own`."""

    def __init__(
        self, connection: RedisConnection, local: MemoryLogs, lives: Lives, process: str
    ) -> None:
        self._connection = connection
        self._local = local
        self._lives = lives
        self._process = process.encode()
        self.own: dict[str, WrittenLog] = {}
        self.dirty: set[WrittenLog] = set()

    def open(self, log: str) -> WrittenLog:
        """A log has begun here."""
        kept = self._local.get(log)
        assert kept is not None, "a log is mirrored once it is in memory"
        own = self.own[log] = WrittenLog(log, kept)
        self.dirty.add(own)
        return own

    async def end(self, own: WrittenLog, entries: Sequence[Entry]) -> None:
        """Append an ending, and what stands before it in its batch. Raises `Conflict`."""
        if own.ending:
            raise Conflict(f"{own.log} is about to have its ending")
        own.kept.takes(own.log, entries)
        own.ending = entries
        own.landed = asyncio.get_running_loop().create_future()
        self.flush(own)
        if not await asyncio.shield(own.landed):
            raise Conflict(f"{own.log} has its ending from someone else")

    def tick(self) -> None:
        """Mirror what has come since the last tick."""
        while self.dirty and self._connection.available:
            self.flush(self.dirty.pop())

    def flush(self, own: WrittenLog) -> None:
        """Mirror a log now."""
        if own.busy:
            own.again = True
            return
        if not self._connection.available:
            self._show(own)
            return
        if own.sent:  # before what came behind them: a follower must not see that first
            self._mark(own)
        batch = [*own.kept.entries[own.sent :], *own.ending]
        if batch:
            own.busy = True
            ends = isinstance(batch[-1].event, ENDINGS)
            lives = self._lives
            life = (
                (lives.ended, lives.ended_generation) if ends else (lives.running, lives.generation)
            )
            self._connection.post(
                APPEND,
                (own.log, own.sent + 1, pack(batch), len(batch), batch[-1].event.type, int(ends),
                 *life, lives.lease, FORMAT),
                partial(self._flushed, own, own.sent + len(batch), ends),
            )  # fmt: skip
        if own.kept.lost is not None:
            self._connection.post(LOST, loss(own.log, self._lives))
        self._mark(own)

    def _mark(self, own: WrittenLog) -> None:
        """Tell followers where generations let go, in a log that Redis has."""
        for generation in own.marks:
            left = own.kept.released[generation]
            why = left.event.by if isinstance(left.event, Cancelled) else "revoked"
            self._connection.post(LEFT, (own.log, generation, left.n, why))
        own.marks.clear()

    def _flushed(self, own: WrittenLog, upto: int, ends: bool, answer: Any) -> None:
        own.busy = False
        again, own.again = own.again, False
        if isinstance(answer, StoreUnavailable):
            self._show(own)
            return
        if self.own.get(own.log) is not own:
            return  # forgotten meanwhile
        done, *found = answer
        if done == 1:
            own.sent = upto
            if ends:
                self._show(own, done=True)
        elif done == -1:
            self.anew(own)
        elif found[1] == self._process:  # it was there already: its answer was lost
            self._show(own, done=True)
        elif found[1] or found[2] != self._process:
            self._lose(own)
        else:
            own.sent, again = found[0], True  # or a part of it
        if again:
            self.flush(own)

    def _show(self, own: WrittenLog, done: bool = False) -> None:
        """Let readers here see the ending: Redis has it, or is away."""
        own.done = done
        entries, own.ending = own.ending, ()
        if entries:
            self._local.put(own.log, entries)
        self._answer(own, True)

    def _lose(self, own: WrittenLog) -> None:
        """Someone took us for dead, and was right to: who follows elsewhere has seen the end."""
        logger.warning("%s was ended by another process", own.log)
        own.done, own.ending = True, ()
        stop = own.kept.stop
        self._local.lose(own.log, lost())
        if stop is not None:
            stop("shutdown")
        self._answer(own, False)

    def _answer(self, own: WrittenLog, well: bool) -> None:
        if own.landed is not None and not own.landed.done():
            own.landed.set_result(well)

    def anew(self, own: WrittenLog) -> None:
        """Mirror a log again from its start, with all that is known of it."""
        own.sent = 0
        self._catch_up(own)

    def _catch_up(self, own: WrittenLog) -> None:
        own.marks = list(own.kept.released)  # type: ignore[arg-type]
        self.flush(own)
        for generation in self._local.holders(own.log):
            self._connection.post(HOLD, self.held(generation))
        for generation_id, why in own.released:
            self._connection.post(RELEASE, (generation_id, own.log, why))
        own.released.clear()

    def held(self, generation: Generation) -> tuple[str, str, bytes, int]:
        """What the script of a hold is told."""
        packed = pack_generation(generation)
        return generation.id, generation.log, packed, self._lives.generation

    def left(self, own: WrittenLog, generation: str) -> None:
        """Tell who follows elsewhere where a generation let go."""
        if generation in own.kept.released:
            own.marks.append(generation)
            self.flush(own)

    def dropped(self, log: str) -> None:
        """A log was forgotten here: in Redis too, or its bounds would not bound it."""
        own = self.own.pop(log, None)
        if own is not None:
            self.dirty.discard(own)
            self._connection.post(DROP, (log,))
            self._answer(own, False)

    def back(self) -> None:
        """Redis is there (again), and may know less than it did."""
        self.dirty.clear()
        finished: list[WrittenLog] = []
        for own in self.own.values():
            if own.done:
                finished.append(own)
            else:
                self._catch_up(own)
        self.renew()  # and be told what is not there at all
        for n in range(0, len(finished), 500):
            logs = finished[n : n + 500]
            self._connection.post(
                LOOK, ("", *(own.log for own in logs)), partial(self._found, logs)
            )

    def _found(self, finished: Sequence[WrittenLog], answer: Any) -> None:
        """A Redis that was set back may have a log without the ending that it had."""
        if not isinstance(answer, StoreUnavailable):
            for own, found in zip(finished, answer, strict=True):
                if len(found) > 1 and not found[1] and found[2] == self._process:
                    self.anew(own)

    def renew(self) -> None:
        """Renew the lease, and the life of all that runs."""
        running = [log for log, own in self.own.items() if own.sent and not own.kept.ended]
        lives = self._lives
        self._connection.post(
            RENEW, (lives.lease, lives.running, lives.generation, *running), self._renewed
        )

    def _renewed(self, answer: Any) -> None:
        if not isinstance(answer, StoreUnavailable):
            for log in answer:
                own = self.own.get(log.decode())
                if own is not None and not own.busy:
                    self.anew(own)
