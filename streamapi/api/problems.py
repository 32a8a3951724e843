"""Every error as `application/problem+json` (RFC 9457).

Quart's own errors (no route, wrong method, body too large) are translated to ours. Any other
exception is a bug: the client gets `internal`, and the log gets the traceback.
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
"""Our errors for those that Quart raises itself, by status."""


def register(app: Quart) -> None:
    """Answer every error of the app with a problem."""
    app.register_error_handler(StreamapiError, _streamapi_error)
    app.register_error_handler(GenerationFailed, _generation_failed)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _unexpected)


def respond(problem: Problem) -> Response:
    """The problem as a response, with headers that repeat it. The line of the access log names its
    code."""
    scope: Any = (request if has_request_context() else websocket).scope
    scope["streamapi.code"] = problem.code
    headers = problem_headers(problem)
    if problem.generation is not None:
        headers["Generation-Id"] = problem.generation
    if problem.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(encode(problem), status=problem.status, headers=headers)


async def _streamapi_error(error: StreamapiError) -> Response:
    return respond(with_request_id(error.problem()))


async def _generation_failed(error: GenerationFailed) -> Response:
    return respond(error.problem)


async def _http_error(error: HTTPException) -> Response:
    kind = TRANSLATED.get(error.code or 500, Internal)
    detail = error.description or kind.title
    if isinstance(error, WebsocketMismatch):
        detail = "This path is a WebSocket: open it with the header `Upgrade: websocket`."
    response = await _streamapi_error(kind(detail))
    allowed = getattr(error, "valid_methods", None)
    if allowed:
        response.headers["Allow"] = ", ".join(sorted(allowed))
    return response


async def _unexpected(error: Exception) -> Response:
    logger.exception("a request failed", extra={"request_id": request_id()})
    return await _streamapi_error(
        Internal("The server's log has the reason, under the `request_id` of this problem.")
    )


def with_request_id(problem: Problem) -> Problem:
    """The problem with the id of the current request."""
    from msgspec.structs import replace

    return replace(problem, request_id=request_id())


def request_id() -> str:
    """The id of the current request or WebSocket."""
    return str(getattr(g, "request_id", ""))
