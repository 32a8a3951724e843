"""A bound on the calls to a model, shared fairly between accounts.

An account is a key, or an address where no keys are asked for. It may hold as many calls as are
still free: alone it gets half of all, two accounts get a third each, and a new account always
finds a free call (the dynamic thresholds by which switches share a buffer: Choudhury and Hahne,
IEEE/ACM ToN 6(2), 1998). A request that may not call yet waits in the queue of its account; the
queues are served in rotation. Pure: no clock, no I/O.
"""

import asyncio
from collections import deque
from contextlib import suppress

import msgspec

from streamapi.errors import Overloaded


class AdmissionBounds(msgspec.Struct, frozen=True):
    """`calls` in flight to one model; `queue` requests that wait for one, `queue_per_account` of
    one account."""

    calls: int
    queue: int
    queue_per_account: int


class FairQueue:
    """The calls to one model: how many each account has, and which requests wait."""

    def __init__(self, bounds: AdmissionBounds) -> None:
        self._bounds = bounds
        self._free = bounds.calls
        self._calls: dict[str, int] = {}
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}  # the next account comes first
        self._queued = 0

    @property
    def idle(self) -> bool:
        """Whether nothing calls and nothing waits."""
        return not self._calls and not self._queued

    def free(self, account: str) -> bool:
        """Whether a request of the account may call at once."""
        return account not in self._waiting and self._may_call(account)

    def check(self, account: str) -> None:
        """Raise `Overloaded` when a request of the account could neither call nor wait."""
        waiting = len(self._waiting.get(account, ()))
        full = self._queued >= self._bounds.queue or waiting >= self._bounds.queue_per_account
        if full and not self.free(account):
            raise Overloaded("As many requests wait for this model as may.")

    async def acquire(self, account: str) -> None:
        """Wait until a request of the account may call. Each acquired slot is given back by
        `release`. Raises `Overloaded` when too many wait already."""
        if self.free(account):
            self._call(account)
            return
        self.check(account)
        slot = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(account, deque()).append(slot)
        self._queued += 1
        try:
            await slot
        except asyncio.CancelledError:
            if slot.cancelled():
                self._leave(account, slot)
            else:  # it was admitted in the same moment
                self.release(account)
            raise

    def release(self, account: str) -> None:
        """A call of the account has ended: admit those who may call now."""
        self._free += 1
        self._calls[account] -= 1
        if not self._calls[account]:
            del self._calls[account]
        while self._admit():
            pass

    def _may_call(self, account: str) -> bool:
        return self._calls.get(account, 0) < self._free

    def _call(self, account: str) -> None:
        self._free -= 1
        self._calls[account] = self._calls.get(account, 0) + 1

    def _admit(self) -> bool:
        """Admit the next request that may call; whether there was one."""
        for account, queue in self._waiting.items():
            if self._may_call(account):
                slot = queue.popleft()
                self._queued -= 1
                del self._waiting[account]
                if queue:
                    self._waiting[account] = queue  # behind the other accounts
                if not slot.done():  # else it is cancelled, and leaves by itself
                    self._call(account)
                    slot.set_result(None)
                return True
        return False

    def _leave(self, account: str, slot: "asyncio.Future[None]") -> None:
        queue = self._waiting.get(account, deque())
        with suppress(ValueError):
            queue.remove(slot)
            self._queued -= 1
        if not queue:
            self._waiting.pop(account, None)


class Admission:
    """The queue of every model, by the model's name."""

    def __init__(self, bounds: AdmissionBounds) -> None:
        self._bounds = bounds
        self._models: dict[str, FairQueue] = {}

    def of(self, model: str) -> FairQueue:
        """The queue of one model. Names are the catalogue's, so there are few."""
        queue = self._models.get(model)
        if queue is None:
            queue = self._models[model] = FairQueue(self._bounds)
        return queue
