"""Text: a prompt or a conversation in, prose out, sent as it arrives."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from streamapi.generation.event import Delta, Event
from streamapi.generation.model import Message, Prompt
from streamapi.tasks.task import MAX_PROMPT, Prose, Task, TaskRequest, Text


class ChatMessage(BaseModel):
    """One message of a conversation."""

    model_config = ConfigDict(extra="forbid")

    role: Literal["user", "assistant"]
    content: Prose


class TextRequest(TaskRequest):
    """Either `prompt`, or `messages` that end with a message of the user."""

    model_config = ConfigDict(title="TextRequest")

    prompt: Prose | None = Field(
        None, description="What to write about.", json_schema_extra={"x-multiline": True}
    )
    messages: list[ChatMessage] | None = Field(
        None, min_length=1, max_length=200, description="The conversation so far."
    )
    system: Text | None = Field(
        None,
        max_length=MAX_PROMPT,
        description="Instructions to the model, such as a style.",
        json_schema_extra={"x-multiline": True},
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> "TextRequest":
        if self.prompt is None and self.messages is None:
            raise ValueError("`prompt` or `messages` is required")
        if self.prompt is not None and self.messages is not None:
            raise ValueError("give either `prompt` or `messages`, not both")
        if self.messages and self.messages[-1].role != "user":
            raise ValueError("`messages` must end with a message of the role `user`")
        if sum(len(message.content) for message in self.messages or ()) > MAX_PROMPT:
            raise ValueError(f"`messages` have more than {MAX_PROMPT:,} characters together")
        return self


class TextResult(BaseModel):
    """`text` is the text of all deltas together."""

    text: str


class TextParser:
    """Sends every piece of text as it arrives."""

    def __init__(self) -> None:
        self._pieces: list[str] = []

    def feed(self, text: str) -> list[Event]:
        self._pieces.append(text)
        return [Delta(text, "text")]

    def flush(self) -> list[Event]:
        return []

    def result(self) -> dict[str, Any]:
        return {"text": "".join(self._pieces)}


def prompt(request: TextRequest) -> Prompt:
    if request.messages is not None:
        messages = tuple(Message(message.role, message.content) for message in request.messages)
    else:
        messages = (Message("user", request.prompt or ""),)
    return Prompt(messages, system=request.system or None, **TASK.prompt_fields(request))


TASK = Task(
    name="text",
    title="Text",
    description="Writes text from a prompt or a conversation.",
    request=TextRequest,
    result=TextResult,
    prompt=prompt,
    parser=lambda request: TextParser(),
    example={"prompt": "Explain how rainbows form, in two paragraphs."},
    order=1,
)
