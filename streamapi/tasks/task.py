"""What a task is made of: what may be asked (a request model), how a model is asked (a prompt),
how its answer is read (an incremental parser), and what comes of it (a result).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from streamapi.generation.model import Parser, Prompt, ThinkingLevel

RESERVED = frozenset(
    {"batches", "chat", "generations", "keys", "models", "tickets", "usage", "webhooks", "ws"}
)
"""First path segments of `/v1` that belong to other resources."""

MAX_PROMPT = 100_000
"""Characters of a prompt; a longer one is refused before any model sees it."""


def _no_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain the character U+0000")
    return text


Text = Annotated[str, AfterValidator(_no_nul)]
Prose = Annotated[Text, StringConstraints(min_length=1, max_length=MAX_PROMPT)]
"""What a person writes: 1 to 100,000 characters, without U+0000."""

Short = Annotated[Text, StringConstraints(min_length=1, max_length=200)]
MetadataKey = Annotated[Text, StringConstraints(min_length=1, max_length=64)]
MetadataValue = Annotated[Text, StringConstraints(max_length=512)]


class TaskRequest(BaseModel):
    """The fields that every task takes. Unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", title="TaskRequest")

    model: Short | None = Field(
        None, description="A model of the catalogue (`GET /v1/models`). Default: the task's own."
    )
    temperature: float | None = Field(
        None, ge=0, le=2, description="Dropped, and said so, where the model does not take it."
    )
    max_output_tokens: int | None = Field(
        None, ge=1, le=1_000_000, description="The answer ends with `length` at this bound."
    )
    stop: list[Short] | None = Field(
        None, max_length=5, description="Strings at which the model stops."
    )
    include_thoughts: bool = Field(
        False, description="Pass on the model's thoughts, as parts named `thought`."
    )
    metadata: dict[MetadataKey, MetadataValue] = Field(
        default_factory=dict, max_length=16, description="Yours; returned untouched."
    )
    cache: Literal["use", "refresh", "off"] | None = Field(
        None,
        description="Whether an answer that you were given before will do (`use`), a new one is "
        "wanted and kept (`refresh`), or neither (`off`). Default: `use` for classification.",
    )
    on_disconnect: Literal["grace", "cancel", "continue"] | None = Field(
        None,
        description="When the last reader leaves: wait a few seconds for its return (`grace`, "
        "the default), stop at once (`cancel`), or write on (`continue`).",
    )


R = TypeVar("R", bound=TaskRequest)


@dataclass(frozen=True)
class Task(Generic[R]):
    """One task. `result` is the model of its result, for the documentation; `fast` asks for the
    cheap, quick model of the settings. `thinking`, `temperature` and `max_output_tokens` are
    what the model is told where the request does not say, `cache` what is done then."""

    name: str
    title: str
    description: str
    request: type[R]
    result: type[BaseModel]
    prompt: Callable[[R], Prompt]
    parser: Callable[[R], Parser]
    example: dict[str, Any]
    fast: bool = False
    thinking: ThinkingLevel = "low"
    temperature: float | None = None
    max_output_tokens: int = 8192
    cache: Literal["use", "off"] = "off"
    order: int = 100

    def asked(self, request: R) -> dict[str, Any]:
        """The common fields of a request, with the task's defaults, as arguments of `Prompt`."""
        return {
            "temperature": request.temperature,
            "preferred_temperature": self.temperature,
            "max_output_tokens": request.max_output_tokens or self.max_output_tokens,
            "stop": tuple(request.stop or ()),
            "include_thoughts": request.include_thoughts,
            "thinking": self.thinking,
        }
