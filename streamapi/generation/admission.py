"""Whose turn it is to call a model.

Calls in flight are bounded, and one key may hold at most as many of them as are still free: alone
it gets half, two get a third each, and who comes next always finds one (the dynamic thresholds by
which switches share a buffer: Choudhury and Hahne, IEEE/ACM ToN 6(2), 1998). Who may not call yet
waits in the queue of its key, and the keys take turns. Pure: no clock, no I/O.
"""

import asyncio
from collections import deque
from contextlib import suppress

import msgspec

from streamapi.errors import Overloaded


class AdmissionBounds(msgspec.Struct, frozen=True):
    """`calls` in flight to one model; `queue` who may wait for one, and how many of one key."""

    calls: int = 1000
    queue: int = 2000
    queue_per_key: int = 200


class FairQueue:
    """The calls to one model: who has how many, and who waits."""

    def __init__(self, bounds: AdmissionBounds) -> None:
        self._bounds = bounds
        self._free = bounds.calls
        self._has: dict[str, int] = {}
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}  # whose turn is next, first
        self._queued = 0

    @property
    def idle(self) -> bool:
        """Whether nobody calls and nobody waits."""
        return not self._has and not self._queued

    def free(self, who: str) -> bool:
        """Whether `who` may call at once."""
        return who not in self._waiting and self._may(who)

    def check(self, who: str) -> None:
        """Raise `Overloaded` when `who` could neither call nor wait."""
        waiting = len(self._waiting.get(who, ()))
        full = self._queued >= self._bounds.queue or waiting >= self._bounds.queue_per_key
        if full and not self.free(who):
            raise Overloaded("As many requests wait for this model as may.")

    async def take(self, who: str) -> None:
        """Wait until `who` may call; each taking is followed by a `release`. Raises `Overloaded`
        when too many wait already."""
        if self.free(who):
            self._call(who)
            return
        self.check(who)
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(who, deque()).append(turn)
        self._queued += 1
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._leave(who, turn)
            else:  # its turn came in the same moment
                self.release(who)
            raise

    def release(self, who: str) -> None:
        """A call of `who` has ended: others may have theirs."""
        self._free += 1
        self._has[who] -= 1
        if not self._has[who]:
            del self._has[who]
        while self._admit():
            pass

    def _may(self, who: str) -> bool:
        return self._has.get(who, 0) < self._free

    def _call(self, who: str) -> None:
        self._free -= 1
        self._has[who] = self._has.get(who, 0) + 1

    def _admit(self) -> bool:
        """Let the next one call who may; whether there was one."""
        for who, queue in self._waiting.items():
            if self._may(who):
                turn = queue.popleft()
                self._queued -= 1
                del self._waiting[who]
                if queue:
                    self._waiting[who] = queue  # behind the other keys
                if not turn.done():  # else it is cancelled, and leaves by itself
                    self._call(who)
                    turn.set_result(None)
                return True
        return False

    def _leave(self, who: str, turn: "asyncio.Future[None]") -> None:
        queue = self._waiting.get(who, deque())
        with suppress(ValueError):
            queue.remove(turn)
            self._queued -= 1
        if not queue:
            self._waiting.pop(who, None)


class Admission:
    """The turns of every model, by its name."""

    def __init__(self, bounds: AdmissionBounds | None = None) -> None:
        self._bounds = bounds or AdmissionBounds()
        self._models: dict[str, FairQueue] = {}

    def of(self, model: str) -> FairQueue:
        """Of one model. Names are the catalogue's, so there are few."""
        turns = self._models.get(model)
        if turns is None:
            turns = self._models[model] = FairQueue(self._bounds)
        return turns
