"""Metrics of this process, for Prometheus to scrape."""

from quart import Blueprint, Response

from streamapi.api.authentication import needs
from streamapi.api.context import services
from streamapi.api.description import SERVICE, Description, Reply
from streamapi.api.limits import unlimited
from streamapi.telemetry.metrics import CONTENT_TYPE

routes = Blueprint("metrics", __name__)


@routes.get("/metrics")
@unlimited("a scraper comes at its own interval")
@needs("usage")
@Description(
    "metrics",
    SERVICE,
    {200: Reply("Metrics, in the text format of Prometheus.", str, media_type="text/plain")},
)
async def metrics() -> Response:
    """Get the metrics of this process, in the text format of Prometheus."""
    headers = {"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store"}
    return Response(services().metrics.text(), headers=headers)
