"""What a new log costs its caller: reserved before a model is asked, settled at the ending.

Only a new log is charged. The claims decide whether a request needs one, so the charge comes after
them: a cache hit, a join and a repeated key cost nothing, even to a caller who has nothing left.
A caller who joins a log in the moment of its refusal gets the same refusal, as its ending.
"""

from typing import Protocol

from streamapi.generation.ended import Ended


class Charge(Protocol):
    """What one request costs."""

    async def reserve(self) -> None:
        """Take what the answer is estimated to cost, or raise why not, having taken nothing."""

    def settle(self, ended: Ended) -> None:
        """Replace the estimate by what was used. This is called once for each charge that was
        reserved, when its producer is through: also when another process ended the log, because
        the model has been used all the same."""


class _Free:
    async def reserve(self) -> None:
        pass

    def settle(self, ended: Ended) -> None:
        pass


FREE: Charge = _Free()
