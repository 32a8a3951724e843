"""The control endpoint: what happened, and what shall happen next.

It exists on loopback only: for any other peer its URLs are a 404 like every
URL that is not there. The peer is the socket's, never a header's.
"""

import ipaddress
from typing import Any

from aiohttp import web

from .faults import FAULTS, order
from .ledger import Ledger
from .request import decode
from .wire import Refusal, encode

__all__ = ["Control"]


class Control:
    """The routes under `/control`."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def routes(self) -> list[web.RouteDef]:
        """What to add to the application."""
        return [
            web.get("/control", self.tell, allow_head=False),
            web.delete("/control", self.clear),
            web.get("/control/faults", self.faults, allow_head=False),
            web.post("/control/faults", self.queue),
        ]

    async def tell(self, request: web.Request) -> web.Response:
        """Counts and the last calls; `?prompt=` keeps those whose prompt contains it."""
        _local(request)
        return _json(self._ledger.told(request.query.get("prompt", "")))

    async def clear(self, request: web.Request) -> web.Response:
        """Forget faults, counts and calls."""
        _local(request)
        self._ledger.clear()
        return _json({})

    async def faults(self, request: web.Request) -> web.Response:
        """The table of faults."""
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
            self._ledger.queue(order(keys.pop("fault", None), **keys))
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
