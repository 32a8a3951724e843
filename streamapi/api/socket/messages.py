"""The messages of a WebSocket, from the client and to the client, and the close codes.

Each message is a text frame with one JSON object, whose `type` names the kind of message. Messages
of a client are decoded strictly: an unknown type or field is an error, which does not close the
socket.
"""

from typing import Annotated, Any

import msgspec

from streamapi.api.answer import event_data
from streamapi.errors import InvalidRequest, Problem
from streamapi.generation.event import Start, encode
from streamapi.generation.generation import Generation
from streamapi.generation.log import LOST_AT, Entry

GOING_AWAY, TRY_AGAIN, UNAUTHENTICATED, IDLE, TOO_MANY = 1001, 1013, 4401, 4408, 4429
"""Close codes (RFC 6455, section 7.4). Codes from 4000 on are the application's own."""

Ref = Annotated[str, msgspec.Meta(max_length=200)] | int
"""The client's own name for a message. Replies to the message have the same `ref`."""


class Message(msgspec.Struct, tag_field="type", forbid_unknown_fields=True):
    """A message from the client."""


class StartMessage(Message, tag="start"):
    """Start a generation. `ref` is the client's name for it; `start` and `error` repeat it."""

    request: dict[str, Any]
    task: str | None = None
    ref: Ref | None = None
    idempotency_key: str | None = None


class ResumeMessage(Message, tag="resume"):
    """Follow a generation. The first event that is sent is the one behind the number `after`."""

    generation: str
    after: Annotated[int, msgspec.Meta(ge=0, le=LOST_AT)] = 0
    ref: Ref | None = None


class CancelMessage(Message, tag="cancel"):
    """Cancel a generation. Its model stops, unless other generations share the answer."""

    generation: str
    ref: Ref | None = None


class PingMessage(Message, tag="ping"):
    """Ask for a `pong`. A ping keeps an idle socket open."""

    ref: Ref | None = None


class AuthMessage(Message, tag="auth"):
    """Authenticate, where the handshake could not have a header. It is the first message, and it
    has no reply. A server without keys ignores it."""

    token: str
    ref: Ref | None = None


Messages = StartMessage | ResumeMessage | CancelMessage | PingMessage | AuthMessage


def parse_message(value: dict[str, Any]) -> Messages:
    """The message in a JSON object of the client. Raises `InvalidRequest`."""
    try:
        message: Messages = msgspec.convert(value, Messages)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"The message is not valid: {error}.") from None
    return message


def ref_of(value: dict[str, Any]) -> Ref | None:
    """The `ref` of a message whose other fields may be wrong. None where the `ref` is wrong."""
    try:
        ref: Ref | None = msgspec.convert(value.get("ref"), Ref | None)
    except msgspec.ValidationError:
        return None
    return ref


def event_frame(generation: Generation, entry: Entry, request_id: str, ref: Ref | None) -> str:
    """An event, with the data that Server-Sent Events have, and with its generation and number.
    `start` also has the client's `ref` and the cache status."""
    data = event_data(generation, entry, request_id).decode()
    own = ""
    if isinstance(entry.event, Start):
        own = f'"ref":{encode(ref).decode()},"cache":"{generation.cache}",'
        data = data.replace(f'"generation":"{generation.id}",', "", 1)
    head = f'{{"type":"{entry.event.type}","generation":"{generation.id}","n":{entry.n},'
    return f"{head}{own}{data[1:]}"


def ping_frame(generation: Generation) -> str:
    """A message that breaks a silence while a generation is followed. It is not a ping frame of the
    protocol, because Hypercorn's pinging task outlives its socket by up to an interval."""
    return encode({"type": "ping", "generation": generation.id}).decode()


def error_frame(ref: Ref | None, problem: Problem) -> str:
    """The problem with a message of the client, or with following a generation."""
    return encode({"type": "error", "ref": ref, "problem": problem}).decode()


def pong_frame(ref: Ref | None) -> str:
    """The reply to a ping."""
    return encode({"type": "pong", "ref": ref}).decode()
