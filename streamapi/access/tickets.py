"""Tickets stand for a key in a URL, where a key must not be.

A browser's `EventSource` and `WebSocket` send no headers that a page can choose, and histories,
proxies and logs keep URLs. So a page sends its key once, in a header, and gets a ticket. A ticket
is good for a minute, one path, one origin and one generation. Presented again, it joins the
generation that it started or follows, and starts no other. Only its digest is stored
(`keys.digest`).
"""

import secrets
import time
from collections.abc import Callable
from typing import Protocol

import msgspec

from streamapi.access import bounded_dict

TTL = 60.0
"""Seconds within which a ticket must be presented for the first time."""

MOST_TICKETS = 100_000
"""Tickets in the memory of a process. Beyond it the oldest is forgotten, and then refused."""

PREFIX = "tkt_"


class Ticket(msgspec.Struct, frozen=True):
    """What a ticket is good for. `key` is the digest of the key that asked for it, empty on a
    server without keys. `origin` is the page's, None where no browser asked. `generation` is the
    id of the generation that the ticket started or follows."""

    key: str
    path: str
    origin: str | None = None
    generation: str | None = None


class Tickets(Protocol):
    """Stores tickets by their digests."""

    async def put(self, digest: str, ticket: Ticket, seconds: float) -> None:
        """Store a new ticket for so many seconds. Raises `StoreUnavailable`."""

    async def find(self, digest: str) -> Ticket | None:
        """The ticket, or None where it does not exist or is over. Raises `StoreUnavailable`."""

    def keep(self, digest: str, ticket: Ticket, seconds: float) -> None:
        """Store a ticket that stands for its generation, for so many seconds from now, without
        waiting for the backend."""


def make() -> str:
    """A new ticket, of 192 random bits."""
    return PREFIX + secrets.token_urlsafe(24)


class MemoryTickets:
    """Tickets in the memory of one process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._tickets: dict[str, tuple[Ticket, float]] = {}

    async def put(self, digest: str, ticket: Ticket, seconds: float) -> None:
        self.keep(digest, ticket, seconds)

    def keep(self, digest: str, ticket: Ticket, seconds: float) -> None:
        entry = ticket, self._clock() + seconds
        bounded_dict.put(self._tickets, digest, entry, MOST_TICKETS)

    async def find(self, digest: str) -> Ticket | None:
        ticket, until = self._tickets.get(digest, (None, 0.0))
        if self._clock() < until:
            return ticket
        self._tickets.pop(digest, None)
        return None
