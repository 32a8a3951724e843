"""The doors of a task: described once, and told of every task.

What differs between tasks is their models, their words and their example; a task that nobody has
thought of yet has its entries by being there.
"""

from typing import Any

from streamapi.api.documents import parts, streams
from streamapi.api.documents.operations import Operation
from streamapi.api.documents.schemas import Schema, Schemas, ref
from streamapi.api.documents.shapes import Accepted
from streamapi.api.routes.tasks import NOT_BY_GET
from streamapi.tasks.task import Task


def doors(task: Task[Any], schemas: Schemas) -> dict[str, Operation]:
    """The doors of one task, by endpoint."""
    posted, got = (
        {
            "200": streams.events(
                "The answer as it is written.", schemas.events(task), pings=pings
            ),
            "204": parts.ended(),
        }
        for pings in (False, True)
    )
    return {
        f"{task.name}.respond": _answer(task, schemas),
        f"{task.name}.stream": _stream(task, schemas, posted),
        f"{task.name}.event_source": _event_source(task, schemas, got),
        f"sockets.{task.name}": Operation(
            f"{task.name}_websocket",
            task.title,
            ("handshake",),
            {"101": parts.switching()},
            (parts.parameter("ticket"),),
            summary=f"{task.title}: WebSocket",
            description=f"{task.description} {parts.SOCKET} `start` needs no `task` here.",
        ),
    }


def _answer(task: Task[Any], schemas: Schemas) -> Operation:
    headers = ("Location", "Preference-Applied", "Generation-Id")
    return Operation(
        f"{task.name}_answer",
        task.title,
        ("body", "start", "wait", "whole"),
        {
            "200": parts.json("The whole answer.", schemas.answer(task), "Generation-Id"),
            "202": parts.json("It has begun; follow it at `events`.", ref(Accepted), *headers),
        },
        (parts.parameter("Idempotency-Key"), parts.parameter("Prefer")),
        _body(task, schemas),
        f"{task.title}: one JSON answer",
        f"{task.description} Waits for the whole answer; with `Prefer: respond-async`, answers "
        "202 at once and says where to follow it.",
    )


def _stream(task: Task[Any], schemas: Schemas, answers: dict[str, Schema]) -> Operation:
    return Operation(
        f"{task.name}_stream",
        task.title,
        ("body", "start", "wait", "named", "resume"),
        answers,
        tuple(map(parts.parameter, ("Idempotency-Key", "Last-Event-ID", "after"))),
        _body(task, schemas),
        f"{task.title}: a stream, by POST",
        f"{task.description} Server-Sent Events for a client that can POST. The status line waits "
        "a moment for the first content, so that an early failure has its true status; after it, "
        "a failure is a `failed` event.",
    )


def _event_source(task: Task[Any], schemas: Schemas, answers: dict[str, Schema]) -> Operation:
    resume = tuple(map(parts.parameter, ("idempotency_key", "ticket", "after", "Last-Event-ID")))
    return Operation(
        f"{task.name}_event_source",
        task.title,
        ("query", "start", "named", "resume"),
        answers,
        (*_query(task, schemas), *resume),
        None,
        f"{task.title}: a stream for EventSource",
        f"{task.description} Server-Sent Events for a browser's `EventSource`: the request's "
        "fields are parameters, up to 8,000 characters together. The stream opens at once with "
        "`start`, so that there is an id to resume from; a failure is a `failed` event.",
    )


def _body(task: Task[Any], schemas: Schemas) -> Schema:
    # Named, because Scalar's own client begins with a named example, not with a lone one.
    examples = {task.name: {"summary": f"{task.title}: an example", "value": task.example}}
    content = {"schema": schemas.request(task), "examples": examples}
    return {"required": True, "content": {"application/json": content}}


def _query(task: Task[Any], schemas: Schemas) -> list[Schema]:
    """The fields of a task's request that parameters can carry."""
    found = []
    asked = schemas.request_schema(task)
    for name, schema in asked["properties"].items():
        said = None if name in NOT_BY_GET else parts.as_text(schema)
        if said is not None:
            words = {"description": said.pop("description")} if "description" in said else {}
            shown = {"example": task.example[name]} if name in task.example else {}
            required = name in asked.get("required", [])
            found.append(
                {
                    "name": name,
                    "in": "query",
                    "required": required,
                    **words,
                    **shown,
                    "schema": said,
                }
            )
    return found
