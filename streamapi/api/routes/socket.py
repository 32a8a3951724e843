"""WebSockets: `/v1/ws` for any task, and one address per task."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from quart import Blueprint, websocket
from quart_cors import cors_exempt

from streamapi.api.authentication import takes_tickets
from streamapi.api.context import services
from streamapi.api.description import SOCKETS, Description, Reply, tag
from streamapi.api.parameters import TICKET
from streamapi.api.patches.websocket import bound_first_message
from streamapi.api.problems import request_id
from streamapi.api.socket.authentication import AUTH_BYTES, is_authenticated
from streamapi.api.socket.conversation import Conversation
from streamapi.api.socket.messages import UNAUTHENTICATED
from streamapi.tasks.task import Task

SUBPROTOCOL = "streamapi.v1"

SOCKET = (
    "JSON messages for many generations at once. [/asyncapi.json](/asyncapi.json) describes the "
    "messages. The subprotocol `streamapi.v1` is optional."
)


def routes(tasks: Mapping[str, Task[Any]]) -> Blueprint:
    """The WebSocket routes for these tasks."""
    sockets = Blueprint("sockets", __name__, url_prefix="/v1")
    sockets.add_websocket("/ws", "any", _view(None))
    for task in tasks.values():
        sockets.add_websocket(f"/{task.name}/ws", task.name, _view(task))
    return sockets


def _view(task: Task[Any] | None) -> Callable[[], Awaitable[None]]:
    @cors_exempt
    @takes_tickets
    @_description(task)
    async def converse() -> None:
        if not is_authenticated():
            bound_first_message(websocket.scope, AUTH_BYTES, UNAUTHENTICATED)
        offered = websocket.requested_subprotocols
        await websocket.accept(
            headers={"X-Request-Id": request_id()},
            subprotocol=SUBPROTOCOL if SUBPROTOCOL in offered else None,
        )
        await Conversation(services(), task).run()

    return converse


def _description(task: Task[Any] | None) -> Description:
    text = (
        SOCKET
        if task is None
        else f"{task.description} {SOCKET} The message `start` needs no `task` here."
    )
    return Description(
        "websocket" if task is None else f"{task.name}_websocket",
        SOCKETS if task is None else tag(task),
        {101: Reply("The connection is a WebSocket now (RFC 6455).")},
        takes=(TICKET,),
        summary=f"{'Any task' if task is None else task.title}: WebSocket",
        description=text,
    )
