"""What the ticket of the current request or socket stands for: at most one generation.

A ticket is bound to the first generation that it begins or follows, and lives from then on as
long as a log does. A ticket that is bound begins nothing, and serves nothing else: whoever finds
it in a log can only read what its page has read.
"""

from msgspec.structs import replace
from quart import g

from streamapi.access.tickets import Ticket
from streamapi.api.context import caller
from streamapi.errors import Forbidden, IdempotencyKeyReused
from streamapi.generation.generation import Generation
from streamapi.services import Services


async def find(parts: Services, generation_id: str) -> Generation:
    """The current caller's generation of this id. Raises `NotFound`, and `Forbidden` where the
    caller's key or ticket is not for it."""
    ticket: Ticket | None = g.get("ticket")
    if ticket is not None and ticket.generation not in (None, generation_id):
        raise Forbidden("This ticket is for another generation.")
    return await parts.generations.find(caller(), generation_id)


async def follow(parts: Services, generation_id: str) -> Generation:
    """The same, to read its events: the caller's ticket is bound to it. Raises as `find` does."""
    generation = await find(parts, generation_id)
    bind(parts, generation)
    return generation


async def joined(parts: Services, digest: str) -> Generation | None:
    """The generation that the caller's ticket is bound to, for a request of this digest. None
    without such a ticket. Raises `NotFound` when the generation was forgotten, and
    `IdempotencyKeyReused` when it was another request's."""
    ticket: Ticket | None = g.get("ticket")
    if ticket is None or ticket.generation is None:
        return None
    generation = await parts.generations.find(caller(), ticket.generation)
    if generation.digest != digest:
        raise IdempotencyKeyReused("This ticket was used for another request.")
    bind(parts, generation)
    return generation


def bind(parts: Services, generation: Generation) -> None:
    """Let the caller's ticket stand for this generation, as long as its log can live."""
    ticket, name = g.get("ticket"), caller().ticket
    if ticket is None or name is None:
        return
    g.ticket = replace(ticket, generation=generation.id)
    parts.tickets.keep(name, g.ticket, parts.settings.keys_remembered)
