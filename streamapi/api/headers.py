"""What every response carries, and which pages may ask.

CORS is quart-cors's, with the origins of the settings. It refuses sockets without an `Origin`,
which every program but a browser opens, so their origin is checked here by hand.
"""

import re
import secrets
from urllib.parse import urlsplit

from quart import Quart, Response, g, request, websocket
from quart_cors import cors, cors_exempt  # noqa: F401  (sockets are exempted where they are)
from werkzeug.datastructures import Headers

from streamapi.errors import OriginNotAllowed
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
        g.request_id = _sane(request.headers.get("X-Request-Id"))
        if request.path.startswith("/v1/") and request.method != "OPTIONS":
            _check_origin(settings, request.headers)

    app.before_request(name_request)
    app.before_websocket(_name_socket)
    app.after_request(_finish)
    if settings.cors_origins:
        cors(
            app,
            allow_origin=settings.cors_origins,
            allow_headers=ACCEPTED,
            allow_methods=("GET", "POST", "DELETE"),
            expose_headers=EXPOSED,
            max_age=600,
        )


def check_socket_origin(settings: Settings) -> None:
    """Raise `OriginNotAllowed` for a socket that a page of another site opens. Browsers do not
    hold sockets to CORS, so the server must (RFC 6455, section 10.2)."""
    _check_origin(settings, websocket.headers)


def _check_origin(settings: Settings, headers: Headers) -> None:
    """Only pages of our own and of the allowed origins may ask. An image tag of another site
    sends no Origin, but says `Sec-Fetch-Site` (W3C Fetch Metadata); programs send neither."""
    origin, site = headers.get("Origin"), headers.get("Sec-Fetch-Site")
    if site in ("same-origin", "none") or (origin is None and site is None):
        return
    if origin is not None and ("*" in settings.cors_origins or origin in settings.cors_origins):
        return
    if origin is None or site is not None or urlsplit(origin).netloc != headers.get("Host"):
        raise OriginNotAllowed("A page of this origin may not ask here.")


async def _name_socket() -> None:
    g.request_id = _sane(websocket.headers.get("X-Request-Id"))


def _sane(given: str | None) -> str:
    """The caller's id when it is sane: it goes into logs and headers."""
    if given is not None and _SANE_ID.fullmatch(given):
        return given
    return f"req_{secrets.token_urlsafe(12)}"


async def _finish(response: Response) -> Response:
    response.headers["X-Request-Id"] = g.get("request_id") or _sane(None)
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
