"""OpenAPI."""

from quart import Quart

from streamapi.api.services import Services


def register(app: Quart, parts: Services) -> None:
    """Serve the documentation."""
