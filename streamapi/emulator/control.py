"""The routes under `/control`: they report the calls, and queue faults.

They exist for clients on loopback only. Any other client gets 404. The client's
address is that of the socket, and never that of a header.
"""

import ipaddress
from typing import Any

from aiohttp import web

from .faults import FAULTS, wanted_fault
from .history import History
from .request import decode
from .wire import Refusal, encode

__all__ = ["Control"]


class Control:
    """The routes under `/control`."""

    def __init__(self, history: History) -> None:
        self._history = history

    def routes(self) -> list[web.RouteDef]:
        """The routes, for the application."""
        return [
            web.get("/control", self.report, allow_head=False),
            web.delete("/control", self.clear),
            web.get("/control/faults", self.faults, allow_head=False),
            web.post("/control/faults", self.queue),
        ]

    async def report(self, request: web.Request) -> web.Response:
        """Report the counts and the last calls. `?prompt=` selects calls whose prompt has it."""
        _local(request)
        return _json(self._history.report(request.query.get("prompt", "")))

    async def clear(self, request: web.Request) -> web.Response:
        """Forget the calls, the counts and the queued faults."""
        _local(request)
        self._history.clear()
        return _json({})

    async def faults(self, request: web.Request) -> web.Response:
        """List the faults."""
        _local(request)
        rows = [{"name": fault.name, "meaning": fault.meaning} for fault in FAULTS.values()]
        return _json({"faults": rows})

    async def queue(self, request: web.Request) -> web.Response:
        """Queue `{"fault": NAME, "times": 1, "after": ..., "delay": ...}` for the next calls."""
        _local(request)
        body = decode(await request.read())
        if not isinstance(body, dict):
            raise Refusal(400, 'Send {"fault": NAME, "times": 1, "after": 3, "delay": 2.5}.')
        keys: dict[str, Any] = {**body}
        try:
            self._history.queue(wanted_fault(keys.pop("fault", None), **keys))
        except ValueError as error:
            raise Refusal(400, str(error)) from None
        return _json({})


def _local(request: web.Request) -> None:
    try:
        peer = ipaddress.ip_address((request.remote or "").partition("%")[0])
    except ValueError:
        raise web.HTTPNotFound from None
    mapped = getattr(peer, "ipv4_mapped", None)
    if not (mapped or peer).is_loopback:
        raise web.HTTPNotFound


def _json(value: Any) -> web.Response:
    return web.Response(body=encode(value), content_type="application/json")
