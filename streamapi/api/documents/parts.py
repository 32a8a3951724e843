"""The small parts that the routes' descriptions share: headers, parameters, kinds of responses.

OpenAPI 3.1 has no word for a stream: its media type gets a description, an example made by the
code that writes streams, and `x-events`, the schema of each event's data.
"""

from streamapi.api import sse
from streamapi.api.ask import IDEMPOTENCY_KEY
from streamapi.api.documents.schemas import Schema
from streamapi.generation.event import Delta, Done, Event, Served, Start, Timings, Usage, encode
from streamapi.generation.log import Entry, Generation

GENERATIONS, CATALOGUE, SOCKETS = "Generations", "Catalogue", "WebSocket"
KEYS, SERVICE = "Keys", "Service"
TEXT: Schema = {"type": "string"}
COUNTED = ("RateLimit", "RateLimit-Policy")

SOCKET = (
    "A WebSocket of JSON messages, many generations at once; its messages are described in "
    "[/asyncapi.json](/asyncapi.json). The subprotocol `streamapi.v1` is optional."
)
STREAM = (
    "Each event has its type (`event:`), one line of JSON (`data:`, the schemas are in "
    "`x-events`) and an id (`id:`, `{generation}.{n}`). `start` comes first; after any `wait` "
    "comes content (`delta`, `label`); exactly one of `done`, `failed` and `cancelled` comes "
    "last. A stream without its ending is not over: resume it with the last id, as "
    "`Last-Event-ID` or `?after=`. Silence is broken by comments, on GET by `event: ping`."
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
        "schema": {"type": "string", "examples": ["gen_3fkQ1b8vJ6mYw0ZtL2xE9A.12"]},
    },
    "X-Request-Id": {
        "in": "header",
        "description": "Yours, if you have one; it comes back, and stands in the server's log.",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._~-]{1,128}$"},
    },
    "before": {
        "in": "query",
        "description": "The last key of the page before.",
        "schema": {"type": "string", "pattern": "^key_"},
    },
    "after": {
        "in": "query",
        "description": "Resume behind this event, as `Last-Event-ID` does: an event's id; on a "
        "generation's own address its number will do. Starts nothing.",
        "schema": TEXT,
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
    return {name: {"name": name, **rest} for name, rest in PARAMETERS.items()}


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


def events(description: str, kinds: dict[str, Schema]) -> Schema:
    """An event stream."""
    media = {
        "schema": {"type": "string", "description": STREAM},
        "examples": {"stream": {"$ref": "#/components/examples/stream"}},
        "x-events": kinds,
    }
    return {
        "description": f"{description} {STREAM}",
        "headers": headers("Generation-Id"),
        "content": {"text/event-stream": media},
    }


def ended() -> Schema:
    """What stops an `EventSource`."""
    description = "The event that was named is the ending: there is no more, and no reconnecting."
    return {"description": description, "headers": headers("Generation-Id")}


def switching() -> Schema:
    """The handshake of a WebSocket."""
    return {"description": "Switching protocols: speak WebSocket (RFC 6455)."}


def stream_example() -> Schema:
    """A stream of the text task, as the server writes it."""
    generation = Generation(
        id="gen_3fkQ1b8vJ6mYw0ZtL2xE9A",
        log="",
        owner="",
        task="text",
        model="gemini-3.8-flash",
        created=1_795_428_000.0,
    )
    written: list[Event] = [
        Start("text", generation.created),
        Delta("Sunlight bends ", "text"),
        Delta("in every drop.", "text"),
        Done(
            {"text": "Sunlight bends in every drop."},
            Usage(9, 7, 0),
            "stop",
            Served("gemini-3.8-flash"),
            Timings(0, 310, 420),
            generation.created,
        ),
    ]
    entries = [
        Entry(n, event, encode(event) if isinstance(event, Delta) else b"")
        for n, event in enumerate(written, 1)
    ]
    text = sse.RETRY + sse.frames(generation, entries, "")
    return {"summary": "A short answer of the text task", "value": text.decode()}


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
