"""Drops a reader that cannot be written to.

A server's send waits for ever when the peer stops reading. One timer per reader looks now and
then whether a send has been under way for too long, and cancels the task that sends; setting a
time-out for every send would cost a timer per event.
"""

import asyncio


class Stall:
    """Watches the task that makes it."""

    def __init__(self, seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._seconds = seconds
        self._task = asyncio.current_task()
        self._since: float | None = None
        self._timer = self._loop.call_later(seconds, self._look)

    def sending(self) -> None:
        """A write begins: the clock runs."""
        if self._since is None:
            self._since = self._loop.time()

    def sent(self) -> None:
        """It was taken: the clock stops."""
        self._since = None

    def stop(self) -> None:
        """The reader has left."""
        self._timer.cancel()

    def _look(self) -> None:
        now = self._loop.time()
        since = now if self._since is None else self._since
        if now - since >= self._seconds and self._task is not None:
            self._task.cancel()
        else:
            self._timer = self._loop.call_at(since + self._seconds, self._look)
