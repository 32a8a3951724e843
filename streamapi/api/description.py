"""What a route takes and gives, declared where the route stands.

    @routes.get("/<model_id>")
    @Description("get_model", CATALOGUE, gives={200: Reply("The model.", Model)}, fails=(NotFound,))
    async def model(model_id: str) -> Response:
        "One model of the catalogue."

A `Description` is a frozen value that the view carries; it changes nothing about how a request is
answered. `documents/` reads these values when a document is first asked for. The docstring of the
view is the summary of the route, and what follows its first paragraph is the description.

A new route needs its file and its test: shapes, parameters, headers and tags that no other route
has belong into the file. What several routes share is in `shapes.py`, in `parameters.py` and here.
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
    """A group of routes in the document. Groups are sorted by `order`."""

    name: str
    description: str
    order: int = 50


SOCKETS = Tag("WebSocket", "Many generations of any task on one socket.", 10)
GENERATIONS = Tag("Generations", "Read, follow, cancel or delete a generation.", 20)
CATALOGUE = Tag("Catalogue", "The models that requests can name.", 30)
KEYS = Tag(
    "Keys",
    "Make, list and revoke keys, with a key that has the scope `admin`; get tickets with any key.",
    40,
)
SERVICE = Tag("Service", "The state of the server, its metrics, and a page about each error.", 90)


def tag(task: Task[Any]) -> Tag:
    """The tag of a task. Tasks come first."""
    return Tag(task.title, task.description, 0)


@dataclass(frozen=True)
class Parameter:
    """A query parameter or a header of a request. Two parameters of one name, which two routes read
    differently, have different keys."""

    name: str
    description: str
    schema: Mapping[str, Any]
    place: str = "query"
    key: str = ""


@dataclass(frozen=True)
class Header:
    """A header of a response, beyond those that every response has."""

    name: str
    description: str
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})


GENERATION_ID = Header("Generation-Id", "The id of the generation.")
LOCATION = Header("Location", "The URL of the new resource.")


@dataclass(frozen=True)
class Reply:
    """A successful response. `body` is a msgspec struct, `str` for a text, or None for no body."""

    description: str
    body: type | None = None
    headers: tuple[Header, ...] = ()
    media_type: str = "application/json"


@dataclass(frozen=True)
class EventStream:
    """A successful response that is a stream of events. `done` is the data of the event `done`.
    While nothing happens, the stream sends `ping` events (`pings`), or else comments."""

    description: str
    done: type = DoneAnswer
    pings: bool = False
    headers: tuple[Header, ...] = (GENERATION_ID,)

    @property
    def body(self) -> type:
        """The shape that this route adds to the document."""
        return self.done


@dataclass(frozen=True)
class Description:
    """One route. `gives` has its successful responses by status. `body` and `query` are the models
    that validate its body and its query parameters; `takes` has its other parameters, except those
    of the path. `examples` are requests by name. `fails` has the errors of this route alone: the
    document adds those of every route, of keys, of request limits, of bodies and of handshakes.
    Without a summary, the docstring of the view is used."""

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
        """Attach this description to a view."""
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
"""Errors of a route that waits for the first content of a generation, or for its ending."""

LOOKUP_ERRORS: Errors = (errors.NotFound, errors.GenerationExpired)
"""Errors of a route that looks for a generation."""

RESUME_ERRORS: Errors = (errors.InvalidHeader, errors.InvalidRequest)
"""Errors of a route that takes a cursor."""
