"""What the routes stand on, made once by `app.py`, and who is asking."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

from quart import current_app, has_request_context, request, websocket

from streamapi.access.limits import MemoryLimits
from streamapi.generation.ask import Caller
from streamapi.generation.generations import Generations
from streamapi.providers.catalogue import Catalogue
from streamapi.providers.gemini import Gemini
from streamapi.settings import Settings
from streamapi.tasks.task import Task


@dataclass
class Services:
    """The parts of the running server. `emulated` says that no real model answers; `sockets`
    are the goodbyes of open WebSockets; `draining` says that the process takes no new work."""

    settings: Settings
    tasks: dict[str, Task[Any]]
    catalogue: Catalogue
    gemini: Gemini
    generations: Generations
    limits: MemoryLimits
    emulated: bool
    draining: bool = False
    sockets: set[Callable[[], None]] = field(default_factory=set)


def services() -> Services:
    """The services of the app that handles the current request or socket."""
    return cast(Services, current_app.extensions["streamapi"])


def caller() -> Caller:
    """Who sent the current request, or opened the current socket."""
    connection = request if has_request_context() else websocket
    return Caller(address=connection.remote_addr)
