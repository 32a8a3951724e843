"""Tickets in a Redis that several processes share, as `{prefix}ticket:{digest}`."""

import msgspec

from streamapi.access.tickets import Ticket
from streamapi.redis_connection import RedisConnection, Script


def _script(body: str) -> Script:
    return Script.of("local name = ARGV[1] .. 'ticket:' .. ARGV[3]\n" + body)


PUT = _script("return redis.call('SET', name, ARGV[4], 'PX', ARGV[5])")
FIND = _script("return redis.call('GET', name)")
SCRIPTS = (PUT, FIND)


class RedisTickets:
    """The `Tickets` of several processes. The connection must have been made with `SCRIPTS`."""

    def __init__(self, connection: RedisConnection) -> None:
        self._connection = connection

    async def put(self, digest: str, ticket: Ticket, seconds: float) -> None:
        await self._connection.call(PUT, *_arguments(digest, ticket, seconds))

    async def find(self, digest: str) -> Ticket | None:
        found = await self._connection.call(FIND, digest)
        return None if found is None else msgspec.json.decode(found, type=Ticket)

    def keep(self, digest: str, ticket: Ticket, seconds: float) -> None:
        self._connection.post(PUT, _arguments(digest, ticket, seconds))


def _arguments(digest: str, ticket: Ticket, seconds: float) -> tuple[str, bytes, int]:
    return digest, msgspec.json.encode(ticket), round(seconds * 1000)
