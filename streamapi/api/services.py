"""What the routes stand on, made once by `app.py`, and who is asking."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from quart import current_app, g, has_request_context, request, websocket

from streamapi.access.guesses import Guesses
from streamapi.access.limits import Limits
from streamapi.access.tickets import Tickets
from streamapi.api import address
from streamapi.generation.ask import Caller
from streamapi.generation.generations import Generations
from streamapi.generation.log import Logs
from streamapi.providers.catalogue import Catalogue
from streamapi.providers.gemini import Gemini
from streamapi.settings import Settings
from streamapi.tasks.syntax.pool import SyntaxPool
from streamapi.tasks.task import Task
from streamapi.telemetry.metrics import Metrics

if TYPE_CHECKING:  # an open server never imports it
    from streamapi.access.entrance import Entrance


@dataclass
class Services:
    """The parts of the running server. `emulated` says that no real model answers; without an
    `entrance` no keys are asked for.

    `draining` says that the process is about to end; `leaving`, that it sends its readers to
    another one, which can serve them from the shared logs; `closed`, that it is done. `sockets`
    and `streams` are the goodbyes of those who read now."""

    settings: Settings
    tasks: dict[str, Task[Any]]
    catalogue: Catalogue
    gemini: Gemini
    logs: Logs
    generations: Generations
    metrics: Metrics
    limits: Limits
    guesses: Guesses
    tickets: Tickets
    syntax: SyntaxPool
    emulated: bool
    entrance: "Entrance | None" = None
    draining: bool = False
    leaving: bool = False
    closed: bool = False
    sockets: set[Callable[[], None]] = field(default_factory=set)
    streams: set[Callable[[], None]] = field(default_factory=set)


def services() -> Services:
    """The services of the app that handles the current request or socket."""
    return cast(Services, current_app.extensions["streamapi"])


def caller() -> Caller:
    """Who sent the current request, or opened the current socket; nobody, as long as `who.py`
    has not asked."""
    known: Caller | None = g.get("caller")
    if known is not None:
        return known
    connection = request if has_request_context() else websocket
    return Caller(address=address.of(connection))


def reading(parts: Services, goodbye: Callable[[], None]) -> AbstractContextManager[None]:
    """While this lasts, `goodbye` is called should the current caller's key die."""
    if parts.entrance is None:
        return nullcontext()
    return parts.entrance.vigil.reading(caller().key, goodbye)
