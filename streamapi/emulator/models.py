"""The models of the emulator.

A model is a name and two bounds. The other fields of Google's `models` resource
are the same for all. A retired name (`gemini-2.0-flash`) is not in the table, so
it gets a 404, as from Google.
"""

from dataclasses import dataclass
from typing import Any

from .wire import Refusal

__all__ = ["MODELS", "Model", "find"]


@dataclass(frozen=True, slots=True)
class Model:
    """One model: its id, its title, and its bounds in tokens."""

    id: str
    title: str
    input_tokens: int = 1_048_576
    output_tokens: int = 65_536

    def resource(self) -> dict[str, Any]:
        """The model as `GET /v1beta/models/{model}` shows it."""
        return {
            "name": f"models/{self.id}",
            "version": "001",
            "displayName": self.title,
            "description": f"{self.title}, played by an emulator.",
            "inputTokenLimit": self.input_tokens,
            "outputTokenLimit": self.output_tokens,
            "supportedGenerationMethods": ["generateContent", "countTokens"],
            "temperature": 1,
            "topP": 0.95,
            "topK": 64,
            "maxTemperature": 2,
            "thinking": True,
        }


MODELS = {
    model.id: model
    for model in (
        Model("gemini-3.8-flash", "Gemini 3.8 Flash"),
        Model("gemini-3.5-flash-lite", "Gemini 3.5 Flash-Lite"),
        Model("gemini-3.5-flash", "Gemini 3.5 Flash"),
    )
}


def find(name: str, method: str) -> Model:
    """The model of this name. Raises Google's 404."""
    if name in MODELS:
        return MODELS[name]
    raise Refusal(
        404,
        f"models/{name} is not found for API version v1beta, or is not supported for {method}. "
        "Call ListModels to see the list of available models and their supported methods.",
    )
