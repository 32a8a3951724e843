"""Whether this process is alive, and whether it accepts work."""

import os
from typing import Literal

from msgspec import Struct
from quart import Blueprint, Response

from streamapi.api.authentication import open_to_all
from streamapi.api.context import services
from streamapi.api.description import SERVICE, Description, Reply
from streamapi.api.limits import unlimited
from streamapi.api.responses import NO_STORE, json_response
from streamapi.services import Services

routes = Blueprint("health", __name__)


class Alive(Struct, kw_only=True):
    """The answer of a live process."""

    status: Literal["ok"]


class Readiness(Struct, kw_only=True):
    """Whether this process accepts work. `running` is the number of generations that it writes."""

    status: Literal["ready", "draining"]
    upstream: Literal["gemini", "emulator"]
    running: int
    pid: int
    logs: Literal["memory", "redis", "redis is away"]


@routes.get("/healthz")
@Description("healthz", SERVICE, {200: Reply("The process is alive.", Alive)})
@unlimited("probes ask often")
@open_to_all("probes have no key")
async def healthz() -> Response:
    """Check that this process is alive."""
    return json_response(Alive(status="ok"), headers=NO_STORE)


@routes.get("/readyz")
@Description(
    "readyz",
    SERVICE,
    {
        200: Reply("The process accepts work.", Readiness),
        503: Reply("The process is shutting down.", Readiness),
    },
)
@unlimited("probes ask often")
@open_to_all("probes have no key")
async def readyz() -> Response:
    """Check that this process accepts work.

    The status is 503 as soon as the process shuts down."""
    parts = services()
    readiness = Readiness(
        status="draining" if parts.draining else "ready",
        upstream="emulator" if parts.emulated else "gemini",
        running=parts.generations.running,
        pid=os.getpid(),
        logs=_where(parts),
    )
    return json_response(readiness, 503 if parts.draining else 200, NO_STORE)


def _where(parts: Services) -> Literal["memory", "redis", "redis is away"]:
    """Where logs are kept. While Redis is away, each process goes on with the logs of its own."""
    if not parts.settings.redis_url:
        return "memory"
    return "redis" if parts.logs.available else "redis is away"
