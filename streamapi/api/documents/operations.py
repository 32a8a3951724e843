"""What each route takes and gives, by its endpoint; the doors of a task are in `doors.py`.

A route that is not here is still in the document, with its docstring and its path; a test asks
for the rest.
"""

from dataclasses import dataclass

from streamapi.access.new_key import NewKey
from streamapi.api.documents import parts, streams
from streamapi.api.documents.schemas import Schema, Schemas, ref
from streamapi.api.documents.shapes import (
    Alive,
    Answer,
    KeyList,
    MadeKey,
    MadeTicket,
    Model,
    ModelList,
    Readiness,
)
from streamapi.api.routes.tickets import TicketRequest


@dataclass(frozen=True)
class Operation:
    """One route. `situations` are those of `failures.py`; `answers` are its successes by status;
    `takes` are parameters besides those of the path. Without a summary, the docstring stands."""

    id: str
    tag: str
    situations: tuple[str, ...]
    answers: dict[str, Schema]
    takes: tuple[Schema, ...] = ()
    body: Schema | None = None
    summary: str = ""
    description: str = ""


def resources(schemas: Schemas) -> dict[str, Operation]:
    """Every route but the doors of the tasks, by endpoint."""
    models, model = parts.json("All.", ref(ModelList)), parts.json("It.", ref(Model))
    any_task = Operation(
        "websocket",
        parts.SOCKETS,
        ("handshake",),
        {"101": parts.switching()},
        (parts.parameter("ticket"),),
        summary="Any task: WebSocket",
        description=parts.SOCKET,
    )
    return {
        "sockets.any": any_task,
        **_generations(schemas),
        "models.models": Operation("list_models", parts.CATALOGUE, (), {"200": models}),
        "models.model": Operation("get_model", parts.CATALOGUE, ("found",), {"200": model}),
        **_keys(),
        "tickets.create": _ticket(),
        **_service(),
    }


def _generations(schemas: Schemas) -> dict[str, Operation]:
    tag, named = parts.GENERATIONS, ("named",)
    answer = {"200": parts.json("The generation as it stands.", ref(Answer), "Generation-Id")}
    events = streams.events("The events of the generation.", schemas.events(None), pings=True)
    follow = Operation(
        "follow_generation",
        tag,
        ("named", "resume", "counted"),
        {"200": events, "204": parts.ended()},
        tuple(map(parts.parameter, ("Last-Event-ID", "after_number", "ticket"))),
    )
    return {
        "generations.get": Operation("get_generation", tag, named, answer),
        "generations.events": follow,
        "generations.cancel": Operation("cancel_generation", tag, named, answer),
        "generations.forget": Operation(
            "forget_generation", tag, named, {"204": {"description": "Forgotten."}}
        ),
    }


def _keys() -> dict[str, Operation]:
    tag = parts.KEYS
    asked = {"content": {"application/json": {"schema": ref(NewKey)}}, "required": True}
    made = {"201": parts.json("The key, shown this once.", ref(MadeKey), "Location")}
    listed = {"200": parts.json("A page of them.", ref(KeyList))}
    revoked = {"204": {"description": "It is dead."}}
    before = (parts.parameter("before"),)
    return {
        "keys.create": Operation("create_key", tag, ("body", "found"), made, body=asked),
        "keys.list_keys": Operation("list_keys", tag, ("found", "page"), listed, before),
        "keys.revoke": Operation("revoke_key", tag, ("found",), revoked),
    }


def _ticket() -> Operation:
    asked = {"content": {"application/json": {"schema": ref(TicketRequest)}}}
    made = {"201": parts.json("The ticket, shown this once.", ref(MadeTicket))}
    return Operation("create_ticket", parts.KEYS, ("body",), made, body={**asked, "required": True})


def _service() -> dict[str, Operation]:
    tag = parts.SERVICE
    page = {"description": "A page for people.", "content": {"text/html": {"schema": parts.TEXT}}}
    ready = {
        "200": parts.json("It takes work.", ref(Readiness)),
        "503": parts.json("It is ending.", ref(Readiness)),
    }
    text = {"text/plain": {"schema": parts.TEXT}}
    counted = {"description": "Prometheus's text format.", "content": text}
    alive = {"200": parts.json("It lives.", ref(Alive))}
    return {
        "health.healthz": Operation("healthz", tag, (), alive),
        "health.readyz": Operation("readyz", tag, (), ready),
        "metrics.metrics": Operation("metrics", tag, (), {"200": counted}),
        "pages.error_page": Operation("error_page", tag, ("found",), {"200": page}),
    }
