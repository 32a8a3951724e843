"""The pages: the demo at `/`, and one page per error code behind `type`.

They load nothing from elsewhere, and the browser is told to hold them to that (CSP level 3).
"""

from html import escape
from inspect import cleandoc
from pathlib import Path

from quart import Blueprint, Response, send_from_directory
from quart_rate_limiter import rate_exempt
from quart_schema import hide

from streamapi.errors import NotFound, every_error

HERE = Path(__file__).parent.parent
STATIC = next(p for p in (HERE / "static", HERE.parent / "static") if p.is_dir())
"""The front end: inside the installed package, or beside it in a checkout."""

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Referrer-Policy": "no-referrer",
}

routes = Blueprint("pages", __name__)


@routes.get("/")
@rate_exempt
@hide
async def index() -> Response:
    """The demo page."""
    response = await send_from_directory(STATIC, "index.html")
    response.headers.update(HEADERS)
    response.headers["Cache-Control"] = "no-cache"
    return response


@routes.get("/static/<path:name>")
@rate_exempt
@hide
async def static(name: str) -> Response:
    """The front end's files."""
    return await send_from_directory(STATIC, name)


@routes.get("/errors/<code>")
@rate_exempt
async def error_page(code: str) -> Response:
    """What an error code means, and what to do."""
    kind = next((kind for kind in every_error() if kind.code == code), None)
    if kind is None:
        raise NotFound("There is no such error code.")
    again = "Trying again can help." if kind.retryable else "Trying the same again will not help."
    body = (
        f"<h1>{escape(kind.title)}</h1>"
        f"<p><code>{code}</code> · HTTP status {kind.status}</p>"
        f"<p>{escape(cleandoc(kind.__doc__ or ''))}</p><p>{again}</p>"
        '<p><a href="/docs">The API</a></p>'
    )
    return Response(_page(kind.title, body), headers=HEADERS)


def _page(title: str, body: str) -> str:
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="stylesheet" href="/static/style.css"><link rel="icon" '
        f'href="/static/favicon.svg"><title>{escape(title)} · streamapi</title>'
        f'<main class="plain">{body}</main></html>'
    )
