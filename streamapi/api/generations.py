"""A generation: what it came to, its events from any point on, cancelling and forgetting it."""

from quart import Blueprint, Response
from quart_rate_limiter import rate_exempt

from streamapi.api import sse
from streamapi.api.answer import answer, headers
from streamapi.api.problems import request_id
from streamapi.api.services import Services, caller, services
from streamapi.errors import InvalidRequest
from streamapi.generation.event import Fold, encode, fold
from streamapi.generation.log import Generation

routes = Blueprint("generations", __name__, url_prefix="/v1/generations")


@routes.get("/<generation_id>")
async def get(generation_id: str) -> Response:
    """The answer of a generation, as far as it has come."""
    parts = services()
    return await _so_far(parts, await parts.generations.find(caller(), generation_id))


@routes.get("/<generation_id>/events")
@rate_exempt
async def events(generation_id: str) -> Response:
    """Follow a generation's events, from the start or from behind the last event seen."""
    named, after = sse.cursor() or (None, 0)
    if named not in (None, generation_id):
        raise InvalidRequest("The event id belongs to another generation.")
    return await resume(services(), (generation_id, after), sse.PING)


@routes.post("/<generation_id>/cancel")
async def cancel(generation_id: str) -> Response:
    """Let go of a generation; doing it twice is doing it once."""
    parts = services()
    generation = await parts.generations.find(caller(), generation_id)
    await parts.generations.cancel(generation)
    return await _so_far(parts, generation)


@routes.delete("/<generation_id>")
async def forget(generation_id: str) -> Response:
    """Forget a generation now, ending it if it runs."""
    parts = services()
    await parts.generations.forget(await parts.generations.find(caller(), generation_id))
    return Response(b"", status=204)


async def resume(parts: Services, cursor: tuple[str, int], ping: bytes) -> Response:
    """The stream behind an event that was seen. 204 when that event was the ending, which is
    what stops an `EventSource`."""
    generation_id, after = cursor
    generation = await parts.generations.find(caller(), generation_id)
    tail = await parts.generations.tail(generation)
    if tail.ended and after == tail.n:
        return Response(b"", status=204, headers=headers(generation))
    frames = sse.stream(parts, generation, request_id(), after=after, ping=ping)
    return await sse.respond(generation, frames)


def json_response(generation: Generation, folded: Fold) -> Response:
    """The answer of a generation, so far or at the end."""
    body = encode(answer(generation, folded, request_id()))
    return Response(body, headers={"Content-Type": "application/json", **headers(generation)})


async def _so_far(parts: Services, generation: Generation) -> Response:
    return json_response(generation, fold(await parts.generations.events(generation)))
