"""Event streams, in OpenAPI.

OpenAPI 3.2 describes a stream by `itemSchema` (section 4.14.3): the schema of one event, as a
parser of Server-Sent Events returns it. OpenAPI 3.1 cannot describe a stream: there the body is
text, and `x-events` has the schema of each event's data.
"""

from typing import Any

from streamapi.api import sse
from streamapi.api.documents.schemas import Schema
from streamapi.api.parameters import EVENT_ID
from streamapi.generation.event import Delta, Done, Event, Served, Start, Timings, Usage, encode
from streamapi.generation.generation import Generation
from streamapi.generation.log import Entry

MEDIA_TYPE = "text/event-stream"
STREAM = (
    "Each event has a type (`event:`), one line of JSON (`data:`) and an id (`id:`, "
    "`{generation}.{n}`); the type decides the schema of the JSON. The first event is `start`. "
    "Some `wait` events may come next, then the content (`delta`, `label`). The last event is "
    "`done`, `failed` or `cancelled`. A stream that stops without one of these is not over: "
    "resume it with the last id, as `Last-Event-ID` or `?after=`. While nothing happens, the "
    "stream sends comments, or `event: ping` if the request is a GET."
)


def events(description: str, kinds: dict[str, Schema], *, pings: bool) -> Schema:
    """A response that is a stream of events of these types, with `ping` events among them if
    `pings`."""
    items = [_item(kind, data) for kind, data in kinds.items()]
    if pings:
        items.append(_ping())
    media = {
        "itemSchema": {"type": "object", "required": ["event", "data"], "oneOf": items},
        "examples": {"stream": {"$ref": "#/components/examples/stream"}},
    }
    return {
        "description": f"{description} {STREAM}",
        "content": {MEDIA_TYPE: media},
    }


def _item(kind: str, data: Schema) -> Schema:
    return {
        "properties": {
            "event": {"const": kind},
            "id": {"type": "string", "pattern": f"^{EVENT_ID}$"},
            "data": {
                "type": "string",
                "contentMediaType": "application/json",
                "contentSchema": data,
            },
        },
        "required": ["id"],
    }


def _ping() -> Schema:
    """A `ping` has no id; a parser gives it that of the event before."""
    return {"properties": {"event": {"const": "ping"}, "data": {"const": "{}"}}}


def as_3_1(document: dict[str, Any]) -> dict[str, Any]:
    """The document in OpenAPI 3.1, for generators of clients."""
    return {**document, "openapi": "3.1.0", "paths": _without_items(document["paths"])}


def _without_items(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_items(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "itemSchema" not in value:
        return {key: _without_items(item) for key, item in value.items()}
    items = [item["properties"] for item in value["itemSchema"]["oneOf"]]
    return {
        "schema": {"type": "string", "description": STREAM},
        "examples": value["examples"],
        "x-events": {
            item["event"]["const"]: item["data"]["contentSchema"]
            for item in items
            if "contentSchema" in item["data"]
        },
    }


def example() -> Schema:
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
