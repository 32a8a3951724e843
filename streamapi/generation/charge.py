"""What a new log costs its caller: paid before a model is asked, settled at the ending.

Only a new log pays. Whether there is one is known when its claims are won, so it is paid behind
them: a cache hit, a join and a repeated key cost nothing, even to a caller who has nothing left.
Who joined a log in the moment in which it was refused gets the same refusal, as its ending.
"""

from typing import Protocol

from streamapi.generation.event import Ending


class Charge(Protocol):
    """What one ask costs."""

    async def reserve(self) -> None:
        """Take what the answer is estimated to cost, or raise why not, having taken nothing."""

    def settle(self, ending: Ending) -> None:
        """The log that was paid for ends so. Called once, whatever the ending."""


class _Free:
    async def reserve(self) -> None:
        pass

    def settle(self, ending: Ending) -> None:
        pass


FREE: Charge = _Free()
