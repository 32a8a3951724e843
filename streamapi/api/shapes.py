"""What several routes answer, as types: a generation, in the forms that clients see.

A shape of one route stands in that route's file, which builds its answer from the shape. The
answers here are written by hand in `answer.py`, for speed; tests hold what a server really
answers against these types. An event whose data is the event itself needs no shape.
"""

import re
from functools import cache
from typing import Annotated, Any, Literal, cast

from msgspec import UNSET, Meta, Struct, UnsetType, defstruct

from streamapi.errors import Problem
from streamapi.generation.event import FinishReason, Status, Timings, Usage
from streamapi.generation.generation import CacheStatus

GenerationId = Annotated[
    str, Meta(pattern="^gen_", description="The id of the generation. It cannot be guessed.")
]
Moment = Annotated[
    str, Meta(description="RFC 3339, in UTC.", extra_json_schema={"format": "date-time"})
]


class ModelUsed(Struct, kw_only=True):
    """`requested` is the model of the request, or the default. `served` is the provider's name of
    the model that answers, and null until the provider has said it. `dropped` has the parameters
    that the model does not support."""

    requested: str
    served: str | None
    dropped: list[str]


class Held(Struct, kw_only=True):
    """What every answer says about its generation."""

    id: GenerationId
    task: str
    model: ModelUsed
    cache: CacheStatus
    metadata: dict[str, str]
    created: Moment


class Answer(Held, kw_only=True):
    """A generation as it is now. What is not known yet is null. `result` has the text so far; once
    `status` is `done`, it has the shape of the task's result."""

    status: Status
    result: dict[str, Any] | None
    finish_reason: FinishReason | None
    usage: Usage | None
    timings: Timings | None
    problem: Problem | UnsetType = UNSET
    cancelled_by: Literal["caller", "disconnect"] | UnsetType = UNSET


class Accepted(Answer, kw_only=True):
    """A generation that has started. `events` is the URL at which you can follow it."""

    events: str


class DoneAnswer(Held, kw_only=True):
    """A whole answer. `result` has the shape of its task."""

    status: Literal["done"]
    result: dict[str, Any]
    finish_reason: FinishReason
    usage: Usage
    timings: Timings


class StartData(Struct, kw_only=True):
    """The first event of every stream. `model` is the model of the request, or the default."""

    generation: GenerationId
    task: str
    model: str
    created: Moment


@cache
def whole_answer(task: str, result: type) -> type[DoneAnswer]:
    """The type of a task's whole answer, whose `result` is the task's own model."""
    name = "".join(word.capitalize() for word in re.split(r"[^A-Za-z0-9]+", task))
    doc = {"__doc__": f"A whole answer of `{task}`."}
    fields = [("result", result)]
    answer = defstruct(f"{name}Answer", fields, bases=(DoneAnswer,), namespace=doc, kw_only=True)
    return cast(type[DoneAnswer], answer)
