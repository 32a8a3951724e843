"""What each route takes and gives, by its endpoint.

The doors of a task are described once and told of every task. A route that is not here is still
in the document, with its docstring and its path; a test asks for the rest.
"""

from dataclasses import dataclass
from typing import Any

from streamapi.api.documents import parts
from streamapi.api.documents.schemas import Schema, Schemas, ref
from streamapi.api.documents.shapes import Accepted, Alive, Answer, Model, ModelList, Readiness
from streamapi.api.tasks import NOT_BY_GET
from streamapi.tasks.task import Task


@dataclass(frozen=True)
class Operation:
    """One route. `situations` are those of `failures.py`; `takes` and `answers` are made parts
    of the document."""

    id: str
    tag: str
    situations: tuple[str, ...]
    answers: dict[str, Schema]
    takes: tuple[Schema, ...] = ()
    body: Schema | None = None
    summary: str = ""
    description: str = ""


def doors(task: Task[Any], schemas: Schemas) -> dict[str, Operation]:
    """The doors of one task, by endpoint."""
    name, title = task.name, task.title
    body = _body(task, schemas)
    events = parts.events("The answer as it is written.", schemas.events(task))
    key, after = parts.parameter("Idempotency-Key"), parts.parameter("after")
    last = parts.parameter("Last-Event-ID")
    return {
        f"{name}.respond": Operation(
            f"{name}_answer",
            title,
            ("body", "start", "wait", "whole"),
            {
                "200": parts.json("The whole answer.", schemas.answer(task), "Generation-Id"),
                "202": _accepted(),
            },
            (key, parts.parameter("Prefer")),
            body,
            f"{title}: one JSON answer",
            f"{task.description} Waits for the whole answer; with `Prefer: respond-async`, "
            "answers 202 at once and says where to follow it.",
        ),
        f"{name}.stream": Operation(
            f"{name}_stream",
            title,
            ("body", "start", "wait", "named", "resume"),
            {"200": events, "204": parts.ended()},
            (key, last, after),
            body,
            f"{title}: a stream, by POST",
            f"{task.description} Server-Sent Events for a client that can POST. {parts.EARLY}",
        ),
        f"{name}.event_source": Operation(
            f"{name}_event_source",
            title,
            ("query", "start", "named", "resume"),
            {"200": events, "204": parts.ended()},
            (*_query(task, schemas), parts.parameter("idempotency_key"), after, last),
            None,
            f"{title}: a stream for EventSource",
            f"{task.description} Server-Sent Events for a browser's `EventSource`: the request's "
            "fields are parameters, up to 8,000 characters together. The stream opens at once "
            "with `start`, so that there is an id to resume from; a failure is a `failed` event.",
        ),
        f"sockets.{name}": Operation(
            f"{name}_websocket",
            title,
            ("handshake",),
            {"101": parts.switching()},
            (),
            None,
            f"{title}: WebSocket",
            f"{task.description} {parts.SOCKET} `start` needs no `task` here.",
        ),
    }


def resources(schemas: Schemas) -> dict[str, Operation]:
    """Every other route, by endpoint."""
    answer = parts.json("The generation as it stands.", ref(Answer), "Generation-Id")
    events = parts.events("The events of the generation.", schemas.events(None))
    gone = {"description": "Forgotten."}
    resume = (parts.parameter("Last-Event-ID"), parts.parameter("after"))
    page = {"description": "A page for people.", "content": {"text/html": {"schema": parts.TEXT}}}
    busy = parts.json("The process is ending.", ref(Readiness))
    alive, ready = parts.json("It lives.", ref(Alive)), parts.json("Ready.", ref(Readiness))
    return {
        "sockets.any": Operation(
            "websocket",
            parts.SOCKETS,
            ("handshake",),
            {"101": parts.switching()},
            summary="Any task: WebSocket",
            description=parts.SOCKET,
        ),
        "generations.get": Operation(
            "get_generation", parts.GENERATIONS, ("named",), {"200": answer}
        ),
        "generations.events": Operation(
            "follow_generation",
            parts.GENERATIONS,
            ("named", "resume"),
            {"200": events, "204": parts.ended()},
            resume,
        ),
        "generations.cancel": Operation(
            "cancel_generation", parts.GENERATIONS, ("named",), {"200": answer}
        ),
        "generations.forget": Operation(
            "forget_generation", parts.GENERATIONS, ("named",), {"204": gone}
        ),
        "models.models": Operation(
            "list_models", parts.MODELS, (), {"200": parts.json("All.", ref(ModelList))}
        ),
        "models.model": Operation(
            "get_model", parts.MODELS, ("found",), {"200": parts.json("It.", ref(Model))}
        ),
        "health.healthz": Operation("healthz", parts.SERVICE, (), {"200": alive}),
        "health.readyz": Operation("readyz", parts.SERVICE, (), {"200": ready, "503": busy}),
        "pages.error_page": Operation("error_page", parts.SERVICE, ("found",), {"200": page}),
    }


def _body(task: Task[Any], schemas: Schemas) -> Schema:
    examples = {task.name: {"summary": f"{task.title}: an example", "value": task.example}}
    content = {"schema": schemas.request(task), "examples": examples}
    return {"required": True, "content": {"application/json": content}}


def _accepted() -> Schema:
    """The answer comes later."""
    headers = ("Location", "Preference-Applied", "Generation-Id")
    return parts.json("It has begun; follow it at `events`.", ref(Accepted), *headers)


def _query(task: Task[Any], schemas: Schemas) -> list[Schema]:
    """The fields of a task's request that parameters can carry."""
    found = []
    name = schemas.request(task)["$ref"].rpartition("/")[2]
    required = schemas.components[name].get("required", [])
    for field, schema in schemas.fields(task).items():
        said = None if field in NOT_BY_GET else parts.as_text(schema)
        if said is not None:
            description = {key: said.pop(key) for key in ("description",) if key in said}
            found.append(
                {
                    "name": field,
                    "in": "query",
                    "required": field in required,
                    **description,
                    "schema": said,
                }
            )
    return found
