"""What every response carries, and CORS for the pages that may ask (quart-cors)."""

import re
from typing import Any

from quart import Quart, Response, g, has_request_context, request, websocket
from quart_cors import cors, cors_exempt  # noqa: F401  (sockets are exempted where they are)

from streamapi.access.keys import contains_key
from streamapi.api import address, origins
from streamapi.api.patches.answers import new_request_id
from streamapi.api.request_head import check_query
from streamapi.errors import InvalidHeader
from streamapi.settings import Settings

_SANE_ID = re.compile(r"[A-Za-z0-9._~-]{1,128}")
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
    """Give every request an id and every response its headers."""

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
    g.request_id = _sane(connection.headers.get("X-Request-Id"))
    # In the scope, the access log finds it too.
    connection.scope["streamapi.address"] = address.find(connection, settings.trusted_hops)


def _two_lengths() -> bool:
    """Whether a proxy may see the end of this request elsewhere than we do, and take for a request
    of its own what follows here (RFC 9112, section 6.1)."""
    return "Transfer-Encoding" in request.headers and "Content-Length" in request.headers


def _sane(given: str | None) -> str:
    """The caller's id when it is sane: it goes into logs and headers, so a key is not."""
    if given is not None and _SANE_ID.fullmatch(given) and not contains_key(given):
        return given
    return new_request_id()


async def _finish_refusal(response: Response | None) -> Response | None:
    return None if response is None else await _finish(response)


async def _finish(response: Response) -> Response:
    response.headers["X-Request-Id"] = g.get("request_id") or _sane(None)
    # The access log reads this when Hypercorn has no response to show: the client left.
    scope: Any = (request if has_request_context() else websocket).scope
    scope["streamapi.response"] = (response.status_code, response.headers)
    response.headers["X-Content-Type-Options"] = "nosniff"
    if has_request_context() and _two_lengths():
        response.headers["Connection"] = "close"
    return response
