"""What the routes stand on, made once by `app.py`, and who is asking."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

from quart import current_app, has_request_context, request, websocket

from streamapi.access.limits import Limits
from streamapi.generation.ask import Caller
from streamapi.generation.generations import Generations
from streamapi.generation.log import Logs
from streamapi.providers.catalogue import Catalogue
from streamapi.providers.gemini import Gemini
from streamapi.settings import Settings
from streamapi.tasks.task import Task
from streamapi.telemetry.metrics import Metrics


@dataclass
class Services:
    """The parts of the running server. `emulated` says that no real model answers.

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
    emulated: bool
    draining: bool = False
    leaving: bool = False
    closed: bool = False
    sockets: set[Callable[[], None]] = field(default_factory=set)
    streams: set[Callable[[], None]] = field(default_factory=set)


def services() -> Services:
    """The services of the app that handles the current request or socket."""
    return cast(Services, current_app.extensions["streamapi"])


def caller() -> Caller:
    """Who sent the current request, or opened the current socket."""
    connection = request if has_request_context() else websocket
    scope: Any = connection.scope
    return Caller(address=scope.get("streamapi.address", connection.remote_addr))
