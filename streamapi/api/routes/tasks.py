"""The HTTP transports of every task: one JSON answer, Server-Sent Events by POST and by GET, or an
answer to follow later. The WebSocket is in `socket.py`.

A resumption (`Last-Event-ID`, `after`) on any of these addresses never starts a generation.
"""

from typing import Any

from quart import Blueprint, Response, request

from streamapi.api import idempotency, sse
from streamapi.api.answer import GenerationFailed, answer, headers, own_problem
from streamapi.api.authentication import takes_tickets
from streamapi.api.body import read_object, read_query
from streamapi.api.context import services
from streamapi.api.cursor import read_full_cursor
from streamapi.api.description import (
    GENERATION_ERRORS,
    GENERATION_ID,
    LOCATION,
    LOOKUP_ERRORS,
    RESUME_ERRORS,
    START_ERRORS,
    Description,
    EventStream,
    Header,
    Reply,
    tag,
)
from streamapi.api.limits import resumable
from streamapi.api.parameters import (
    AFTER,
    IDEMPOTENCY_HEADER,
    IDEMPOTENCY_PARAMETER,
    LAST_EVENT_ID,
    PREFER,
    TICKET,
)
from streamapi.api.problems import request_id
from streamapi.api.reconnect import interruptible
from streamapi.api.responses import json_response
from streamapi.api.resume import resume
from streamapi.api.routes.generations import ENDED, answer_response
from streamapi.api.shapes import Accepted, whole_answer
from streamapi.api.start import start_generation
from streamapi.errors import GenerationCancelled
from streamapi.generation.event import Cancelled, Failed, Fold, fold
from streamapi.generation.generation import Generation
from streamapi.services import Services
from streamapi.tasks.task import Task

NOT_FIELDS = frozenset({"idempotency_key", "ticket"})
"""Query parameters that are not fields of the request."""

NOT_BY_GET = frozenset({"metadata", "messages"})
"""Fields of the request that query parameters cannot hold."""

PREFERENCE_APPLIED = Header(
    "Preference-Applied", "The preference that the server has followed (RFC 7240)."
)


def blueprint(task: Task[Any]) -> Blueprint:
    """The routes of a task."""
    routes = Blueprint(task.name, __name__, url_prefix=f"/v1/{task.name}")

    @routes.post("")
    @_answer(task)
    async def respond() -> Response:
        return await answer_json(task)

    @routes.post("/stream")
    @resumable
    @_stream_by_post(task)
    async def stream() -> Response:
        return await stream_by_post(task)

    @routes.get("/stream")
    @resumable
    @takes_tickets
    @_stream_by_get(task)
    async def event_source() -> Response:
        return await stream_by_get(task)

    return routes


def _answer(task: Task[Any]) -> Description:
    started = "The generation has started. Follow it at the URL in `events`."
    headers = (LOCATION, PREFERENCE_APPLIED, GENERATION_ID)
    return Description(
        f"{task.name}_answer",
        tag(task),
        {
            200: Reply("The whole answer.", whole_answer(task.name, task.result), (GENERATION_ID,)),
            202: Reply(started, Accepted, headers),
        },
        takes=(IDEMPOTENCY_HEADER, PREFER),
        body=task.request,
        examples={task.name: task.example},
        fails=(*START_ERRORS, *GENERATION_ERRORS, GenerationCancelled),
        summary=f"{task.title}: one JSON answer",
        description=f"{task.description} The response is the whole answer. With "
        "`Prefer: respond-async`, the response is a 202 at once, with the URL of the events.",
    )


def _stream_by_post(task: Task[Any]) -> Description:
    return Description(
        f"{task.name}_stream",
        tag(task),
        {200: _events(task, pings=False), 204: ENDED},
        takes=(IDEMPOTENCY_HEADER, LAST_EVENT_ID, AFTER),
        body=task.request,
        examples={task.name: task.example},
        fails=(*START_ERRORS, *GENERATION_ERRORS, *LOOKUP_ERRORS, *RESUME_ERRORS),
        summary=f"{task.title}: a stream, by POST",
        description=f"{task.description} Server-Sent Events, for a client that can POST. The "
        "status line waits a moment for the first content. A failure before it has its own status; "
        "a failure after it is a `failed` event.",
    )


def _stream_by_get(task: Task[Any]) -> Description:
    return Description(
        f"{task.name}_event_source",
        tag(task),
        {200: _events(task, pings=True), 204: ENDED},
        takes=(IDEMPOTENCY_PARAMETER, TICKET, AFTER, LAST_EVENT_ID),
        query=task.request,
        examples={task.name: task.example},
        fails=(*START_ERRORS, *LOOKUP_ERRORS, *RESUME_ERRORS),
        summary=f"{task.title}: a stream for EventSource",
        description=f"{task.description} Server-Sent Events, for the `EventSource` of a "
        "browser. The fields of the request are query parameters, with up to 8,000 characters in "
        "all. The stream opens at once with `start`, so that there is an id to resume from. A "
        "failure is a `failed` event.",
    )


def _events(task: Task[Any], *, pings: bool) -> EventStream:
    answer = whole_answer(task.name, task.result)
    return EventStream("The answer while it is written.", answer, pings)


async def answer_json(task: Task[Any]) -> Response:
    """Wait for the whole answer; with `Prefer: respond-async`, respond at once with its address."""
    parts, respond_async = services(), _prefers_async()
    generation = await start_generation(
        task,
        await read_object(),
        idempotency_key=idempotency.from_header(),
        outlives_readers=respond_async,
    )
    if respond_async:
        return _accepted(generation, fold(await parts.generations.events(generation)))
    batches = parts.generations.read(generation)
    folded = fold([entry.event async for batch in batches for entry in batch])
    if isinstance(folded.ending, Failed):
        raise GenerationFailed(own_problem(folded.ending.problem, generation, request_id()))
    if isinstance(folded.ending, Cancelled):
        cancelled = GenerationCancelled("The generation was cancelled before it was complete.")
        raise GenerationFailed(own_problem(cancelled.problem(), generation, request_id()))
    return answer_response(generation, folded)


async def stream_by_post(task: Task[Any]) -> Response:
    """Stream the answer to a client that can POST."""
    parts = services()
    if cursor := read_full_cursor():
        return await resume(parts, *cursor, sse.COMMENT)
    body = await read_object()
    generation = await start_generation(task, body, idempotency_key=idempotency.from_header())
    return await _stream(parts, generation, sse.COMMENT, parts.settings.stream_open_after)


async def stream_by_get(task: Task[Any]) -> Response:
    """Stream the answer to a browser's `EventSource`. The stream opens at once, so that the client
    has an event id to resume from."""
    parts = services()
    if request.method == "HEAD":
        return Response(b"", headers=sse.HEADERS)
    if cursor := read_full_cursor():
        return await resume(parts, *cursor, sse.PING)
    key = idempotency.from_field(request.args.get("idempotency_key"))
    fields = read_query(task.request, NOT_BY_GET, NOT_FIELDS)
    generation = await start_generation(task, fields, idempotency_key=key, text_values=True)
    return await _stream(parts, generation, sse.PING, 0.0)


async def _stream(
    parts: Services, generation: Generation, ping: bytes, open_after: float
) -> Response:
    frames = sse.stream(parts, generation, request_id(), ping=ping, open_after=open_after)
    return await sse.respond(generation, interruptible(parts, frames))


def _accepted(generation: Generation, so_far: Fold) -> Response:
    address = f"/v1/generations/{generation.id}"
    body = {**answer(generation, so_far, request_id()), "events": f"{address}/events"}
    accepted = {"Location": address, "Preference-Applied": "respond-async"}
    return json_response(body, 202, {**headers(generation), **accepted})


def _prefers_async() -> bool:
    """Whether the request has `Prefer: respond-async` (RFC 7240)."""
    preferences = ",".join(request.headers.getlist("Prefer")).lower().split(",")
    return any(item.split(";")[0].strip() == "respond-async" for item in preferences)
