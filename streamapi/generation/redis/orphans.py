"""Logs without an ending whose writer is gone: which they are, and how they get their ending.

A process that reads such a log ends it, with the script `LOST`. Of all processes that try, the
script lets one succeed, and that process reports the ending. An answer of Redis can be lost on
its way. So a script without an answer runs again: the log says which process ended it. A script is
under way once per log, so that two answers cannot give two reports.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from streamapi.errors import StoreUnavailable
from streamapi.generation.generation import Generation
from streamapi.generation.redis.scripts import LOST
from streamapi.generation.redis.wire import Lives, loss, unpack_generation
from streamapi.redis_connection import RedisConnection

NOW, EARLIER = 1, 2
"""What `LOST` says of a log that this process ended: by this call, or by one before it."""


class Orphans:
    """Ends the logs whose writer is gone. `report` gets the generation that began such a log, or
    another holder when that one was forgotten."""

    def __init__(self, connection: RedisConnection, lives: Lives) -> None:
        self._connection = connection
        self._lives = lives
        self._under_way: set[str] = set()
        self._unanswered: set[str] = set()
        self.report: Callable[[Generation], None] = lambda generation: None

    @property
    def certain(self) -> bool:
        """Whether a lease that is not there has expired. Nobody can renew a lease while Redis is
        away, so each process gets the time of one lease for it afterwards."""
        return time.monotonic() - self._connection.healthy_since >= self._lives.lease / 1000

    def among(self, found: Sequence[Any]) -> bool:
        """Whether what `LOOK` found is an orphan: no ending, and a writer without a lease."""
        return not found[1] and not found[3] and self.certain

    def end(self, log: str) -> None:
        """Let Redis end an orphan before it answers what is asked of it after this."""
        if log not in self._under_way:
            self._under_way.add(log)
            self._connection.post(LOST, loss(log, self._lives), partial(self._answered, log))

    def retry(self) -> None:
        """Run each script again whose answer did not come."""
        if self.certain:
            for log in list(self._unanswered):
                self.end(log)

    def _answered(self, log: str, answer: Any) -> None:
        self._under_way.discard(log)
        if isinstance(answer, StoreUnavailable):
            self._unanswered.add(log)
            return
        ended, generation = answer
        here = ended == NOW or (ended == EARLIER and log in self._unanswered)
        self._unanswered.discard(log)
        if here and generation:
            self.report(unpack_generation(generation))
