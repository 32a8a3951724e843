"""Listening sockets, signals, and the drain: Hypercorn is driven here.

The socket is bound here and handed to Hypercorn, so the address is known before anything is
imported and a port of 0 works. On SIGTERM or SIGINT the process first drains (new work is
refused, streams end within their bound), and only then does Hypercorn close.
"""

import asyncio
import gc
import signal
import socket
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import uvloop
from hypercorn.asyncio import serve as hypercorn_serve
from hypercorn.config import Config

from streamapi.api.services import Services
from streamapi.app import close, create_app, needs_key
from streamapi.settings import Settings, UnsafeSettings
from streamapi.telemetry import logs

HERE = Path(__file__).parent
HYPERCORN_TOML = next(
    p for p in (HERE / "hypercorn.toml", HERE.parent / "hypercorn.toml") if p.exists()
)


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; returns when everything has ended."""
    if needs_key(settings) and not settings.on_loopback:
        raise UnsafeSettings(
            f"GOOGLE_API_KEY is not set, and STREAMAPI_BIND={settings.bind} can be reached from "
            "elsewhere. Set the key; the emulator answers on a loopback address only."
        )
    logs.configure(settings.log_level)
    uvloop.run(serve(settings, listen(settings)))


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


async def serve(settings: Settings, listener: socket.socket) -> None:
    """Serve on the socket, with the emulator beside when there is no key."""
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    async with AsyncExitStack() as stack:
        emulated = needs_key(settings)
        if emulated:
            from streamapi.emulator import Emulator

            emulator = await stack.enter_async_context(Emulator())
            settings = settings.model_copy(update={"gemini_base_url": emulator.url})
        app = create_app(settings, emulated=emulated)
        parts: Services = app.extensions["streamapi"]

        async def drained() -> None:
            await stop.wait()
            await close(parts, settings.drain_timeout)

        app.before_serving(_freeze)
        _banner(settings, listener, emulated)
        config = hypercorn_config(settings, listener)
        await hypercorn_serve(app, config, shutdown_trigger=drained)


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
    config.websocket_max_message_size = settings.max_body_bytes
    return config


def _banner(settings: Settings, listener: socket.socket, emulated: bool) -> None:
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    lines = [f"streamapi on {url}", f"  the page  {url}/", f"  the API   {url}/docs"]
    if emulated:
        lines.append("  no GOOGLE_API_KEY: the EMULATOR answers, not Gemini (for development only)")
    print("\n".join(lines), file=sys.stderr, flush=True)
