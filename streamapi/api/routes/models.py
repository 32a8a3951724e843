"""The models, in the shape that OpenAI's clients expect."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct
from quart import Blueprint, Response

from streamapi.api.authentication import any_scope
from streamapi.api.context import services
from streamapi.api.description import CATALOGUE, Description, Reply
from streamapi.api.responses import json_response
from streamapi.errors import NotFound
from streamapi.providers.catalogue import ModelCard

routes = Blueprint("models", __name__, url_prefix="/v1/models")


class Model(Struct, kw_only=True):
    """A model. If it has been retired, its `successor` answers in its place."""

    id: str
    object: Literal["model"]
    created: Annotated[int, Meta(description="Seconds since 1970.")]
    owned_by: str
    title: str
    input_tokens: int
    output_tokens: int
    takes_temperature: bool
    thinking_levels: list[str]
    successor: str | None


class ModelList(Struct, kw_only=True):
    """Every model that a request can name."""

    object: Literal["list"]
    data: list[Model]


@routes.get("")
@Description("list_models", CATALOGUE, {200: Reply("Every model.", ModelList)})
@any_scope("any task can name a model")
async def models() -> Response:
    """List the models, with those that have been retired."""
    cards = services().catalogue.cards.values()
    return json_response(ModelList(object="list", data=[_shown(card) for card in cards]))


@routes.get("/<model_id>")
@Description("get_model", CATALOGUE, {200: Reply("The model.", Model)}, fails=(NotFound,))
@any_scope("any task can name a model")
async def model(model_id: str) -> Response:
    """Get one model."""
    card = services().catalogue.cards.get(model_id)
    if card is None:
        raise NotFound("There is no model of this name: `GET /v1/models` lists the models.")
    return json_response(_shown(card))


def _shown(card: ModelCard) -> Model:
    released = datetime.fromisoformat(card.created).replace(tzinfo=UTC)
    return Model(
        id=card.id,
        object="model",
        created=int(released.timestamp()),
        owned_by="google",
        title=card.title,
        input_tokens=card.input_tokens,
        output_tokens=card.output_tokens,
        takes_temperature=card.temperature,
        thinking_levels=list(card.thinking),
        successor=card.successor,
    )
