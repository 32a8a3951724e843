"""One timer that looks now and then, in place of one that is made and cancelled at every event.

A time-out that moves on with every token would cost more than the token, if each move made a
timer. So what moves is an attribute, and a `LazyTimer` looks from time to time whether its moment
has come. Deadlines of a model, silences of a reader and stalled sends all stand on it.
"""

import asyncio
from collections.abc import Callable
from types import TracebackType


class LazyTimer:
    """Calls `look(now)` at `when`, by the loop's clock; `look` returns when to look again, or
    None to look no more."""

    __slots__ = ("_look", "_loop", "_timer")

    def __init__(self, when: float, look: Callable[[float], float | None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._look = look
        self._timer = self._loop.call_at(when, self._fire)

    def sooner(self, when: float) -> None:
        """Look at `when` instead; needed only for a moment before the one that is set."""
        self._timer.cancel()
        self._timer = self._loop.call_at(when, self._fire)

    def stop(self) -> None:
        """Look no more."""
        self._timer.cancel()

    def _fire(self) -> None:
        again = self._look(self._loop.time())
        if again is not None:
            self._timer = self._loop.call_at(again, self._fire)


class Deadline:
    """`async with Deadline(seconds) as deadline:` raises TimeoutError in the body when the time
    has come, by cancelling the task where it waits: that is what closes an upstream socket.
    Like `asyncio.timeout`, but moving it costs an attribute."""

    __slots__ = ("_expired", "_task", "_watch", "_when")

    def __init__(self, seconds: float) -> None:
        self._when = asyncio.get_running_loop().time() + seconds
        self._task = asyncio.current_task()
        self._expired = False
        self._watch: LazyTimer | None = None

    def move(self, when: float) -> None:
        """Let the deadline be at `when`, by the loop's clock."""
        if self._watch is not None and when < self._when:
            self._watch.sooner(when)
        self._when = when

    async def __aenter__(self) -> "Deadline":
        self._watch = LazyTimer(self._when, self._look)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._watch is not None:
            self._watch.stop()
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
    """Cancels the task that made it when a send has been under way for `seconds`: a server's
    send waits for ever for a peer that stops reading."""

    __slots__ = ("_now", "_seconds", "_since", "_task", "_watch")

    def __init__(self, seconds: float) -> None:
        self._now = asyncio.get_running_loop().time
        self._seconds = seconds
        self._task = asyncio.current_task()
        self._since: float | None = None
        self._watch = LazyTimer(self._now() + seconds, self._look)

    def sending(self) -> None:
        """A write begins: the clock runs."""
        if self._since is None:
            self._since = self._now()

    def sent(self) -> None:
        """It was taken: the clock stops."""
        self._since = None

    def stop(self) -> None:
        """The reader has left."""
        self._watch.stop()

    def _look(self, now: float) -> float | None:
        since = now if self._since is None else self._since
        if now < since + self._seconds:
            return since + self._seconds
        if self._task is not None:
            self._task.cancel()
        return None
