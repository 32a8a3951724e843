"""Bounds of connections: in all, from each address, and of the time that a head may take.

Hypercorn accepts whatever comes: one address can take every descriptor of the process, and with it
the way to the model. What is over a bound is told so and closed.
"""

import logging
import resource
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from hypercorn.asyncio import run as server
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.typing import AppWrapper
from quart import Quart

from streamapi.access.limit_key import network
from streamapi.api.patches.answers import closing_answer
from streamapi.api.patches.targets import Replaces, Uses
from streamapi.errors import Overloaded
from streamapi.settings import Settings

logger = logging.getLogger(__name__)

EXTENSION = "streamapi.connections"
"""Where an app keeps its `ConnectionBounds`."""


@dataclass
class ConnectionBounds:
    """What a connection may take, and how many there are now: `most` in all, `most_per_address`
    from one address, where 0 is no bound. Times are in seconds."""

    most: int
    most_per_address: int
    head_timeout: float
    body_timeout: float
    max_body_bytes: int
    open: int = 0
    by_address: dict[str, int] = field(default_factory=dict)
    refusing: bool = False

    @classmethod
    def of_settings(cls, settings: Settings) -> "ConnectionBounds":
        """The bounds that the settings ask for. Half of the descriptors are left for the model and
        the stores. Behind a trusted proxy all connections come from its address, so there only
        the bound of all counts."""
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return cls(
            min(settings.max_connections, descriptors // 2),
            0 if settings.trusted_hops else settings.max_connections_per_address,
            settings.head_timeout,
            settings.body_timeout,
            settings.max_body_bytes,
        )

    @classmethod
    def of_app(cls, app: AppWrapper) -> "ConnectionBounds":
        """The bounds of the app that Hypercorn serves."""
        found: ConnectionBounds = app.app.extensions[EXTENSION]  # type: ignore[attr-defined]
        return found

    def enter(self, address: str) -> bool:
        """Count a new connection from an address. False, and nothing is counted, beyond a bound."""
        here = self.by_address.get(address, 0)
        full = self.open >= self.most or 0 < self.most_per_address <= here
        if full and not self.refusing:
            logger.warning("connections are refused: %d are open, %d from one", self.open, here)
        self.refusing = full
        if not full:
            self.open += 1
            self.by_address[address] = here + 1
        return not full

    def leave(self, address: str) -> None:
        """Count a connection no more."""
        self.open -= 1
        self.by_address[address] -= 1
        if not self.by_address[address]:
            del self.by_address[address]


class BoundedServer(TCPServer):
    """A connection of Hypercorn's, counted."""

    async def run(self) -> None:
        """Serve the connection to its end, or refuse it."""
        bounds, address = ConnectionBounds.of_app(self.app), _address(self.writer)
        if not bounds.enter(address):
            self.writer.write(_busy())
            await self._close()
            return
        try:
            await super().run()
        finally:
            bounds.leave(address)

    async def _read_data(self) -> None:
        """Read to the end. Hypercorn then waits for the task that watches over idle connections,
        up to `keep_alive_timeout`, with the descriptor open."""
        await super()._read_data()
        await self.idle_task.stop()

    async def _close(self) -> None:
        """Close, also where the peer has reset the connection before: Hypercorn lets some of the
        system's errors through, so a client could fill the log with tracebacks."""
        with suppress(OSError):
            await super()._close()


TARGETS = (
    Replaces(server, "TCPServer", BoundedServer, used_by=(server, "worker_serve")),
    Uses(TCPServer, ("run", "_read_data", "_close"), ("app", "idle_task", "send_lock", "writer")),
)


def apply(app: Quart, settings: Settings) -> None:
    """Let Hypercorn count the app's connections."""
    app.extensions[EXTENSION] = ConnectionBounds.of_settings(settings)


def _address(writer: Any) -> str:
    peer = writer.get_extra_info("peername")
    return network(peer[0]) if peer and not isinstance(peer, str) else "local"


def _busy() -> bytes:
    """The answer to a connection that is one too many, without reading its request."""
    status, headers, body = closing_answer(Overloaded("Too many connections are open."))
    lines = b"".join(b"%b: %b\r\n" % header for header in headers)
    return b"HTTP/1.1 %d \r\n%b\r\n%b" % (status, lines, body)
