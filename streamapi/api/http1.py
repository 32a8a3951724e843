"""HTTP/1.1 only.

Hypercorn's HTTP/2 has no back-pressure: a client that never reads makes the server buffer
without bound. TLS connections do not negotiate it (`hypercorn.toml`); cleartext HTTP/2 cannot be
switched off there, so it is refused here, with the status that is meant for it (RFC 9110, 15.6.6).
"""

from typing import Any

from hypercorn.typing import ASGIFramework


def only(app: ASGIFramework) -> ASGIFramework:
    """The app, for clients of HTTP/1."""

    async def refuse_http2(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] in ("http", "websocket") and scope["http_version"] not in ("1.0", "1.1"):
            headers = [(b"content-length", b"0")]
            await send({"type": "http.response.start", "status": 505, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
        else:
            await app(scope, receive, send)

    return refuse_http2
