"""What happens before a process serves: the settings are checked, the address is bound, the
emulator is started if it is needed, and the banner is printed.

One process does all of this in `server.py`. Of several processes, the parent does it once for all
(`supervisor.py`).
"""

import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from streamapi.providers.catalogue import Catalogue
from streamapi.settings import Settings, UnsafeSettings

EXIT_UNSAFE = 2
"""The exit code for settings that the server cannot start with."""

EXIT_INTERRUPTED = 130
"""The exit code after a second SIGINT, as a shell reports it."""


def check(settings: Settings) -> None:
    """Raise `UnsafeSettings` where a setting names an unknown model, or where other machines could
    reach an emulator or a server without keys."""
    Catalogue.of(settings)
    if settings.lacks_google_key and not settings.on_loopback:
        raise UnsafeSettings(
            f"GOOGLE_API_KEY is not set, and other machines can reach STREAMAPI_BIND="
            f"{settings.bind}. Set the key, or bind a loopback address: only there the emulator "
            "answers in place of Gemini."
        )
    if settings.auth == "open" and not settings.on_loopback:
        raise UnsafeSettings(
            f"Other machines can reach STREAMAPI_BIND={settings.bind}, and each of them could "
            "spend your quota. Set STREAMAPI_AUTH=keys and make a key with `streamapi keys "
            "create`, or bind a loopback address: only there a server needs no keys."
        )


def listen(settings: Settings) -> socket.socket:
    """The bound socket of `STREAMAPI_BIND`; port 0 is any free port. Raises `UnsafeSettings` where
    the address cannot be bound."""
    port = int(settings.bind.rpartition(":")[2])
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            settings.host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise _cannot_bind(settings, error) from None
    listener = socket.socket(family, kind, proto)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise _cannot_bind(settings, error) from None
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        # A peer that stops reading would keep its connection and our unsent bytes for ever, and
        # closing waits for it. With this option the kernel gives up on such a peer (tcp(7));
        # accepted sockets inherit it.
        milliseconds = int(settings.send_timeout * 1000)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
    listener.setblocking(False)
    return listener


def _cannot_bind(settings: Settings, error: OSError) -> UnsafeSettings:
    return UnsafeSettings(
        f"STREAMAPI_BIND={settings.bind} cannot be bound: {error.strerror}. Set another address "
        "or port."
    )


@asynccontextmanager
async def emulator_if_needed(settings: Settings) -> AsyncIterator[str]:
    """The address of an emulator that runs within this context, or an empty string where the
    settings have a key for Gemini or an address of their own."""
    if not settings.lacks_google_key:
        yield ""
        return
    from streamapi.emulator import Emulator

    async with Emulator() as emulator:
        yield emulator.url


def print_banner(settings: Settings, listener: socket.socket, *, emulated: bool) -> None:
    """Print the addresses of the server on stderr, whether it needs keys, and whether an emulator
    answers."""
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    lines = [f"streamapi on {url}", f"  the page  {url}/", f"  the API   {url}/docs"]
    if settings.auth == "open":
        lines.append(
            "  OPEN to this machine: requests need no key (STREAMAPI_AUTH=keys demands one)"
        )
    else:
        lines.append("  requests need a key: make one with `streamapi keys create`")
    if emulated:
        lines.append("  no GOOGLE_API_KEY: the EMULATOR answers, not Gemini (for development only)")
    print("\n".join(lines), file=sys.stderr, flush=True)
