"""Bounds of connections: of all together, of each address, and of the time for a head.

Hypercorn accepts every connection, so one address can take every file descriptor of the process,
and then the process cannot reach the model. A connection beyond a bound gets a 503 and is closed.
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
    """The bounds of connections, and the number of open ones. There may be `most` in all and
    `most_per_address` from one address, where 0 is no bound. Times are in seconds."""

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
        """The bounds in the settings. Half of the file descriptors are kept for the model, Redis
        and the database. Behind a trusted proxy all connections come from the proxy's address, so
        only the bound of all together applies."""
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
        """Count a new connection from an address. Beyond a bound: False, and it is not counted."""
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
        """Stop counting a connection."""
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
        """Read to the end, and stop the task that closes idle connections. Hypercorn would wait for
        that task up to `keep_alive_timeout`, with the file descriptor open."""
        await super()._read_data()
        await self.idle_task.stop()

    async def _close(self) -> None:
        """Close, also after the client has reset the connection. Hypercorn does not catch every
        error of the operating system here, so a client could fill the log with tracebacks."""
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
    """The response to a connection beyond a bound; its request is not read."""
    status, headers, body = closing_answer(Overloaded("Too many connections are open."))
    lines = b"".join(b"%b: %b\r\n" % header for header in headers)
    return b"HTTP/1.1 %d \r\n%b\r\n%b" % (status, lines, body)
