"""Time-outs that move with every event, without a new timer for each move.

A time-out that moves with every token would cost more than the token if each move made a timer.
So a move sets an attribute, and a `LazyTimer` checks from time to time whether the moment has
come. The deadlines of a model, the silences of a reader and stalled sends all use it.
"""

import asyncio
from collections.abc import Callable
from types import TracebackType


class LazyTimer:
    """Calls `look(now)` at `when`, by the loop's clock. `look` returns when to call it again, or
    None."""

    __slots__ = ("_look", "_loop", "_timer")

    def __init__(self, when: float, look: Callable[[float], float | None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._look = look
        self._timer = self._loop.call_at(when, self._fire)

    def sooner(self, when: float) -> None:
        """Call `look` at `when` instead. Only a moment before the one that is set needs this."""
        self._timer.cancel()
        self._timer = self._loop.call_at(when, self._fire)

    def stop(self) -> None:
        """Call `look` no more."""
        self._timer.cancel()

    def _fire(self) -> None:
        again = self._look(self._loop.time())
        if again is not None:
            self._timer = self._loop.call_at(again, self._fire)


class Deadline:
    """`async with Deadline(seconds) as deadline:` raises TimeoutError in the body when the time has
    come. It cancels the task where it waits, which closes an upstream socket. It is like
    `asyncio.timeout`, but a move costs only an attribute."""

    __slots__ = ("_expired", "_task", "_timer", "_when")

    def __init__(self, seconds: float) -> None:
        self._when = asyncio.get_running_loop().time() + seconds
        self._task = asyncio.current_task()
        self._expired = False
        self._timer: LazyTimer | None = None

    def move(self, when: float) -> None:
        """Move the deadline to `when`, by the loop's clock."""
        if self._timer is not None and when < self._when:
            self._timer.sooner(when)
        self._when = when

    async def __aenter__(self) -> "Deadline":
        self._timer = LazyTimer(self._when, self._look)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._timer is not None:
            self._timer.stop()
        if not self._expired or self._task is None:
            return
        cancelled = kind is not None and issubclass(kind, asyncio.CancelledError)
        # Someone else may have cancelled the task too: that cancellation goes on.
        if self._task.uncancel() == 0 and cancelled:
            raise TimeoutError from error

    def _look(self, now: float) -> float | None:
        if now < self._when:
            return self._when
        if self._task is not None:
            self._expired = True
            self._task.cancel()
        return None


class SendTimer:
    """Cancels the task that made it when a send has been under way for `seconds`. Without it, the
    send of a server waits for ever for a peer that stops reading."""

    __slots__ = ("_now", "_seconds", "_since", "_task", "_timer")

    def __init__(self, seconds: float) -> None:
        self._now = asyncio.get_running_loop().time
        self._seconds = seconds
        self._task = asyncio.current_task()
        self._since: float | None = None
        self._timer = LazyTimer(self._now() + seconds, self._look)

    def sending(self) -> None:
        """A send begins."""
        if self._since is None:
            self._since = self._now()

    def sent(self) -> None:
        """The peer has taken what was sent."""
        self._since = None

    def stop(self) -> None:
        """End the timer: nothing more is sent."""
        self._timer.stop()

    def _look(self, now: float) -> float | None:
        since = now if self._since is None else self._since
        if now < since + self._seconds:
            return since + self._seconds
        if self._task is not None:
            self._task.cancel()
        return None
