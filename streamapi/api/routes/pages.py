"""The pages: the demo at `/`, and one page per error code behind `type`.

They load nothing from elsewhere, and the browser is told to hold them to that (CSP level 3).
"""

import mimetypes
import re
from functools import cache
from html import escape
from inspect import cleandoc
from pathlib import Path

from quart import Blueprint, Response, request
from quart_rate_limiter import rate_exempt

from streamapi.api.description import SERVICE, Description, Reply
from streamapi.api.who import open_to_all
from streamapi.errors import NotFound, every_error

HERE = Path(__file__).parent.parent.parent
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
@open_to_all
async def index() -> Response:
    """The demo page."""
    return Response(_file("index.html"), headers={**HEADERS, "Cache-Control": "no-cache"})


@routes.get("/static/<path:name>")
@rate_exempt
@open_to_all
async def static(name: str) -> Response:
    """The front end's files. They are few and small: from memory, they leave no file open when
    a client hangs up."""
    if name not in _names():
        raise NotFound("There is no such file.")
    response = Response(_file(name), content_type=mimetypes.guess_type(name)[0])
    response.headers["Cache-Control"] = "no-cache"
    await response.add_etag()
    return await response.make_conditional(request)


@routes.get("/errors/<code>")
@rate_exempt
@open_to_all
@Description(
    "error_page",
    SERVICE,
    {200: Reply("A page for people.", str, media_type="text/html")},
    fails=(NotFound,),
)
async def error_page(code: str) -> Response:
    """What an error code means, and what to do."""
    kind = next((kind for kind in every_error() if kind.code == code), None)
    if kind is None:
        raise NotFound("There is no such error code.")
    again = "Trying again can help." if kind.retryable else "Trying the same again will not help."
    body = (
        f"<h1>{escape(kind.title)}</h1>"
        f"<p><code>{code}</code> · HTTP status {kind.status}</p>"
        f"<p>{_coded(cleandoc(kind.__doc__ or ''))}</p><p>{again}</p>"
        '<p><a href="/docs">The API</a></p>'
    )
    return Response(_page(kind.title, body), headers=HEADERS)


def _coded(text: str) -> str:
    """The text as HTML; what stands between backticks is code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


@cache
def _names() -> frozenset[str]:
    return frozenset(str(p.relative_to(STATIC)) for p in STATIC.rglob("*") if p.is_file())


@cache
def _file(name: str) -> bytes:
    return (STATIC / name).read_bytes()


def _page(title: str, body: str) -> str:
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="stylesheet" href="/static/style.css"><link rel="icon" '
        f'href="/static/favicon.svg"><title>{escape(title)} · streamapi</title>'
        f'<main class="plain">{body}</main></html>'
    )
