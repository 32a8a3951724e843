"""One process that serves: it runs Hypercorn on a bound socket, and drains at a signal.

`startup.py` binds the socket before anything heavy is imported, and Hypercorn takes it over. So
the address is known early, and port 0 works. At SIGTERM or SIGINT the process first drains
(`drain.py`), and only then does Hypercorn close. Of several processes, `supervisor.py` runs each
with `run_child`.
"""

import asyncio
import gc
import os
import signal
import socket
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import uvloop
from hypercorn.asyncio import serve as hypercorn_serve
from hypercorn.config import Config

from streamapi import package_files, startup
from streamapi.app import create_app
from streamapi.drain import close
from streamapi.services import Services
from streamapi.settings import Settings
from streamapi.telemetry import logs

HYPERCORN_TOML = package_files.find("hypercorn.toml")

CONNECTION_CLOSE_SECONDS = 1.0
"""Seconds for connections to close after the drain. `supervisor.EXIT_SECONDS` is longer."""


class Child(NamedTuple):
    """What a child process gets from the supervisor: the listening socket, a pipe that ends with
    the parent, and a pipe on which the child reports that it is ready, all as file descriptors;
    and the address of the emulator, or an empty string."""

    listener: int
    lifeline: int
    ready: int
    emulator: str

    def to_argument(self) -> str:
        """The value of `streamapi serve --child`."""
        return ",".join(map(str, self))

    @classmethod
    def from_argument(cls, text: str) -> "Child":
        """Parse what `to_argument` returned."""
        listener, lifeline, ready, emulator = text.split(",", 3)
        return cls(int(listener), int(lifeline), int(ready), emulator)

    def report_ready(self) -> None:
        """Tell the parent that this process starts to serve."""
        os.write(self.ready, b".")


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Returns after the drain. Raises `UnsafeSettings`."""
    startup.check(settings)
    logs.configure(settings.log_level)
    uvloop.run(_serve_alone(settings, startup.listen(settings)))


def run_child(settings: Settings, child: Child) -> None:
    """Serve as one of several processes, until a signal, or until the parent has ended."""
    logs.configure(settings.log_level)
    uvloop.run(_serve_as_child(settings, child))


async def _serve_alone(settings: Settings, listener: socket.socket) -> None:
    stop = asyncio.Event()
    _stop_at_signals(stop)
    async with startup.emulator_if_needed(settings) as emulator:
        ready = partial(startup.print_banner, settings, listener, emulated=bool(emulator))
        await _serve(settings, listener, stop, emulator, ready)


async def _serve_as_child(settings: Settings, child: Child) -> None:
    stop = asyncio.Event()
    _stop_at_signals(stop)
    _stop_without_parent(child.lifeline, stop)
    listener = socket.socket(fileno=child.listener)
    await _serve(settings, listener, stop, child.emulator, child.report_ready)


async def _serve(
    settings: Settings,
    listener: socket.socket,
    stop: asyncio.Event,
    emulator: str,
    ready: Callable[[], None],
) -> None:
    """Serve on the socket until `stop` is set, then drain. `ready` is called before the first
    request."""
    asyncio.get_running_loop().set_exception_handler(_on_loop_error)
    if emulator:
        settings = settings.model_copy(update={"gemini_base_url": emulator})
    app = create_app(settings, emulated=bool(emulator))
    parts: Services = app.extensions["streamapi"]
    if parts.key_auth is not None:
        await parts.key_auth.open()  # within Hypercorn its `UnsafeSettings` would be a traceback
    app.before_serving(_freeze_startup_objects)
    ready()
    config = hypercorn_config(settings, listener)

    async def drained() -> None:
        await stop.wait()
        config.keep_alive_max_requests = 0  # the next request of a client finds another process
        await close(parts, settings.drain_timeout, settings.drain_delay)

    await hypercorn_serve(app, config, shutdown_trigger=drained)


def hypercorn_config(settings: Settings, listener: socket.socket) -> Config:
    """The configuration of Hypercorn: `hypercorn.toml`, and the settings on top. It takes over the
    listening socket."""
    config = Config.from_toml(HYPERCORN_TOML)
    config.bind = [f"fd://{listener.detach()}"]
    config.logger_class = logs.AccessLog
    config.graceful_timeout = CONNECTION_CLOSE_SECONDS
    config.websocket_max_message_size = settings.max_body_bytes
    return config


def _on_loop_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Ignore lost connections. When a peer stops reading, Hypercorn raises in a task that nobody
    awaits, so any client could fill the log with tracebacks. asyncio before 3.12 does the same
    with a task that is cancelled when its connection is cut after the drain."""
    expected = ConnectionError | TimeoutError | asyncio.CancelledError
    if not isinstance(context.get("exception"), expected):
        loop.default_exception_handler(context)


def _stop_at_signals(stop: asyncio.Event) -> None:
    """Set `stop` at SIGTERM or SIGINT. A SIGINT after that ends the process at once."""

    def interrupt() -> None:
        if stop.is_set():
            os._exit(startup.EXIT_INTERRUPTED)
        stop.set()

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, interrupt)


def _stop_without_parent(lifeline: int, stop: asyncio.Event) -> None:
    """Set `stop` when the parent has ended: no other process would end this one or replace it."""
    loop = asyncio.get_running_loop()

    def parent_ended() -> None:
        loop.remove_reader(lifeline)  # a pipe stays readable after its end
        stop.set()

    loop.add_reader(lifeline, parent_ended)


async def _freeze_startup_objects() -> None:
    """Make the garbage collector skip the objects of the start-up. LangChain brings a million of
    them, and walking them at every full collection took a fifth of a request's CPU time."""
    gc.collect()
    gc.freeze()
