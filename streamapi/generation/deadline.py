"""A deadline that can be moved for the price of an attribute.

`asyncio.timeout` makes and cancels a timer at every move, which per token would cost more than
the token. Here one timer fires, looks whether the deadline has moved on, and sleeps again.
"""

import asyncio
from types import TracebackType


class Deadline:
    """`async with Deadline(seconds) as deadline:` raises TimeoutError in the body when the time
    has come, by cancelling the task where it waits: that is what closes an upstream socket."""

    def __init__(self, seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._when = self._loop.time() + seconds
        self._task = asyncio.current_task()
        self._expired = False
        self._timer: asyncio.TimerHandle | None = None

    def move(self, when: float) -> None:
        """Let the deadline be at `when`, by the loop's clock."""
        if self._timer is not None and when < self._when:
            self._timer.cancel()  # sooner than the timer knows: rare
            self._timer = self._loop.call_at(when, self._look)
        self._when = when

    async def __aenter__(self) -> "Deadline":
        self._timer = self._loop.call_at(self._when, self._look)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self._expired or self._task is None:
            return
        # Someone else may have cancelled the task too: that cancellation goes on.
        if (
            self._task.uncancel() == 0
            and kind is not None
            and issubclass(kind, asyncio.CancelledError)
        ):
            raise TimeoutError from error

    def _look(self) -> None:
        if self._loop.time() < self._when:
            self._timer = self._loop.call_at(self._when, self._look)
        elif self._task is not None:
            self._expired = True
            self._task.cancel()
