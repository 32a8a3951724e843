"""Tickets: what stands for a key in an address, where a key must not.

A browser's `EventSource` and `WebSocket` send no headers of a page's choice, and an address is kept
by histories, proxies and logs. So a page shows its key once, in a header, for a ticket: good for a
minute, for one path, for one origin, and for one generation. A ticket is a claim: who presents it
again joins what it began or follows, and begins nothing else. Kept is only its digest.
"""

import hashlib
import secrets
import time
from collections.abc import Callable
from typing import Protocol

import msgspec

TTL = 60.0
"""Seconds for which a ticket can be presented for the first time."""

MOST_TICKETS = 100_000
"""Kept in the memory of a process; beyond it the oldest is forgotten, and so refused."""

PREFIX = "tkt_"


class Ticket(msgspec.Struct, frozen=True):
    """What a ticket is good for. `key` is the digest of the key that asked for it, empty where no
    keys are asked for; `origin` is the page's, where there was one; `generation` what it began or
    follows."""

    key: str
    path: str
    origin: str | None = None
    generation: str | None = None


class Tickets(Protocol):
    """Where tickets are kept, by name (`name_of`)."""

    async def put(self, name: str, ticket: Ticket, seconds: float) -> None:
        """Keep a ticket. Raises `StoreUnavailable`."""

    async def find(self, name: str) -> Ticket | None:
        """The ticket, as long as it is good. Raises `StoreUnavailable`."""

    def keep(self, name: str, ticket: Ticket, seconds: float) -> None:
        """It stands for its generation: it is good for so many seconds from now. Nobody waits."""


def make() -> str:
    """A new ticket, of 192 random bits."""
    return PREFIX + secrets.token_urlsafe(24)


def name_of(shown: str) -> str:
    """The name under which a ticket is kept: nobody can present it."""
    return hashlib.sha256(shown.encode("utf-8", "replace")).hexdigest()


class MemoryTickets:
    """Tickets in the memory of one process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: dict[str, tuple[Ticket, float]] = {}

    async def put(self, name: str, ticket: Ticket, seconds: float) -> None:
        self.keep(name, ticket, seconds)

    def keep(self, name: str, ticket: Ticket, seconds: float) -> None:
        self._kept.pop(name, None)
        self._kept[name] = ticket, self._clock() + seconds
        if len(self._kept) > MOST_TICKETS:
            del self._kept[next(iter(self._kept))]

    async def find(self, name: str) -> Ticket | None:
        ticket, until = self._kept.get(name, (None, 0.0))
        if self._clock() < until:
            return ticket
        self._kept.pop(name, None)
        return None
