"""Replays go on one at a time, so that live streams do not wait for all of them.

A replay has all its events at hand. A hundred replays, each of which writes a hundred events in
every pass of the event loop, would delay each live token by all that work. So one replay goes on in
each pass.
"""

import asyncio
from collections import deque


class ReplayPacer:
    """Lets the replays of a process go on in rotation. Only readers wait here, and the number of
    connections bounds them."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._busy = False

    async def wait(self) -> None:
        """Wait until no other replay goes on in this pass of the event loop. This costs nothing
        while there is no other replay."""
        loop = asyncio.get_running_loop()
        if not self._busy:
            self._busy = True
            loop.call_soon(self._next)
            return
        future = loop.create_future()
        self._waiting.append(future)
        await future

    def _next(self) -> None:
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():  # else its reader has left
                future.set_result(None)
                asyncio.get_running_loop().call_soon(self._next)
                return
        self._busy = False
