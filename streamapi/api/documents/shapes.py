"""What stands on the wire, as types, for the documents.

The routes write these by hand, for speed and for nulls that mean something; the tests hold what
a server really answers to these types. Events whose data is the event itself are not repeated.
"""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from streamapi.errors import Problem
from streamapi.generation.event import FinishReason, Status, Timings, Usage
from streamapi.generation.generation import CacheStatus

GenerationId = Annotated[str, Meta(pattern="^gen_", description="Public and unguessable.")]
Moment = Annotated[
    str, Meta(description="RFC 3339, in UTC.", extra_json_schema={"format": "date-time"})
]


class ModelUsed(Struct, kw_only=True):
    """`requested` by the caller or by default; `served` as the provider names it, null until it
    is known; `dropped` are the parameters that the model does not take."""

    requested: str
    served: str | None
    dropped: list[str]


class Held(Struct, kw_only=True):
    """What every answer says of its generation."""

    id: GenerationId
    task: str
    model: ModelUsed
    cache: CacheStatus
    metadata: dict[str, str]
    created: Moment


class Answer(Held, kw_only=True):
    """A generation as it stands: null is what is not known (yet). `result` holds what has come,
    in the shape of the task's own result once `status` is `done`."""

    status: Status
    result: dict[str, Any] | None
    finish_reason: FinishReason | None
    usage: Usage | None
    timings: Timings | None
    problem: Problem | UnsetType = UNSET
    cancelled_by: Literal["caller", "disconnect"] | UnsetType = UNSET


class Accepted(Answer, kw_only=True):
    """A generation that has begun; `events` is where to follow it."""

    events: str


class DoneAnswer(Held, kw_only=True):
    """A whole answer. `result` has the shape of its task."""

    status: Literal["done"]
    result: dict[str, Any]
    finish_reason: FinishReason
    usage: Usage
    timings: Timings


class StartData(Struct, kw_only=True):
    """Always the first event. `model` is the one asked for."""

    generation: GenerationId
    task: str
    model: str
    created: Moment


class Model(Struct, kw_only=True):
    """A model of the catalogue; `successor` answers for one that was retired."""

    id: str
    object: Literal["model"]
    created: Annotated[int, Meta(description="Seconds since 1970.")]
    owned_by: str
    title: str
    input_tokens: int
    output_tokens: int
    takes_temperature: bool
    thinking_levels: list[str]
    successor: str | None


class ModelList(Struct, kw_only=True):
    """Every model that may be asked for."""

    object: Literal["list"]
    data: list[Model]


class KeyLimits(Struct, kw_only=True):
    """How much a key may use; null is what the server gives to every key, 0 is no limit."""

    requests_per_minute: int | None
    tokens_per_minute: int | None
    tokens_per_day: int | None
    streams: int | None


class Key(Struct, kw_only=True):
    """What is known of a key; the key itself is not. Of `models`, null is every one."""

    id: Annotated[str, Meta(pattern="^key_")]
    owner: str
    name: str
    scopes: list[str]
    models: list[str] | None
    created: Moment
    expires: Moment | None
    revoked: Moment | None
    last_used: Annotated[Moment | None, Meta(description="To the minute.")]
    limits: KeyLimits


class MadeKey(Key, kw_only=True):
    """A new key. `key` is shown here, and never again."""

    key: Annotated[str, Meta(pattern="^sk-streamapi-")]


class KeyList(Struct, kw_only=True):
    """Keys, the newest first; `has_more` says that there are older ones."""

    data: list[Key]
    has_more: bool


class MadeTicket(Struct, kw_only=True):
    """A ticket, shown this once. It is to be presented within `expires_in` seconds, as the
    parameter `ticket` of its path."""

    ticket: Annotated[str, Meta(pattern="^tkt_")]
    path: str
    expires_in: float


class Alive(Struct, kw_only=True):
    """This process lives."""

    status: Literal["ok"]


class Readiness(Struct, kw_only=True):
    """Whether this process takes work; `running` generations are being written."""

    status: Literal["ready", "draining"]
    upstream: Literal["gemini", "emulator"]
    running: int
    pid: int
    logs: Literal["memory", "redis", "redis is away"]
