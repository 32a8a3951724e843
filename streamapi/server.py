"""Listening sockets, signals, and the drain: Hypercorn is driven here.

The socket is bound here and handed to Hypercorn, so the address is known before anything is
imported and a port of 0 works. On SIGTERM or SIGINT the process first drains (new work is
refused, streams end within their bound), and only then does Hypercorn close. Several processes
are `supervisor.py`'s; each of its children runs what is here.
"""

import asyncio
import gc
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import uvloop
from hypercorn.asyncio import serve as hypercorn_serve
from hypercorn.config import Config

from streamapi.app import create_app
from streamapi.drain import close
from streamapi.providers.catalogue import Catalogue
from streamapi.services import Services
from streamapi.settings import Settings, UnsafeSettings
from streamapi.telemetry import logs

HERE = Path(__file__).parent
HYPERCORN_TOML = next(
    p for p in (HERE / "hypercorn.toml", HERE.parent / "hypercorn.toml") if p.exists()
)


REFUSED = 2
"""The exit code for settings that cannot serve."""

INTERRUPTED = 130
"""What a shell calls the end by a SIGINT."""


AFTER_DRAIN = 1.0
"""Seconds for connections to close behind the drain: the whole end has two (`supervisor.py`)."""


class Child(NamedTuple):
    """What the supervisor gives to a child: the listening socket, the pipe that ends with the
    parent, and the pipe for its report that it is ready, all by file descriptor; and the address
    of the emulator where that one answers."""

    listener: int
    lifeline: int
    ready: int
    emulator: str

    def told(self) -> str:
        """As an argument of a command."""
        return ",".join(map(str, self))

    @classmethod
    def heard(cls, text: str) -> "Child":
        """What `told` had said."""
        listener, lifeline, ready, emulator = text.split(",", 3)
        return cls(int(listener), int(lifeline), int(ready), emulator)

    def report(self) -> None:
        """Tell the parent that nothing keeps this process from serving."""
        os.write(self.ready, b".")


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; returns when everything has ended."""
    check(settings)
    logs.configure(settings.log_level)
    uvloop.run(serve(settings, listen(settings)))


def run_child(settings: Settings, child: Child) -> None:
    """Serve as one process of several, until a signal, or until the parent is gone."""
    logs.configure(settings.log_level)
    uvloop.run(serve(settings, socket.socket(fileno=child.listener), child))


def check(settings: Settings) -> None:
    """Raise `UnsafeSettings` where a setting names a model that is not there, or others could
    reach an emulator, or a server without keys."""
    Catalogue.of(settings)
    if settings.lacks_google_key and not settings.on_loopback:
        raise UnsafeSettings(
            f"GOOGLE_API_KEY is not set, and STREAMAPI_BIND={settings.bind} can be reached from "
            "elsewhere. Set the key; the emulator answers on a loopback address only."
        )
    if settings.auth == "open" and not settings.on_loopback:
        raise UnsafeSettings(
            f"STREAMAPI_BIND={settings.bind} can be reached from elsewhere, and whoever reaches it "
            "would spend your quota. Set STREAMAPI_AUTH=keys and make a key with `streamapi keys "
            "create`; without keys the server is open on a loopback address only."
        )


def listen(settings: Settings) -> socket.socket:
    """The bound socket. Raises `UnsafeSettings` when the address cannot be had."""
    port = int(settings.bind.rpartition(":")[2])
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            settings.host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise UnsafeSettings(f"STREAMAPI_BIND={settings.bind}: {error.strerror}.") from None
    listener = socket.socket(family, kind, proto)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise UnsafeSettings(f"STREAMAPI_BIND={settings.bind}: {error.strerror}.") from None
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        # A peer that stops reading keeps its connection, and what we wrote, for ever: closing
        # waits for it. The kernel gives up on it (tcp(7)); accepted sockets inherit this.
        milliseconds = int(settings.send_timeout * 1000)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
    listener.setblocking(False)
    return listener


@asynccontextmanager
async def emulating(settings: Settings) -> AsyncIterator[str]:
    """The address of an emulator where there is no key for Gemini; else nothing."""
    if not settings.lacks_google_key:
        yield ""
        return
    from streamapi.emulator import Emulator

    async with Emulator() as emulator:
        yield emulator.url


async def serve(settings: Settings, listener: socket.socket, child: Child | None = None) -> None:
    """Serve on the socket; by itself with the emulator beside, when there is no key."""
    asyncio.get_running_loop().set_exception_handler(_on_error)
    stop = asyncio.Event()
    _on_signals(stop)
    if child is not None:
        _outlive(child.lifeline, stop)
        await _serve(
            settings, listener, stop, child.emulator, child.report, logger_class=_ChildsAccessLog
        )
        return
    async with emulating(settings) as emulator:
        ready = partial(banner, settings, listener, emulated=bool(emulator))
        await _serve(settings, listener, stop, emulator, ready)


async def _serve(
    settings: Settings,
    listener: socket.socket,
    stop: asyncio.Event,
    emulator: str,
    ready: Callable[[], None],
    logger_class: type[logs.AccessLog] = logs.AccessLog,
) -> None:
    if emulator:
        settings = settings.model_copy(update={"gemini_base_url": emulator})
    app = create_app(settings, emulated=bool(emulator))
    parts: Services = app.extensions["streamapi"]

    if parts.key_auth is not None:
        await parts.key_auth.open()  # here a database that cannot be used is a sentence
    app.before_serving(_freeze)
    ready()
    config = hypercorn_config(settings, listener)
    config.logger_class = logger_class

    async def drained() -> None:
        await stop.wait()
        config.keep_alive_max_requests = 0  # who asks again asks on a new connection, elsewhere
        await close(parts, settings.drain_timeout, settings.drain_delay)

    await hypercorn_serve(app, config, shutdown_trigger=drained)


def _on_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Pass over lost connections: for a peer that stopped reading Hypercorn raises where nobody
    waits for it, so anyone could fill the log with tracebacks. The same goes for a connection
    that is cut behind the drain, where asyncio before 3.12 stumbles over the cancelled task."""
    expected = ConnectionError | TimeoutError | asyncio.CancelledError
    if not isinstance(context.get("exception"), expected):
        loop.default_exception_handler(context)


def _on_signals(stop: asyncio.Event) -> None:
    """Drain at the first signal. Who sends SIGINT during the drain does not want to wait."""

    def interrupt() -> None:
        if stop.is_set():
            os._exit(INTERRUPTED)
        stop.set()

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, interrupt)


def _outlive(lifeline: int, stop: asyncio.Event) -> None:
    """Drain when the parent is gone: nobody else would end this process, or replace it."""
    loop = asyncio.get_running_loop()

    def gone() -> None:
        loop.remove_reader(lifeline)  # the end of a pipe stays readable
        stop.set()

    loop.add_reader(lifeline, gone)


class _ChildsAccessLog(logs.AccessLog):
    """The lines of several processes are on one stdout: each says whose it is."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._line = self._line.bind(pid=os.getpid())


async def _freeze() -> None:
    """Let the collector pass over what start-up made. LangChain brings a million objects, and
    walking them in every full collection cost a fifth of a request's CPU."""
    gc.collect()
    gc.freeze()


def hypercorn_config(settings: Settings, listener: socket.socket) -> Config:
    """How Hypercorn serves: `hypercorn.toml`, with the settings on top. It takes over the
    listening socket."""
    config = Config.from_toml(HYPERCORN_TOML)
    config.bind = [f"fd://{listener.detach()}"]
    config.logger_class = logs.AccessLog
    config.graceful_timeout = AFTER_DRAIN
    config.websocket_max_message_size = settings.max_body_bytes
    return config


def banner(settings: Settings, listener: socket.socket, *, emulated: bool) -> None:
    """Say on stderr where to go, and who may."""
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    lines = [f"streamapi on {url}", f"  the page  {url}/", f"  the API   {url}/docs"]
    if settings.auth == "open":
        lines.append("  OPEN to this machine: no keys are asked for (STREAMAPI_AUTH=keys asks)")
    else:
        lines.append("  who asks shows a key; the first comes from `streamapi keys create`")
    if emulated:
        lines.append("  no GOOGLE_API_KEY: the EMULATOR answers, not Gemini (for development only)")
    print("\n".join(lines), file=sys.stderr, flush=True)
