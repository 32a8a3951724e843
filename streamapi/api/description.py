"""What a route takes and gives, declared where the route stands.

    @routes.get("/<model_id>")
    @Description("get_model", CATALOGUE, gives={200: Reply("The model.", Model)}, fails=(NotFound,))
    async def model(model_id: str) -> Response:
        "One model of the catalogue."

A `Description` is a frozen value that the view carries; it changes nothing about how a request is
answered. `documents/` reads these values when a document is first asked for. The docstring of the
view is the summary of the route, and what follows its first paragraph is the description.

A new route is its file and its test: shapes, parameters and tags that only it needs stand in its
file. What several routes share is in `shapes.py`, in `parameters.py` and here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel

from streamapi import errors
from streamapi.api.shapes import DoneAnswer
from streamapi.errors import StreamapiError
from streamapi.tasks.task import Task

V = TypeVar("V", bound=Callable[..., Any])
Errors = tuple[type[StreamapiError], ...]
ATTRIBUTE = "streamapi_description"


@dataclass(frozen=True)
class Tag:
    """A chapter of the document. Chapters are sorted by `order`, then as their routes are found."""

    name: str
    description: str
    order: int = 50


SOCKETS = Tag("WebSocket", "Many generations of any task on one socket.", 10)
GENERATIONS = Tag(
    "Generations", "What came of a request: read it, follow it, cancel it, forget it.", 20
)
CATALOGUE = Tag("Catalogue", "Who can answer.", 30)
KEYS = Tag("Keys", "Who may ask, where keys are asked for; for keys with the scope `admin`.", 40)
SERVICE = Tag("Service", "The state of the server, and the pages of its errors.", 90)


def tag(task: Task[Any]) -> Tag:
    """The chapter of a task. Tasks come first."""
    return Tag(task.title, task.description, 0)


@dataclass(frozen=True)
class Parameter:
    """A query parameter or a header of a request. `key` tells parameters of one name apart, where
    two routes read it differently."""

    name: str
    description: str
    schema: Mapping[str, Any]
    place: str = "query"
    key: str = ""


@dataclass(frozen=True)
class Reply:
    """One way in which a route succeeds. `body` is a msgspec struct, `str` for a text, or None for
    no body; `headers` are names of `documents/components.py`."""

    description: str
    body: type | None = None
    headers: tuple[str, ...] = ()
    media_type: str = "application/json"


@dataclass(frozen=True)
class EventStream:
    """A reply that is a stream of events. `done` is the data of its last event. With `pings`, its
    silence is broken by `ping` events, else by comments."""

    description: str
    done: type = DoneAnswer
    pings: bool = False

    @property
    def body(self) -> type:
        """The shape that is this route's own."""
        return self.done


@dataclass(frozen=True)
class Description:
    """One route. `gives` are its successes by status. `body` and `query` are the models that read
    its body and its parameters; `takes` are its other parameters, besides those of the path.
    `examples` are requests by name. `fails` are its own errors: those of every route, of keys, of
    request limits, of bodies and of handshakes are added. Without a summary, the docstring
    stands."""

    id: str
    tag: Tag
    gives: Mapping[int, Reply | EventStream]
    takes: tuple[Parameter, ...] = ()
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    examples: Mapping[str, Any] = field(default_factory=dict)
    fails: Errors = ()
    summary: str = ""
    description: str = ""

    def __call__(self, view: V) -> V:
        """Describe a view; as a decorator."""
        setattr(view, ATTRIBUTE, self)
        return view


def description_of(view: Callable[..., Any]) -> Description | None:
    """The description that a view has, if any."""
    found: Description | None = getattr(view, ATTRIBUTE, None)
    return found


START_ERRORS: Errors = (
    errors.InvalidHeader,
    errors.ModelNotFound,
    errors.IdempotencyKeyReused,
    errors.GenerationExpired,  # the key is remembered for longer than its log
    errors.QuotaExceeded,
    errors.TooManyStreams,
    errors.Overloaded,
    errors.ShuttingDown,
)
"""Errors of a route that starts a generation."""

GENERATION_ERRORS: Errors = (
    errors.ContextTooLong,
    errors.ContentBlocked,
    errors.UpstreamRejected,
    errors.UpstreamTruncated,
    errors.UpstreamInterrupted,
    errors.ModelOutputInvalid,
    errors.OutputTooLarge,
    errors.ProducerLost,
    errors.UpstreamUnavailable,
    errors.UpstreamTimeout,
)
"""Errors that end a generation, of a route that waits for its first content or its ending."""

LOOKUP_ERRORS: Errors = (errors.NotFound, errors.GenerationExpired)
"""Errors of a route that looks for a generation."""

RESUME_ERRORS: Errors = (errors.InvalidHeader, errors.InvalidRequest)
"""Errors of a route that takes a cursor."""
