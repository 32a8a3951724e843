"""What the operations share, as `components` of the document: headers, parameters and the key."""

from collections.abc import Iterable

from streamapi.api.description import Header, Parameter
from streamapi.api.documents.schemas import Schema

TEXT: Schema = {"type": "string"}

KEY: Schema = {
    "type": "http",
    "scheme": "bearer",
    "description": "`Authorization: Bearer sk-streamapi-...`, on a server with keys "
    "(`STREAMAPI_AUTH=keys`). Never put a key into a URL. For a WebSocket, send the header in the "
    "handshake, or the message `auth` first.",
}

HEADERS: dict[str, Schema] = {
    "X-Request-Id": {"description": "Your id for the request, or the server's.", "schema": TEXT},
    "Retry-After": {
        "description": "Seconds to wait before another try.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "RateLimit": {
        "description": "What is left of each limit (`r`), and the seconds until it is full (`t`).",
        "schema": {
            "type": "string",
            "examples": ['"requests";r=119;t=1, "tokens";r=997991;t=1, "streams";r=199'],
        },
    },
    "RateLimit-Policy": {
        "description": "The quota of each limit (`q`), and its window in seconds (`w`).",
        "schema": {
            "type": "string",
            "examples": ['"requests";q=120;w=60, "tokens";q=1000000;w=60'],
        },
    },
    "x-should-retry": {
        "description": "Whether another try can succeed: `retryable` of the problem, as a header.",
        "schema": {"type": "string", "enum": ["true", "false"]},
    },
}
"""The headers that no route declares: the server adds them to its own."""


def parameters(found: Iterable[Parameter]) -> dict[str, Schema]:
    """`components/parameters`."""
    return {
        it.key or it.name: {
            "name": it.name,
            "in": it.place,
            "description": it.description,
            "schema": it.schema,
        }
        for it in found
    }


def parameter(found: Parameter) -> Schema:
    """A reference to a parameter."""
    return {"$ref": f"#/components/parameters/{found.key or found.name}"}


def headers(found: Iterable[Header]) -> dict[str, Schema]:
    """`components/headers`."""
    own = {it.name: {"description": it.description, "schema": it.schema} for it in found}
    return {**HEADERS, **own}


def header_refs(names: Iterable[str]) -> dict[str, Schema]:
    """References to response headers, by name."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
