"""The catalogue, in the shape that OpenAI's clients expect."""

from datetime import UTC, datetime
from typing import Any

from quart import Blueprint, Response

from streamapi.api.context import services
from streamapi.errors import NotFound
from streamapi.generation.event import encode
from streamapi.providers.catalogue import ModelCard

routes = Blueprint("models", __name__, url_prefix="/v1/models")


@routes.get("")
async def models() -> Response:
    """Every model that may be asked for, retired names included."""
    cards = services().catalogue.cards.values()
    return _json({"object": "list", "data": [_shown(card) for card in cards]})


@routes.get("/<model_id>")
async def model(model_id: str) -> Response:
    """One model of the catalogue."""
    card = services().catalogue.cards.get(model_id)
    if card is None:
        raise NotFound("The catalogue has no model of this name.")
    return _json(_shown(card))


def _shown(card: ModelCard) -> dict[str, Any]:
    released = datetime.fromisoformat(card.created).replace(tzinfo=UTC)
    return {
        "id": card.id,
        "object": "model",
        "created": int(released.timestamp()),
        "owned_by": "google",
        "title": card.title,
        "input_tokens": card.input_tokens,
        "output_tokens": card.output_tokens,
        "takes_temperature": card.temperature,
        "thinking_levels": card.thinking,
        "successor": card.successor,
    }


def _json(body: dict[str, Any]) -> Response:
    return Response(encode(body), headers={"Content-Type": "application/json"})
