"""What the operations share, as `components` of the document: headers, parameters and the key."""

from collections.abc import Iterable

from streamapi.api.description import Parameter
from streamapi.api.documents.schemas import Schema

TEXT: Schema = {"type": "string"}

KEY: Schema = {
    "type": "http",
    "scheme": "bearer",
    "description": "`Authorization: Bearer sk-streamapi-...`, where the server asks for keys "
    "(`STREAMAPI_AUTH=keys`); never in an address. A WebSocket takes it in its handshake, or as "
    "its first message: `auth`.",
}

HEADERS: dict[str, Schema] = {
    "X-Request-Id": {"description": "The caller's id for the request, or ours.", "schema": TEXT},
    "Generation-Id": {"description": "The generation that answers.", "schema": TEXT},
    "Location": {"description": "Where the generation is.", "schema": TEXT},
    "Preference-Applied": {"description": "The preference that was kept.", "schema": TEXT},
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}},
    "RateLimit": {
        "description": "What is left of each limit (`r`), and the seconds until it is whole (`t`).",
        "schema": {
            "type": "string",
            "examples": ['"requests";r=119;t=1, "tokens";r=997991;t=1, "streams";r=199'],
        },
    },
    "RateLimit-Policy": {
        "description": "How much (`q`) in how many seconds (`w`), of each limit.",
        "schema": {
            "type": "string",
            "examples": ['"requests";q=120;w=60, "tokens";q=1000000;w=60'],
        },
    },
    "x-should-retry": {
        "description": "Whether trying again can help: `retryable`, for clients that read headers.",
        "schema": {"type": "string", "enum": ["true", "false"]},
    },
}


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


def headers(names: Iterable[str]) -> dict[str, Schema]:
    """References to response headers, by name."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
