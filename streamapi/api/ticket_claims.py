"""The ticket of the current request or socket stands for one generation at most.

A ticket is bound to the first generation that it starts or follows, and is then valid as long as an
idempotency key is remembered. A bound ticket starts nothing and opens no other generation. So a
person who finds the ticket in an access log can read only the answer that the page has read.
"""

from msgspec.structs import replace
from quart import g

from streamapi.access.tickets import Ticket
from streamapi.api.context import caller
from streamapi.errors import Forbidden, IdempotencyKeyReused
from streamapi.generation.generation import Generation
from streamapi.services import Services


async def find(parts: Services, generation_id: str) -> Generation:
    """The current caller's generation with this id. Raises `NotFound`, and `Forbidden` where the
    caller's key or ticket is not for it."""
    ticket: Ticket | None = g.get("ticket")
    if ticket is not None and ticket.generation not in (None, generation_id):
        raise Forbidden("This ticket is for another generation. Get a new ticket.")
    return await parts.generations.find(caller(), generation_id)


async def follow(parts: Services, generation_id: str) -> Generation:
    """As `find`, to read the generation's events: the caller's ticket is bound to it."""
    generation = await find(parts, generation_id)
    bind(parts, generation)
    return generation


async def find_bound(parts: Services, digest: str) -> Generation | None:
    """The generation that the caller's ticket is bound to; None where there is no bound ticket.
    `digest` is of the request that the caller sends now.

    Raises `NotFound` when the generation was forgotten, and `IdempotencyKeyReused` when another
    request started it."""
    ticket: Ticket | None = g.get("ticket")
    if ticket is None or ticket.generation is None:
        return None
    generation = await parts.generations.find(caller(), ticket.generation)
    if generation.digest != digest:
        raise IdempotencyKeyReused("This ticket was used for another request. Get a new ticket.")
    bind(parts, generation)
    return generation


def bind(parts: Services, generation: Generation) -> None:
    """Bind the caller's ticket, if there is one, to this generation."""
    ticket, name = g.get("ticket"), caller().ticket
    if ticket is None or name is None:
        return
    g.ticket = replace(ticket, generation=generation.id)
    parts.tickets.keep(name, g.ticket, parts.settings.keys_remembered)
