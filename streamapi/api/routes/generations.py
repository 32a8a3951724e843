"""A generation: read its answer, follow its events from any point, cancel it, delete it."""

from quart import Blueprint, Response

from streamapi.api import sse
from streamapi.api.answer import answer, headers
from streamapi.api.authentication import only_resumes, takes_tickets
from streamapi.api.context import caller, services
from streamapi.api.cursor import Cursor, read_cursor
from streamapi.api.description import (
    GENERATION_ID,
    GENERATIONS,
    LOOKUP_ERRORS,
    RESUME_ERRORS,
    Description,
    EventStream,
    Reply,
)
from streamapi.api.limits import unlimited
from streamapi.api.parameters import AFTER_NUMBER, LAST_EVENT_ID, TICKET
from streamapi.api.problems import request_id
from streamapi.api.responses import json_response
from streamapi.api.resume import resume
from streamapi.api.shapes import Answer
from streamapi.errors import InvalidRequest, RateLimited
from streamapi.generation.event import Fold, fold
from streamapi.generation.generation import Generation
from streamapi.services import Services

routes = Blueprint("generations", __name__, url_prefix="/v1/generations")

SO_FAR = Reply("The generation as it is now.", Answer, (GENERATION_ID,))
ENDED = Reply(
    "You have the last event already. An `EventSource` does not reconnect.",
    headers=(GENERATION_ID,),
)
"""The answer that stops an `EventSource`."""


@routes.get("/<generation_id>")
@Description("get_generation", GENERATIONS, {200: SO_FAR}, fails=LOOKUP_ERRORS)
async def get(generation_id: str) -> Response:
    """Get a generation: its answer, or the part that exists so far."""
    parts = services()
    return await _so_far(parts, await parts.generations.find(caller(), generation_id))


@routes.get("/<generation_id>/events")
@unlimited("a reader starts nothing, and a reconnection must succeed")
@takes_tickets
@only_resumes
@Description(
    "follow_generation",
    GENERATIONS,
    {200: EventStream("The events of the generation.", pings=True), 204: ENDED},
    takes=(LAST_EVENT_ID, AFTER_NUMBER, TICKET),
    fails=(*LOOKUP_ERRORS, *RESUME_ERRORS, RateLimited),
)
async def events(generation_id: str) -> Response:
    """Follow the events of a generation, from the start or after the last event that you have."""
    cursor = read_cursor() or Cursor(None, 0)
    if cursor.generation not in (None, generation_id):
        raise InvalidRequest(
            "The event id belongs to another generation. Send an id of this generation's events."
        )
    return await resume(services(), generation_id, cursor.after, sse.PING)


@routes.post("/<generation_id>/cancel")
@Description("cancel_generation", GENERATIONS, {200: SO_FAR}, fails=LOOKUP_ERRORS)
async def cancel(generation_id: str) -> Response:
    """Cancel a generation, and get its answer so far.

    If the generation has ended already, nothing changes."""
    parts = services()
    generation = await parts.generations.find(caller(), generation_id)
    await parts.generations.cancel(generation)
    return await _so_far(parts, generation)


@routes.delete("/<generation_id>")
@Description(
    "forget_generation",
    GENERATIONS,
    {204: Reply("The generation is deleted.")},
    fails=LOOKUP_ERRORS,
)
async def forget(generation_id: str) -> Response:
    """Delete a generation and its answer.

    If the generation is still running, it is cancelled first."""
    parts = services()
    await parts.generations.forget(await parts.generations.find(caller(), generation_id))
    return Response(b"", status=204)


def answer_response(generation: Generation, folded: Fold) -> Response:
    """The answer of a generation, so far or at the end."""
    body = answer(generation, folded, request_id())
    return json_response(body, headers=headers(generation))


async def _so_far(parts: Services, generation: Generation) -> Response:
    return answer_response(generation, fold(await parts.generations.events(generation)))
