"""The catalogue: every model name, what the model accepts, and who serves a retired name."""

from collections.abc import Sequence

import msgspec

from streamapi.errors import ModelNotFound
from streamapi.generation.model import Prompt, ThinkingLevel
from streamapi.settings import Settings, UnsafeSettings, environment_name

MAX_NAME = 100
"""Characters of an unknown model name that the error repeats."""


class ModelCard(msgspec.Struct, frozen=True):
    """A model name, and what the model accepts.

    `created` is the day of the model's release. `input_tokens` and `output_tokens` are the
    provider's bounds. `temperature` says whether the model accepts one. `thinking` has the levels
    that the model accepts, lowest first. A retired name has a `successor`: the name of the model
    that serves it. `provider` is a name of `registry.MODULES`."""

    id: str
    title: str
    created: str
    input_tokens: int = 1_048_576
    output_tokens: int = 65_536
    temperature: bool = True
    thinking: tuple[ThinkingLevel, ...] = ("minimal", "low", "medium", "high")
    successor: str | None = None
    provider: str = "gemini"

    def dropped(self, prompt: Prompt) -> tuple[str, ...]:
        """The parameters of the caller that this model does not accept."""
        return () if self.temperature or prompt.temperature is None else ("temperature",)

    def temperature_for(self, prompt: Prompt) -> float | None:
        """The caller's temperature, else the task's. None when the model accepts none."""
        if not self.temperature:
            return None
        if prompt.temperature is None:
            return prompt.preferred_temperature
        return prompt.temperature

    def thinking_for(self, prompt: Prompt) -> ThinkingLevel | None:
        """The task's level, or the lowest that the model accepts. None when it accepts none."""
        if not self.thinking:
            return None
        return prompt.thinking if prompt.thinking in self.thinking else self.thinking[0]


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
    """The models, by name."""

    def __init__(self, cards: Sequence[ModelCard] = CARDS) -> None:
        self.cards = {card.id: card for card in cards}

    @classmethod
    def of(cls, settings: Settings) -> "Catalogue":
        """The catalogue. Raises `UnsafeSettings` when a setting names a model that it has not."""
        catalogue = cls()
        names = {
            "default_model": (settings.default_model,),
            "fast_model": (settings.fast_model,),
            "fallback_models": settings.fallback_models,
        }
        for setting, wanted in names.items():
            if unknown := [name for name in wanted if name not in catalogue.cards]:
                raise UnsafeSettings(
                    f"{environment_name(setting)} names the model {unknown[0]!r}, which the "
                    f"catalogue does not have. Choose one of {', '.join(catalogue.cards)}."
                )
        return catalogue

    def serving(self, name: str) -> ModelCard:
        """The card of the model that serves this name: its own, or its successor's. Raises
        `ModelNotFound`."""
        card = self.cards.get(name)
        if card is None:
            raise ModelNotFound(
                f"There is no model {name[:MAX_NAME]!r}. GET /v1/models lists the models."
            )
        return self.serving(card.successor) if card.successor else card
