"""What a reader gets again: a replay, from the log, of events that were there before it came.

A reconnection starts nothing, so it does not count as a request; but what it is sent again costs
bytes and time. So replays are charged to their caller, by number and by bytes. Events that are
read as they come are no replay. A cursor of a generation that the caller does not have is no
reconnection: it counts as a request.
"""

from streamapi.access.limit_key import limit_key
from streamapi.access.limits import Limit, Want
from streamapi.api import limits, ticket_claims
from streamapi.api.context import caller
from streamapi.errors import Forbidden, GenerationExpired, NotFound, RateLimited
from streamapi.generation.generation import Generation
from streamapi.generation.log import LOST_AT, Tail
from streamapi.services import Services

PERIOD = 60.0
"""Seconds in which replays are counted."""

UNKNOWN_EVENT = 300
"""Bytes that an event is taken to have, whose log is not in this process yet."""


async def follow(parts: Services, generation_id: str, what: str) -> tuple[Generation, Tail]:
    """The current caller's generation of this id, and how far it has come. Where the caller has no
    such generation, this counts as a request for `what`. Raises `NotFound`, `Forbidden`,
    `GenerationExpired` and `RateLimited`."""
    try:
        generation = await ticket_claims.follow(parts, generation_id)
        return generation, await parts.generations.tail(generation)
    except (NotFound, Forbidden, GenerationExpired):
        await limits.take_message(what)
        raise


async def charge(parts: Services, generation: Generation, after: int, tail: Tail) -> None:
    """Charge the current caller for a replay of what is behind `after`. Raises `RateLimited`,
    having charged nothing."""
    settings, who = parts.settings, limit_key(caller())
    weight = parts.generations.weigh(generation, after)
    if weight is None:  # a log that is lost does not tell how many events it has
        weight = 0 if tail.n == LOST_AT else max(0, tail.n - after) * UNKNOWN_EVENT
    wants = [
        Want(f"{name}/{who}", Limit(count, PERIOD), cost)
        for name, count, cost in (
            ("replays", settings.replays_per_minute, 1),
            ("replay-bytes", settings.replay_bytes_per_minute, weight),
        )
        if count
    ]
    if not wants:
        return
    taken = await parts.limits.take(*wants)
    refused = [it.retry_after for it in taken if not it.allowed]
    if refused:
        raise RateLimited("Too much is read again from here.", retry_after=max(refused))
