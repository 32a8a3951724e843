"""The small parts that the routes' descriptions share: headers, parameters, kinds of responses."""

from streamapi.api.ask import IDEMPOTENCY_KEY
from streamapi.api.documents.schemas import Schema
from streamapi.generation.log import LOST_AT

GENERATIONS, CATALOGUE, SOCKETS = "Generations", "Catalogue", "WebSocket"
KEYS, SERVICE = "Keys", "Service"
TEXT: Schema = {"type": "string"}
NUMBER = f"(0|[1-9][0-9]{{0,8}}|{LOST_AT})"
EVENT_ID = rf"gen_[A-Za-z0-9_-]{{1,64}}\.{NUMBER}"
"""An event's number, and its whole id, as a cursor may have them."""

COUNTED = ("RateLimit", "RateLimit-Policy")

SOCKET = (
    "A WebSocket of JSON messages, many generations at once; its messages are described in "
    "[/asyncapi.json](/asyncapi.json). The subprotocol `streamapi.v1` is optional."
)
PARAMETERS: dict[str, Schema] = {
    "Idempotency-Key": {
        "in": "header",
        "description": "The same key and body is the same generation, and is never paid twice.",
        "schema": {"type": "string", "pattern": f"^{IDEMPOTENCY_KEY.pattern}$"},
    },
    "Prefer": {
        "in": "header",
        "description": "`respond-async` (RFC 7240): answer 202 at once.",
        "schema": {"type": "string", "examples": ["respond-async"]},
    },
    "Last-Event-ID": {
        "in": "header",
        "description": "Resume behind this event; it beats `after`. Starts nothing.",
        "schema": {
            "type": "string",
            "pattern": f"^({EVENT_ID})?$",
            "examples": ["gen_3fkQ1b8vJ6mYw0ZtL2xE9A.12"],
        },
    },
    "X-Request-Id": {
        "in": "header",
        "description": "Yours, if you have one; it comes back, and stands in the server's log. One "
        "that is not 1 to 128 characters of `[A-Za-z0-9._~-]` is replaced by the server's own.",
        "schema": {"type": "string", "examples": ["checkout-7f3a"]},
    },
    "before": {
        "in": "query",
        "description": "The last key of the page before.",
        "schema": {"type": "string", "pattern": "^key_"},
    },
    "after": {
        "in": "query",
        "description": "Resume behind this event, as `Last-Event-ID` does: an event's id. Starts "
        "nothing.",
        "schema": {"type": "string", "pattern": f"^{EVENT_ID}$"},
    },
    "after_number": {
        "in": "query",
        "description": "Resume behind this event, as `Last-Event-ID` does: an event's id, or its "
        "number. Starts nothing.",
        "schema": {"type": "string", "pattern": f"^({EVENT_ID}|{NUMBER})$"},
    },
    "ticket": {
        "in": "query",
        "description": "Stands for a key, where a page cannot send headers: see `/v1/tickets`.",
        "schema": {"type": "string", "pattern": "^tkt_"},
    },
    "idempotency_key": {
        "in": "query",
        "description": "As `Idempotency-Key`: who loses the connection before the first event "
        "joins its generation instead of starting another.",
        "schema": {"type": "string", "pattern": f"^{IDEMPOTENCY_KEY.pattern}$"},
    },
}

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


def parameters() -> dict[str, Schema]:
    """`components/parameters`."""
    found = {name: {"name": name, **rest} for name, rest in PARAMETERS.items()}
    found["after_number"]["name"] = "after"
    return found


def parameter(name: str) -> Schema:
    """The place of a shared parameter."""
    return {"$ref": f"#/components/parameters/{name}"}


def headers(*names: str) -> dict[str, Schema]:
    """The places of shared response headers."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def json(description: str, schema: Schema, *names: str) -> Schema:
    """A JSON response with some headers."""
    content = {"application/json": {"schema": schema}}
    return {"description": description, "headers": headers(*names), "content": content}


def ended() -> Schema:
    """What stops an `EventSource`."""
    description = "The event that was named is the ending: there is no more, and no reconnecting."
    return {"description": description, "headers": headers("Generation-Id")}


def switching() -> Schema:
    """The handshake of a WebSocket."""
    return {"description": "Switching protocols: speak WebSocket (RFC 6455)."}


def as_text(schema: Schema) -> Schema | None:
    """The schema as a parameter's: text cannot say null, and a list holds no objects. None for
    what parameters cannot carry at all."""
    said = {key: value for key, value in schema.items() if (key, value) != ("default", None)}
    if "anyOf" in said:
        said.pop("type", None)  # the branches say it
        carried = [found for branch in said.pop("anyOf") if (found := as_text(branch)) is not None]
        if len(carried) < 2:
            return {**carried[0], **said} if carried else None
        return {**said, "anyOf": carried}
    if isinstance(said.get("type"), list):
        said["type"] = next(kind for kind in said["type"] if kind != "null")
    if "enum" in said:
        said["enum"] = [value for value in said["enum"] if value is not None]
    if said.get("type") == "array":
        said["items"] = as_text(said["items"])
    carries = said.get("type") not in ("object", "null") and said.get("items", {}) is not None
    return said if carries and "$ref" not in said else None
