"""Every error as `application/problem+json` (RFC 9457), whoever raised it.

Quart's own errors (no route, wrong method, body too large) are translated here; anything else
that was not foreseen is `internal`, with its reason in the log alone.
"""

import logging
from typing import Any

from quart import Quart, Response, g, has_request_context, request, websocket
from werkzeug.exceptions import HTTPException
from werkzeug.routing import WebsocketMismatch

from streamapi.api.answer import GenerationFailed
from streamapi.api.patches.answers import problem_headers
from streamapi.errors import (
    GenerationExpired,
    Internal,
    InvalidHeader,
    MalformedJson,
    MethodNotAllowed,
    NotFound,
    Problem,
    StreamapiError,
    TooLarge,
)
from streamapi.generation.event import encode

logger = logging.getLogger(__name__)

TRANSLATED: dict[int, type[StreamapiError]] = {
    400: InvalidHeader,
    404: NotFound,
    405: MethodNotAllowed,
    408: MalformedJson,
    410: GenerationExpired,
    413: TooLarge,
}
"""What Quart raises by itself, by its status."""


def register(app: Quart) -> None:
    """Let every error of the app have the one body."""
    app.register_error_handler(StreamapiError, _ours)
    app.register_error_handler(GenerationFailed, _generation_failed)
    app.register_error_handler(HTTPException, _quarts)
    app.register_error_handler(Exception, _unforeseen)


def respond(problem: Problem) -> Response:
    """The problem as a response, with the headers that say the same; the access line names it."""
    scope: Any = (request if has_request_context() else websocket).scope
    scope["streamapi.code"] = problem.code
    headers = problem_headers(problem)
    if problem.generation is not None:
        headers["Generation-Id"] = problem.generation
    if problem.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(encode(problem), status=problem.status, headers=headers)


async def _ours(error: StreamapiError) -> Response:
    return respond(with_request_id(error.problem()))


async def _generation_failed(error: GenerationFailed) -> Response:
    return respond(error.problem)


async def _quarts(error: HTTPException) -> Response:
    kind = TRANSLATED.get(error.code or 500, Internal)
    detail = error.description or kind.title
    if isinstance(error, WebsocketMismatch):
        detail = "This address is a WebSocket: open it with an Upgrade."
    response = await _ours(kind(detail))
    allowed = getattr(error, "valid_methods", None)
    if allowed:
        response.headers["Allow"] = ", ".join(sorted(allowed))
    return response


async def _unforeseen(error: Exception) -> Response:
    logger.exception("a request failed", extra={"request_id": request_id()})
    return await _ours(Internal("The server's log has the reason, under this request id."))


def with_request_id(problem: Problem) -> Problem:
    """The problem, as the current request's."""
    from msgspec.structs import replace

    return replace(problem, request_id=request_id())


def request_id() -> str:
    """The id of the current request or socket."""
    return str(getattr(g, "request_id", ""))
