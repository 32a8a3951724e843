"""Which models there are: their ids, bounds, the parameters they take, and the names that were
retired, with who serves them now.
"""

from collections.abc import Sequence

import msgspec

from streamapi.errors import ModelNotFound
from streamapi.generation.model import Prompt, ThinkingLevel


class ModelCard(msgspec.Struct, frozen=True):
    """A model. Bounds are in tokens, `created` is the day of its release. `thinking` are the
    levels it knows, least first; `temperature` whether it obeys one. A retired name has a
    `successor` that serves it."""

    id: str
    title: str
    created: str
    input_tokens: int = 1_048_576
    output_tokens: int = 65_536
    temperature: bool = True
    thinking: tuple[ThinkingLevel, ...] = ("minimal", "low", "medium", "high")
    successor: str | None = None

    def dropped(self, prompt: Prompt) -> tuple[str, ...]:
        """What the caller asked for that this model does not take."""
        return () if self.temperature or prompt.temperature is None else ("temperature",)

    def temperature_for(self, prompt: Prompt) -> float | None:
        """What the caller asked for, else what the task prefers, where the model takes it."""
        if not self.temperature:
            return None
        asked = prompt.temperature
        return prompt.preferred_temperature if asked is None else asked

    def thinking_for(self, prompt: Prompt) -> ThinkingLevel | None:
        """The level that the task wants, or the least that the model knows."""
        if prompt.thinking in self.thinking or not self.thinking:
            return prompt.thinking if self.thinking else None
        return self.thinking[0]


CARDS = (
    ModelCard(
        "gemini-3.8-flash",
        "Gemini 3.8 Flash: text and code",
        "2026-09-02",
        thinking=("low", "medium", "high"),
    ),
    ModelCard(
        "gemini-3.5-flash-lite",
        "Gemini 3.5 Flash-Lite: cheap and fast, for classification",
        "2026-07-21",
        temperature=False,
    ),
    ModelCard("gemini-3.5-flash", "Gemini 3.5 Flash: the one before", "2026-05-19"),
    ModelCard(
        "gemini-2.0-flash",
        "Gemini 2.0 Flash: shut down on 1 June 2026",
        "2025-02-05",
        successor="gemini-3.8-flash",
    ),
)


class Catalogue:
    """The models by name."""

    def __init__(self, cards: Sequence[ModelCard] = CARDS) -> None:
        self.cards = {card.id: card for card in cards}

    def serving(self, name: str) -> ModelCard:
        """The card of the model that serves this name. Raises `ModelNotFound`."""
        card = self.cards.get(name)
        if card is None:
            raise ModelNotFound(f"The catalogue has no model of this name: {name[:100]!r}.")
        return self.serving(card.successor) if card.successor else card
