"""Replays have limits of their own. A replay is the events that a log had before its reader came.

A reconnection starts nothing, so it does not count as a request; but its replay costs bytes and
time. So the replays of a caller are limited by number and by bytes. Events that are read as they
come are not a replay. A cursor for a generation that the caller does not have is not a
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

EVENT_BYTES = 300
"""Estimated bytes of an event, while its log is not in this process."""


async def follow(parts: Services, generation_id: str, limit: str) -> tuple[Generation, Tail]:
    """The current caller's generation with this id, and the end of its log so far.

    Where the caller has no such generation, this counts as a request, under the name `limit`.
    Raises `NotFound`, `Forbidden`, `GenerationExpired` and `RateLimited`."""
    try:
        generation = await ticket_claims.follow(parts, generation_id)
        return generation, await parts.generations.tail(generation)
    except (NotFound, Forbidden, GenerationExpired):
        await limits.take_message(limit)
        raise


async def charge(parts: Services, generation: Generation, after: int, tail: Tail) -> None:
    """Count a replay of the events behind number `after` for the current caller. Raises
    `RateLimited`; then the replay is not counted."""
    settings, key = parts.settings, limit_key(caller())
    size = parts.generations.weigh(generation, after)
    if size is None:  # and where the writer is lost, the number of events is not known either
        size = 0 if tail.n == LOST_AT else max(0, tail.n - after) * EVENT_BYTES
    wants = [
        Want(f"{name}/{key}", Limit(count, PERIOD), cost)
        for name, count, cost in (
            ("replays", settings.replays_per_minute, 1),
            ("replay-bytes", settings.replay_bytes_per_minute, size),
        )
        if count
    ]
    if not wants:
        return
    taken = await parts.limits.take(*wants)
    refused = [it.retry_after for it in taken if not it.allowed]
    if refused:
        raise RateLimited(
            "Too many events were replayed in the last minute. Wait, then resume from the last "
            "event that you saw.",
            retry_after=max(refused),
        )
