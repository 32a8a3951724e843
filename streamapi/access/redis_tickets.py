"""Tickets that processes share, in a Redis."""

import msgspec

from streamapi.access.tickets import Ticket
from streamapi.redis_connection import RedisConnection, Script


def _script(body: str) -> Script:
    return Script.of("local name = ARGV[1] .. 'ticket:' .. ARGV[3]\n" + body)


PUT = _script("return redis.call('SET', name, ARGV[4], 'PX', ARGV[5])")
FIND = _script("return redis.call('GET', name)")
SCRIPTS = (PUT, FIND)


class RedisTickets:
    """Tickets that processes share, in `{prefix}ticket:{name}`. `connection` knows the scripts."""

    def __init__(self, connection: RedisConnection) -> None:
        self._connection = connection

    async def put(self, name: str, ticket: Ticket, seconds: float) -> None:
        await self._connection.call(PUT, *_put(name, ticket, seconds))

    async def find(self, name: str) -> Ticket | None:
        found = await self._connection.call(FIND, name)
        return None if found is None else msgspec.json.decode(found, type=Ticket)

    def keep(self, name: str, ticket: Ticket, seconds: float) -> None:
        self._connection.post(PUT, _put(name, ticket, seconds))


def _put(name: str, ticket: Ticket, seconds: float) -> tuple[str, bytes, int]:
    return name, msgspec.json.encode(ticket), round(seconds * 1000)
