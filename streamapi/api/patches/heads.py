"""HTTP/1.1 only, and only heads that can be read in one way.

Hypercorn's HTTP/2 has no back-pressure: for a client that never reads, the server buffers without
bound, and it parses a flood of frames before the app can refuse them. So HTTP/2 is off. TLS
connections do not negotiate it (`hypercorn.toml`). Without TLS, the answer to its preface is a 505
(RFC 9110, 15.6.6), and an offer to upgrade to it is ignored (RFC 9110, 7.8).
"""

from typing import Any

import h11
from hypercorn.typing import ASGIFramework
from quart import Quart

from streamapi.api.patches.request_head import origin_form
from streamapi.api.patches.targets import Uses

FAULTS = {
    400: "This is not a valid HTTP/1.1 request.",
    408: "The head of the request did not arrive in time.",
    431: "The request line and the headers are too large.",
    501: "This server accepts no transfer coding but `chunked`.",
    505: "This server speaks HTTP/1.1 only.",
}
"""What is wrong with a head, by status. h11's own messages may quote the head."""


def checked(request: h11.Request) -> h11.Request:
    """The request, with its target as path and query. Raises `MalformedRequest`, and h11's error
    for a version other than 1.0 and 1.1: Hypercorn would take 1.2 for HTTP/2."""
    if request.http_version not in (b"1.0", b"1.1"):
        raise h11.RemoteProtocolError(FAULTS[505], error_status_hint=505)
    host = b""
    for name, value in request.headers:
        if name == b"host":
            host = value
            break
    target = origin_form(request.method, request.target, host)
    if target is request.target:
        return request
    return h11.Request(
        method=request.method,
        target=target,
        headers=request.headers,
        http_version=request.http_version,
    )


TARGETS = (Uses(Quart, ("asgi_app",), ("asgi_app",)),)


def apply(app: Quart) -> None:
    """Let the app serve clients of HTTP/1 alone."""
    app.asgi_app = only(app.asgi_app)  # type: ignore[method-assign, assignment]


def only(app: ASGIFramework) -> ASGIFramework:
    """The app for clients of HTTP/1 alone. Others get a 505, if TLS has negotiated HTTP/2 or 3."""

    async def refuse_http2(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] in ("http", "websocket") and scope["http_version"] not in ("1.0", "1.1"):
            response = (
                "websocket.http.response" if scope["type"] == "websocket" else "http.response"
            )
            headers = [(b"content-length", b"0")]
            await send({"type": f"{response}.start", "status": 505, "headers": headers})
            await send({"type": f"{response}.body", "body": b""})
        else:
            await app(scope, receive, send)

    return refuse_http2
