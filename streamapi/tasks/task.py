"""What a task is made of: a request model, a prompt for the language model, a parser that reads
the answer as it arrives, and a result model.
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
"""Characters of a prompt. A longer one is refused before a model is asked."""


def _no_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain the character U+0000")
    return text


Text = Annotated[str, AfterValidator(_no_nul)]
Prose = Annotated[Text, StringConstraints(min_length=1, max_length=MAX_PROMPT)]
"""Text that a person writes: 1 to 100,000 characters, without U+0000."""

Short = Annotated[Text, StringConstraints(min_length=1, max_length=200)]
MetadataKey = Annotated[Text, StringConstraints(min_length=1, max_length=64)]
MetadataValue = Annotated[Text, StringConstraints(max_length=512)]


class TaskRequest(BaseModel):
    """The fields that every task takes. Unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", title="TaskRequest")

    model: Short | None = Field(
        None, description="A model of the catalogue (`GET /v1/models`). Default: the task's model."
    )
    temperature: float | None = Field(
        None,
        ge=0,
        le=2,
        description="A model that takes no temperature answers without it, and the answer lists it "
        "in `model.dropped`.",
    )
    max_output_tokens: int | None = Field(
        None,
        ge=1,
        le=1_000_000,
        description="The most tokens of the answer. One that is cut has the `finish_reason` "
        "`length`.",
    )
    stop: list[Short] | None = Field(
        None, max_length=5, description="Strings at which the model stops writing."
    )
    include_thoughts: bool = Field(
        False, description="Send the model's thoughts too, as deltas of the part `thought`."
    )
    metadata: dict[MetadataKey, MetadataValue] = Field(
        default_factory=dict,
        max_length=16,
        description="Your own data, which the answer returns unchanged.",
    )
    cache: Literal["use", "refresh", "off"] | None = Field(
        None,
        description="`use` returns an earlier answer to the same request, `refresh` makes a new "
        "answer and stores it, `off` does neither. Default: `use` for classification, else `off`.",
    )
    on_disconnect: Literal["grace", "cancel", "continue"] | None = Field(
        None,
        description="What happens when the last reader disconnects: `grace` (the default) waits "
        "some seconds for a reader and then stops, `cancel` stops at once, `continue` writes the "
        "answer to its end.",
    )


R = TypeVar("R", bound=TaskRequest)


@dataclass(frozen=True)
class Task(Generic[R]):
    """One task. `prompt` and `parser` make the prompt for a request and a parser for one answer.
    `result` describes the result, for the documentation. `example` is a request that the
    documentation and the demo page show. With `fast` the default model is `STREAMAPI_FAST_MODEL`.
    `thinking`, `temperature`, `max_output_tokens` and `cache` apply where a request does not set
    them. `order` sorts the tasks."""

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

    def prompt_fields(self, request: R) -> dict[str, Any]:
        """The arguments of `Prompt` that every task takes from a request, with this task's
        defaults."""
        return {
            "temperature": request.temperature,
            "preferred_temperature": self.temperature,
            "max_output_tokens": request.max_output_tokens or self.max_output_tokens,
            "stop": tuple(request.stop or ()),
            "include_thoughts": request.include_thoughts,
            "thinking": self.thinking,
        }
