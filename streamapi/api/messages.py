"""What a client may say on a WebSocket, and what is said to it.

Each message is a text frame with one JSON object; `type` says which. What a client says is
decoded strictly: an unknown type or field is an error, which does not close the socket.
"""

from typing import Annotated, Any

import msgspec

from streamapi.api.answer import event_data
from streamapi.errors import InvalidRequest, Problem
from streamapi.generation.event import Start, encode
from streamapi.generation.generation import Generation
from streamapi.generation.log import LOST_AT, Entry

Ref = Annotated[str, msgspec.Meta(max_length=200)] | int


class Message(msgspec.Struct, tag_field="type", forbid_unknown_fields=True):
    """What a client may say."""


class StartMessage(Message, tag="start"):
    """Begin a generation. `ref` is the client's name for it, echoed on `start` and `error`."""

    request: dict[str, Any]
    task: str | None = None
    ref: Ref | None = None
    idempotency_key: str | None = None


class ResumeMessage(Message, tag="resume"):
    """Follow a generation from behind the event number `after`."""

    generation: str
    after: Annotated[int, msgspec.Meta(ge=0, le=LOST_AT)] = 0
    ref: Ref | None = None


class CancelMessage(Message, tag="cancel"):
    """Let go of a generation."""

    generation: str
    ref: Ref | None = None


class PingMessage(Message, tag="ping"):
    """Answered by `pong`; keeps an idle socket open."""

    ref: Ref | None = None


class AuthMessage(Message, tag="auth"):
    """Who is asking, where no header could say it: the first message, which is not answered.
    A server that asks for no keys takes it for nothing."""

    token: str
    ref: Ref | None = None


Messages = StartMessage | ResumeMessage | CancelMessage | PingMessage | AuthMessage


def understand(value: dict[str, Any]) -> Messages:
    """The message that a client sent. Raises `InvalidRequest`."""
    try:
        message: Messages = msgspec.convert(value, Messages)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"The message cannot be understood: {error}.") from None
    return message


def known_ref(value: dict[str, Any]) -> Ref | None:
    """The `ref` of a message that may be wrong otherwise, if that is one."""
    try:
        ref: Ref | None = msgspec.convert(value.get("ref"), Ref | None)
    except msgspec.ValidationError:
        return None
    return ref


def event_frame(generation: Generation, entry: Entry, request_id: str, ref: Ref | None) -> str:
    """An event, as Server-Sent Events have it, with its generation and number; `start` also has
    the client's `ref` and the cache status."""
    data = event_data(generation, entry, request_id).decode()
    own = ""
    if isinstance(entry.event, Start):
        own = f'"ref":{encode(ref).decode()},"cache":"{generation.cache}",'
        data = data.replace(f'"generation":"{generation.id}",', "", 1)
    head = f'{{"type":"{entry.event.type}","generation":"{generation.id}","n":{entry.n},'
    return f"{head}{own}{data[1:]}"


def ping_frame(generation: Generation) -> str:
    """What breaks a silence while a generation is followed. Not a ping of the protocol's own:
    Hypercorn's pinging task outlives its socket by up to an interval."""
    return encode({"type": "ping", "generation": generation.id}).decode()


def error_frame(ref: Ref | None, problem: Problem) -> str:
    """What was wrong with a message."""
    return encode({"type": "error", "ref": ref, "problem": problem}).decode()


def pong_frame(ref: Ref | None) -> str:
    """The answer to a ping."""
    return encode({"type": "pong", "ref": ref}).decode()
