"""The stream of a generation behind an event that the client has seen."""

from quart import Response, request

from streamapi.api import replays, sse
from streamapi.api.answer import headers
from streamapi.api.cursor import read_cursor
from streamapi.api.problems import request_id
from streamapi.api.reconnect import ask_to_reconnect, interruptible
from streamapi.errors import Overloaded, RateLimited, StoreUnavailable
from streamapi.generation.log import LOST_AT
from streamapi.services import Services


async def resume(parts: Services, generation_id: str, after: int, ping: bytes) -> Response:
    """The events behind number `after`, to the ending; `ping` breaks a silence.

    The status is 204 when the client has seen the ending, because that stops an `EventSource`. A
    client that can be served only later, or by another process, is asked to reconnect."""
    if parts.leaving:
        return ask_to_reconnect()
    try:
        return await _resume(parts, generation_id, after, ping)
    except (StoreUnavailable, Overloaded):
        return ask_to_reconnect()


async def _resume(parts: Services, generation_id: str, after: int, ping: bytes) -> Response:
    generation, tail = await replays.follow(parts, generation_id, request.endpoint or "")
    replayed_from = tail.n if request.method == "HEAD" else after
    try:
        await replays.charge(parts, generation, replayed_from, tail)
    except RateLimited as error:
        if read_cursor() is None:
            raise
        return ask_to_reconnect(error.retry_after)
    if request.method == "HEAD":  # the server would read the stream to its end, and send nothing
        return Response(b"", headers={**sse.HEADERS, **headers(generation)})
    if after == LOST_AT or (tail.ended and after == tail.n):
        return Response(b"", status=204, headers=headers(generation))
    frames = sse.stream(parts, generation, request_id(), after=after, ping=ping, replays=tail.n)
    return await sse.respond(generation, interruptible(parts, frames))
