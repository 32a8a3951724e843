"""The playground at `/`, the JavaScript client, and one page for each error code.

Pages load nothing from other origins. Their Content-Security-Policy (CSP level 3) makes the
browser enforce that.
"""

import mimetypes
import re
from functools import cache
from html import escape
from inspect import cleandoc

from quart import Blueprint, Response

from streamapi import package_files
from streamapi.api.authentication import PUBLIC, open_to_all
from streamapi.api.description import SERVICE, Description, Reply
from streamapi.api.limits import CHEAP, unlimited
from streamapi.api.responses import file_response
from streamapi.errors import NotFound, every_error

STATIC = package_files.find("static")
"""The front end. `client/` is the public JavaScript client, `page/` the playground."""

MOVED = {
    "streamapi.js": "client/streamapi.js",
    "doors.js": "client/transports.js",
    "inbox.js": "client/queue.js",
    "problem.js": "client/errors.js",
    "sse.js": "client/sse.js",
    "index.html": "page/index.html",
    "style.css": "page/style.css",
    "favicon.svg": "page/favicon.svg",
}
"""Former addresses under `/static/` that programs and bookmarks may still use. A browser resolves
the imports of a redirected module against the new address."""

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
@unlimited(CHEAP)
@open_to_all(PUBLIC)
async def index() -> Response:
    """The playground."""
    return Response(_file("page/index.html"), headers={**HEADERS, "Cache-Control": "no-cache"})


@routes.get("/static/<path:name>")
@unlimited(CHEAP)
@open_to_all(PUBLIC)
async def static(name: str) -> Response:
    """A file of the front end; 308 for a former address. Files are few and small, so they are
    served from memory: no file stays open when a client disconnects."""
    if name in MOVED:
        return Response("", 308, {"Location": f"/static/{MOVED[name]}"})
    if name not in _names():
        raise NotFound("This file does not exist.")
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return await file_response(_file(name), kind)


@routes.get("/errors/<code>")
@unlimited(CHEAP)
@open_to_all(PUBLIC)
@Description(
    "error_page",
    SERVICE,
    {200: Reply("A page about the error.", str, media_type="text/html")},
    fails=(NotFound,),
)
async def error_page(code: str) -> Response:
    """Explain an error code: what it means and what to do."""
    kind = next((kind for kind in every_error() if kind.code == code), None)
    if kind is None:
        raise NotFound("This error code does not exist.")
    retryable = "retryable" if kind.retryable else "not retryable"
    body = (
        f"<h1>{escape(kind.title)}</h1>"
        f"<p><code>{code}</code> · HTTP status {kind.status} · {retryable}</p>"
        f"<p>{_with_code(cleandoc(kind.__doc__ or ''))}</p>"
        '<p><a href="/manual/guide/errors">How to handle errors</a> · '
        '<a href="/docs">API documentation</a></p>'
    )
    return Response(_page(kind.title, body), headers=HEADERS)


def _with_code(text: str) -> str:
    """The text as HTML, with `code` elements for what stands between backticks."""
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
        '<link rel="stylesheet" href="/static/page/style.css"><link rel="icon" '
        f'href="/static/page/favicon.svg"><title>{escape(title)} · streamapi</title>'
        f'<main class="plain">{body}</main></html>'
    )
