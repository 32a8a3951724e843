"""Tickets for the addresses of `EventSource` and WebSocket: see `access/tickets.py`."""

from typing import Annotated

from msgspec import Meta, Struct
from pydantic import BaseModel, ConfigDict, Field
from quart import Blueprint, Response, current_app, g, request
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect

from streamapi.access.keys import digest
from streamapi.access.tickets import TTL, Ticket, make
from streamapi.api.authentication import any_scope
from streamapi.api.body import read_object
from streamapi.api.context import caller, services
from streamapi.api.description import KEYS, Description, Reply
from streamapi.api.responses import NO_STORE, json_response
from streamapi.errors import FieldError, InvalidRequest
from streamapi.validation import validate

routes = Blueprint("tickets", __name__, url_prefix="/v1/tickets")


class TicketRequest(BaseModel):
    """What the ticket is for."""

    model_config = ConfigDict(extra="forbid")

    path: str = Field(
        description="The path that you will open with the ticket: a stream by GET, or a WebSocket.",
        max_length=500,
        pattern="^/[^/]",  # the router forgives a slash too many, or too few
        examples=["/v1/text/stream"],
    )


class MadeTicket(Struct, kw_only=True):
    """A ticket. Use it within `expires_in` seconds, as the parameter `ticket` of its path. No other
    response shows it again."""

    ticket: Annotated[str, Meta(pattern="^tkt_")]
    path: str
    expires_in: float


@routes.post("")
@Description(
    "create_ticket",
    KEYS,
    {201: Reply("The ticket. No other response shows it again.", MadeTicket)},
    body=TicketRequest,
)
@any_scope("the ticket checks the scope of the task that its path names")
async def create() -> Response:
    """Get a ticket for an `EventSource` or a WebSocket.

    A page cannot send a key there, so it sends a ticket in the URL (`?ticket=`). A ticket is for
    one path and one generation. If the page uses it again, it joins the generation that the ticket
    has started or followed."""
    wanted = validate(TicketRequest, await read_object())
    task = _task_of(wanted.path)
    if task in services().tasks:
        caller().check(task)
    shown = make()
    ticket = Ticket(g.get("key_digest", ""), wanted.path, request.headers.get("Origin"))
    await services().tickets.put(digest(shown), ticket, TTL)
    made = MadeTicket(ticket=shown, path=wanted.path, expires_in=TTL)
    return json_response(made, 201, NO_STORE)


def _task_of(path: str) -> str:
    """The task whose stream or WebSocket has this path; empty for a path of any task. Raises
    `InvalidRequest` for a path that does not accept tickets."""
    for websocket in (False, True):
        adapter = current_app.url_map.bind("localhost")
        try:
            endpoint, _ = adapter.match(path, method="GET", websocket=websocket)
        except (HTTPException, RequestRedirect):
            continue
        if getattr(current_app.view_functions[endpoint], "takes_tickets", False):
            blueprint, _, name = str(endpoint).partition(".")
            return name if blueprint == "sockets" else blueprint
    error = FieldError("must be the path of a stream by GET, or of a WebSocket", "/path")
    raise InvalidRequest.of(error)
