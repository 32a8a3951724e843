"""What the heart knows of a model and of a task: a prompt goes in, chunks come out, a parser
turns their text into events.

A provider implements `Model`, a task implements `Parser`. Errors that a model raises are those
of the contract, as they would be *before* the first content; the producer knows what they mean
after it.
"""

from collections.abc import AsyncGenerator, Sequence
from typing import Any, Literal, Protocol

import msgspec

from streamapi.generation.event import Event, FinishReason, Usage

ThinkingLevel = Literal["minimal", "low", "medium", "high"]


class Message(msgspec.Struct, frozen=True):
    """One turn of a conversation."""

    role: Literal["user", "assistant"]
    content: str


class Prompt(msgspec.Struct, frozen=True):
    """What a model is asked. `schema` is a JSON schema that the answer must obey;
    `preferred_temperature` is the task's, for a caller who did not ask for one."""

    messages: tuple[Message, ...]
    system: str | None = None
    temperature: float | None = None
    preferred_temperature: float | None = None
    max_output_tokens: int | None = None
    stop: tuple[str, ...] = ()
    thinking: ThinkingLevel | None = None
    include_thoughts: bool = False
    schema: dict[str, Any] | None = None


class Chunk(msgspec.Struct, frozen=True, gc=False):
    """One frame of a model's stream. `usage` is cumulative; `finish` is on the last chunk, and a
    stream without it was cut. `blocked` says that the provider's safety system stopped the prompt
    or the answer here."""

    text: str = ""
    thought: str = ""
    finish: FinishReason | None = None
    usage: Usage | None = None
    model: str | None = None
    blocked: bool = False


class Model(Protocol):
    """One model of one provider, ready to be asked."""

    @property
    def name(self) -> str:
        """The name in the catalogue."""

    def dropped(self, prompt: Prompt) -> tuple[str, ...]:
        """The parameters of the prompt that this model does not take."""

    def stream(self, prompt: Prompt) -> AsyncGenerator[Sequence[Chunk], None]:
        """Send the prompt once. Each batch has the chunks that arrived since the one before. To
        close the generator, or cancel the task that waits for its next batch, closes the
        connection within milliseconds.

        Raises `UpstreamUnavailable` for what may pass by itself (with the provider's
        `retry_after`), `ModelGone`, `UpstreamRejected`, `ContextTooLong`.
        """


class Parser(Protocol):
    """Turns the text of one attempt into events, as soon as it is sure of them."""

    def feed(self, text: str) -> list[Event]:
        """The events that this piece of text made certain. Raises `ModelOutputInvalid`."""

    def flush(self) -> list[Event]:
        """What was held back; called once, before any ending."""

    def result(self) -> dict[str, Any]:
        """The task's result, after `flush`. Raises `ModelOutputInvalid`."""


class WaitingParser(Parser, Protocol):
    """A parser that must look something up, which takes time. Until then it holds text back."""

    @property
    def waits(self) -> bool:
        """Whether it cannot go on before `look_up`."""

    async def look_up(self, finished: bool) -> None:
        """Look up what the next `feed` needs; once the model has `finished`, what `flush` and
        `result` need. A parser whose look-up was cancelled, or never called, can still `flush`."""
