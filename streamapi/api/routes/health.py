"""Whether this process lives, and whether it should be sent work."""

import os

from quart import Blueprint, Response
from quart_rate_limiter import rate_exempt

from streamapi.api.context import services
from streamapi.api.who import open_to_all
from streamapi.generation.event import encode
from streamapi.services import Services

routes = Blueprint("health", __name__)


@routes.get("/healthz")
@rate_exempt
@open_to_all
async def healthz() -> Response:
    """This process lives."""
    return _json({"status": "ok"})


@routes.get("/readyz")
@rate_exempt
@open_to_all
async def readyz() -> Response:
    """This process takes work: 503 from the moment it is told to end."""
    parts = services()
    return _json(
        {
            "status": "draining" if parts.draining else "ready",
            "upstream": "emulator" if parts.emulated else "gemini",
            "running": parts.generations.running,
            "pid": os.getpid(),
            "logs": _where(parts),
        },
        503 if parts.draining else 200,
    )


def _where(parts: Services) -> str:
    """Where logs are; without Redis, what is shared is not, and what is local goes on."""
    if not parts.settings.redis_url:
        return "memory"
    return "redis" if parts.logs.available else "redis is away"


def _json(body: dict[str, object], status: int = 200) -> Response:
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
    return Response(encode(body), status=status, headers=headers)
