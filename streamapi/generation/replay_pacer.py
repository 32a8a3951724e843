"""Replays take turns, so that they do not keep the event loop from those who wait for a token.

A replay has all its events at hand. A hundred of them, each of which writes a hundred events
whenever the loop comes to it, would add all that to the time of everybody else. So per turn of
the loop one of them goes on.
"""

import asyncio
from collections import deque


class ReplayPacer:
    """Whose turn it is, of all replays of a process. Those who wait are readers, whose number is
    bounded by their connections."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._busy = False

    async def turn(self) -> None:
        """Wait until no other replay goes on in this turn of the loop. Costs nothing while
        there is no other."""
        loop = asyncio.get_running_loop()
        if not self._busy:
            self._busy = True
            loop.call_soon(self._next)
            return
        turn = loop.create_future()
        self._waiting.append(turn)
        await turn

    def _next(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():  # else its reader has left
                turn.set_result(None)
                asyncio.get_running_loop().call_soon(self._next)
                return
        self._busy = False
