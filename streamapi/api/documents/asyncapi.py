"""The AsyncAPI document: the messages of the WebSockets, which OpenAPI cannot describe.

A client's messages are described by the structs that decode them. A message of the server is the
data of an event, as in the other transports, with `type`, `generation` and `n` before it.
"""

from typing import Any, get_args

from streamapi.api.documents.openapi import info
from streamapi.api.documents.schemas import Schema, Schemas, ref, struct_components
from streamapi.api.socket.messages import Messages, StartMessage
from streamapi.errors import Problem
from streamapi.generation.event import EVENTS, Start
from streamapi.tasks.task import Task

CLOSE_CODES = {
    "1000": "The client closed the socket.",
    "1001": "This process is shutting down: open another WebSocket and resume.",
    "1009": "A message was too large.",
    "1008": "Too many small frames came in a short time.",
    "1013": "The server cannot check the key at the moment: try again.",
    "4401": "The first message was not `auth` with a valid key, or the key has been revoked or has "
    "expired.",
    "4408": "No generation ran and no message came for a while. Send `ping` to keep the WebSocket "
    "open.",
    "4429": "Too many wrong keys came from this address: wait a minute, then try again.",
}
REF: Schema = {"description": "The client's own name for its message."}
WHOLE = {"type": "integer", "minimum": 1}


def document(schemas: Schemas) -> dict[str, Any]:
    """The document for the tasks of these schemas."""
    client = {kind.__struct_config__.tag: kind for kind in get_args(Messages)}
    messages = {f"client.{name}": _message(str(name), ref(kind)) for name, kind in client.items()}
    messages |= _server_messages(schemas, None)
    channels = {"any": _channel("/v1/ws", "Any task", messages)}
    described = {**schemas.components, **struct_components(client.values())}
    every = dict(messages)
    for task in schemas.tasks.values():
        own = {f"{task.name}.client.start": _start(task, schemas)}
        own |= _server_messages(schemas, task)
        every |= own
        channels[task.name] = _channel(
            f"/v1/{task.name}/ws", task.title, _instead(messages, task, own)
        )
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "streamapi: WebSocket",
            "version": info().version,
            "description": "Text frames of JSON, for many generations on one WebSocket. The answer "
            "to an invalid message is `error`, and the WebSocket stays open. /openapi.json "
            "describes the HTTP transports.",
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": _operations(channels),
        "components": {"messages": every, "schemas": described},
    }


def _server_messages(schemas: Schemas, task: Task[Any] | None) -> dict[str, Schema]:
    """The server's messages; for a task, only those that differ from task to task."""
    if task is not None:
        events = schemas.events(schemas.answer_type(task))
        return {f"{task.name}.server.done": _message("done", _frame("done", events["done"]))}
    events = schemas.events()
    messages = {
        f"server.{kind.type}": _message(
            kind.type, _frame(kind.type, events[kind.type], begins=kind is Start)
        )
        for kind in EVENTS
    }
    messages["server.error"] = _message("error", _reply("error", {"problem": ref(Problem)}))
    messages["server.pong"] = _message("pong", _reply("pong", {}))
    return messages


def _start(task: Task[Any], schemas: Schemas) -> Schema:
    body = {"type": "object", "properties": {"request": schemas.model(task.request)}}
    return {
        **_message("start", {"allOf": [ref(StartMessage), body]}),
        "examples": [{"payload": {"type": "start", "ref": 1, "request": task.example}}],
    }


def _instead(
    messages: dict[str, Schema], task: Task[Any], own: dict[str, Schema]
) -> dict[str, Schema]:
    """The messages of a task's channel: its own replace the general ones."""
    return {
        (f"{task.name}.{name}" if f"{task.name}.{name}" in own else name): message
        for name, message in messages.items()
    }


def _message(name: str, payload: Schema) -> Schema:
    return {"name": name, "payload": payload}


def _frame(kind: str, data: Schema, *, begins: bool = False) -> Schema:
    """An event as a message."""
    properties: dict[str, Schema] = {
        "type": {"const": kind},
        "generation": {"type": "string"},
        "n": WHOLE,
    }
    if begins:
        properties |= {"ref": REF, "cache": {"type": "string"}}
    head = {"type": "object", "properties": properties, "required": ["type", "generation", "n"]}
    return {"allOf": [head, data]}


def _reply(kind: str, properties: dict[str, Schema]) -> Schema:
    return {
        "type": "object",
        "properties": {"type": {"const": kind}, "ref": REF, **properties},
        "required": ["type", "ref", *properties],
    }


def _channel(address: str, title: str, messages: dict[str, Schema]) -> Schema:
    places = {name: {"$ref": f"#/components/messages/{name}"} for name in messages}
    return {
        "address": address,
        "title": title,
        "messages": places,
        "bindings": {"ws": {"method": "GET"}},
        "x-close-codes": CLOSE_CODES,
    }


def _operations(channels: dict[str, Schema]) -> dict[str, Schema]:
    """The operations of each channel: `receive` for client messages, `send` for the server's."""
    found: dict[str, Schema] = {}
    for name, channel in channels.items():
        for action, side in (("receive", "client."), ("send", "server.")):
            sent = [
                {"$ref": f"#/channels/{name}/messages/{message}"}
                for message in channel["messages"]
                if side in message
            ]
            found[f"{name}_{action}"] = {
                "action": action,
                "channel": {"$ref": f"#/channels/{name}"},
                "messages": sent,
            }
    return found
