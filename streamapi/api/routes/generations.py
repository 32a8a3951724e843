"""A generation: what it came to, its events from any point on, cancelling and forgetting it."""

import asyncio
from collections.abc import AsyncGenerator

from quart import Blueprint, Response, request

from streamapi.api import replays, sse
from streamapi.api.answer import answer, headers
from streamapi.api.context import caller, reading, services
from streamapi.api.description import (
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
from streamapi.api.shapes import Answer
from streamapi.api.who import only_resumes, takes_tickets
from streamapi.errors import InvalidRequest, Overloaded, RateLimited, StoreUnavailable
from streamapi.generation.event import Fold, encode, fold
from streamapi.generation.generation import Generation
from streamapi.generation.log import LOST_AT
from streamapi.services import Services

routes = Blueprint("generations", __name__, url_prefix="/v1/generations")

SO_FAR = Reply("The generation as it stands.", Answer, ("Generation-Id",))
ENDED = Reply(
    "The event that was named is the ending: there is no more, and no reconnecting.",
    headers=("Generation-Id",),
)
"""What stops an `EventSource`."""


@routes.get("/<generation_id>")
@Description("get_generation", GENERATIONS, {200: SO_FAR}, fails=LOOKUP_ERRORS)
async def get(generation_id: str) -> Response:
    """The answer of a generation, as far as it has come."""
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
    """Follow a generation's events, from the start or from behind the last event seen."""
    named, after = sse.cursor() or (None, 0)
    if named not in (None, generation_id):
        raise InvalidRequest("The event id belongs to another generation.")
    return await resume(services(), (generation_id, after), sse.PING)


@routes.post("/<generation_id>/cancel")
@Description("cancel_generation", GENERATIONS, {200: SO_FAR}, fails=LOOKUP_ERRORS)
async def cancel(generation_id: str) -> Response:
    """Let go of a generation; doing it twice is doing it once."""
    parts = services()
    generation = await parts.generations.find(caller(), generation_id)
    await parts.generations.cancel(generation)
    return await _so_far(parts, generation)


@routes.delete("/<generation_id>")
@Description("forget_generation", GENERATIONS, {204: Reply("Forgotten.")}, fails=LOOKUP_ERRORS)
async def forget(generation_id: str) -> Response:
    """Forget a generation now, ending it if it runs."""
    parts = services()
    await parts.generations.forget(await parts.generations.find(caller(), generation_id))
    return Response(b"", status=204)


async def resume(parts: Services, cursor: tuple[str, int], ping: bytes) -> Response:
    """The stream behind an event that was seen. 204 when that event was the ending, which is
    what stops an `EventSource`; every other status but 200 would stop it too, so a process that
    leaves, or cannot reach the log for now, refuses with 200, when to come again, and a close."""
    if parts.leaving:
        return sse.come_again()
    try:
        return await _resume(parts, cursor, ping)
    except (StoreUnavailable, Overloaded):
        return sse.come_again()


async def _resume(parts: Services, cursor: tuple[str, int], ping: bytes) -> Response:
    generation_id, after = cursor
    generation, tail = await replays.follow(parts, generation_id, request.endpoint or "")
    seen = tail.n if request.method == "HEAD" else after
    try:
        await replays.charge(parts, generation, seen, tail)
    except RateLimited as error:
        if sse.cursor() is None:
            raise
        return sse.come_again(error.retry_after)
    if request.method == "HEAD":  # a HEAD would follow the stream to its end, and send nothing
        return Response(b"", headers={**sse.HEADERS, **headers(generation)})
    if after == LOST_AT or (tail.ended and after == tail.n):
        return Response(b"", status=204, headers=headers(generation))
    frames = sse.stream(parts, generation, request_id(), after=after, ping=ping, replays=tail.n)
    return await sse.respond(generation, interruptible(parts, frames))


def interruptible(
    parts: Services, frames: AsyncGenerator[bytes, None]
) -> AsyncGenerator[bytes, None]:
    """The stream, until its reader is sent away: to another process, or because its key has
    died. Where neither can be, the stream itself."""
    told = parts.settings.redis_url or parts.key_auth is not None
    return _interruptible(parts, frames) if told else frames


async def _interruptible(
    parts: Services, frames: AsyncGenerator[bytes, None]
) -> AsyncGenerator[bytes, None]:
    task = asyncio.current_task()
    assert task is not None
    waiting = cancelled = False
    parting: bytes | None = None

    def leave(last: bytes) -> None:
        nonlocal parting, cancelled
        if parting is not None:
            return  # it has been sent away already
        parting = last
        # What is being sent is sent. Before the first event there is no id to resume from.
        if waiting:
            cancelled = True
            task.cancel()

    def close_callback() -> None:
        leave(sse.when())

    parts.streams.add(close_callback)
    try:
        with reading(parts, lambda: leave(b"")):  # coming again, a dead key learns why
            async for piece in frames:
                waiting = False
                yield piece
                if parting is not None:
                    break
                waiting = True
            else:
                return
    except asyncio.CancelledError:
        if not cancelled or task.uncancel():  # the client has left
            raise
    finally:
        parts.streams.discard(close_callback)
        await frames.aclose()
    if parting:  # an empty piece would be the end of a chunked body
        yield parting


def json_response(generation: Generation, folded: Fold) -> Response:
    """The answer of a generation, so far or at the end."""
    body = encode(answer(generation, folded, request_id()))
    return Response(body, headers={"Content-Type": "application/json", **headers(generation)})


async def _so_far(parts: Services, generation: Generation) -> Response:
    return json_response(generation, fold(await parts.generations.events(generation)))
