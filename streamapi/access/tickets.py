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

from streamapi.generation.redis_lane import Lane
from streamapi.generation.redis_scripts import Script

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


def _script(body: str) -> Script:
    return Script.of("local name = ARGV[1] .. 'ticket:' .. ARGV[3]\n" + body)


PUT = _script("return redis.call('SET', name, ARGV[4], 'PX', ARGV[5])")
FIND = _script("return redis.call('GET', name)")
SCRIPTS = (PUT, FIND)


class RedisTickets:
    """Tickets that processes share, in `{prefix}ticket:{name}`. `lane` knows the scripts."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane

    async def put(self, name: str, ticket: Ticket, seconds: float) -> None:
        await self._lane.call(PUT, *_put(name, ticket, seconds))

    async def find(self, name: str) -> Ticket | None:
        found = await self._lane.call(FIND, name)
        return None if found is None else msgspec.json.decode(found, type=Ticket)

    def keep(self, name: str, ticket: Ticket, seconds: float) -> None:
        self._lane.post(PUT, _put(name, ticket, seconds))


def _put(name: str, ticket: Ticket, seconds: float) -> tuple[str, bytes, int]:
    return name, msgspec.json.encode(ticket), round(seconds * 1000)
