"""Whether this process lives, and whether it should be sent work."""

import os
from typing import Literal

from msgspec import Struct
from quart import Blueprint, Response

from streamapi.api.context import services
from streamapi.api.description import SERVICE, Description, Reply
from streamapi.api.limits import unlimited
from streamapi.api.who import open_to_all
from streamapi.generation.event import encode
from streamapi.services import Services

routes = Blueprint("health", __name__)


class Alive(Struct, kw_only=True):
    """This process lives."""

    status: Literal["ok"]


class Readiness(Struct, kw_only=True):
    """Whether this process takes work; `running` generations are being written."""

    status: Literal["ready", "draining"]
    upstream: Literal["gemini", "emulator"]
    running: int
    pid: int
    logs: Literal["memory", "redis", "redis is away"]


@routes.get("/healthz")
@Description("healthz", SERVICE, {200: Reply("It lives.", Alive)})
@unlimited("probes ask often")
@open_to_all
async def healthz() -> Response:
    """This process lives."""
    return _json(Alive(status="ok"))


@routes.get("/readyz")
@Description(
    "readyz",
    SERVICE,
    {200: Reply("It takes work.", Readiness), 503: Reply("It is ending.", Readiness)},
)
@unlimited("probes ask often")
@open_to_all
async def readyz() -> Response:
    """This process takes work: 503 from the moment it is told to end."""
    parts = services()
    readiness = Readiness(
        status="draining" if parts.draining else "ready",
        upstream="emulator" if parts.emulated else "gemini",
        running=parts.generations.running,
        pid=os.getpid(),
        logs=_where(parts),
    )
    return _json(readiness, 503 if parts.draining else 200)


def _where(parts: Services) -> Literal["memory", "redis", "redis is away"]:
    """Where logs are; without Redis, what is shared is not, and what is local goes on."""
    if not parts.settings.redis_url:
        return "memory"
    return "redis" if parts.logs.available else "redis is away"


def _json(body: Alive | Readiness, status: int = 200) -> Response:
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
    return Response(encode(body), status=status, headers=headers)
