"""Headers of every response, and CORS for the pages of allowed origins (quart-cors)."""

import re
from typing import Any

from quart import Quart, Response, g, has_request_context, request, websocket
from quart_cors import cors, cors_exempt  # noqa: F401  (sockets are exempted where they are)

from streamapi.access.keys import contains_key
from streamapi.api import address, origins
from streamapi.api.patches.answers import new_request_id
from streamapi.api.patches.request_head import check_query
from streamapi.errors import InvalidHeader
from streamapi.settings import Settings

_VALID_ID = re.compile(r"[A-Za-z0-9._~-]{1,128}")
EXPOSED = (
    "X-Request-Id",
    "Generation-Id",
    "Location",
    "Preference-Applied",
    "Retry-After",
    "RateLimit",
    "RateLimit-Policy",
    "Cache-Status",
    "x-should-retry",
)
ACCEPTED = (
    "Authorization",
    "Content-Type",
    "Last-Event-ID",
    "Idempotency-Key",
    "Prefer",
    "X-Request-Id",
)


def register(app: Quart, settings: Settings) -> None:
    """Give every request an id, check its origin, and add headers to every response."""

    async def name_request() -> None:
        _name(request, settings)
        check_query(request.query_string)
        if _two_lengths():
            raise InvalidHeader("Send a Content-Length or a Transfer-Encoding, not both.")
        if request.path.startswith("/v1/"):
            origins.check(settings, request.headers)

    async def name_socket() -> None:
        _name(websocket, settings)
        check_query(websocket.query_string)
        origins.check(settings, websocket.headers)

    app.before_request(name_request)
    app.before_websocket(name_socket)
    app.after_request(_finish)
    app.after_websocket(_finish_refusal)  # type: ignore[type-var]  # None is an accepted socket
    if settings.cors_origins:
        cors(
            app,
            allow_origin=settings.cors_origins,
            allow_headers=ACCEPTED,
            allow_methods=("GET", "POST", "DELETE"),
            expose_headers=EXPOSED,
            max_age=600,
        )


def _name(connection: Any, settings: Settings) -> None:
    g.request_id = _valid_id(connection.headers.get("X-Request-Id"))
    # The access log reads it from the scope.
    connection.scope["streamapi.address"] = address.find(connection, settings.trusted_hops)


def _two_lengths() -> bool:
    """Whether the request has two lengths. A proxy that uses the other one sees another end of the
    request, and may read the rest of it as a second request (RFC 9112, section 6.1)."""
    return "Transfer-Encoding" in request.headers and "Content-Length" in request.headers


def _valid_id(given: str | None) -> str:
    """The client's id if it is valid, else a new one. An id that contains a key is not valid,
    because ids are written to logs."""
    if given is not None and _VALID_ID.fullmatch(given) and not contains_key(given):
        return given
    return new_request_id()


async def _finish_refusal(response: Response | None) -> Response | None:
    return None if response is None else await _finish(response)


async def _finish(response: Response) -> Response:
    response.headers["X-Request-Id"] = g.get("request_id") or _valid_id(None)
    # The access log reads this if the client has left, since Hypercorn then has no response.
    scope: Any = (request if has_request_context() else websocket).scope
    scope["streamapi.response"] = (response.status_code, response.headers)
    response.headers["X-Content-Type-Options"] = "nosniff"
    if has_request_context() and _two_lengths():
        response.headers["Connection"] = "close"
    return response
