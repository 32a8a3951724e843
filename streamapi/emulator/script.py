"""The script of a response: a list of steps, as plain values.

A `Reply` is an answer in pieces, with its end and the usage that Google sends
with each message. A script is a list of steps, mostly `Send`; a fault makes other
steps of the same reply. Nothing here waits or writes. The player plays a script
to a client, or folds it into one body.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .wire import Message, Refusal

__all__ = [
    "Close",
    "Hang",
    "Refuse",
    "Reply",
    "Reset",
    "Send",
    "SendError",
    "SendHalf",
    "SendInvalidJson",
    "Step",
    "fold",
]


@dataclass(frozen=True, slots=True)
class Send:
    """Send one message. `escaped`: in ASCII."""

    message: Message
    escaped: bool = False


@dataclass(frozen=True, slots=True)
class Refuse:
    """Send an HTTP error instead of an answer."""

    refusal: Refusal
    html: bool = False


@dataclass(frozen=True, slots=True)
class SendError:
    """Send an error as a message of a stream with status 200."""

    refusal: Refusal


@dataclass(frozen=True, slots=True)
class SendInvalidJson:
    """Send a frame that is not JSON."""

    text: bytes = b'{"candidates": [{"content": oops'


@dataclass(frozen=True, slots=True)
class SendHalf:
    """Send the first half of a message's frame."""

    message: Message


@dataclass(frozen=True, slots=True)
class Close:
    """Close the connection normally (FIN)."""


@dataclass(frozen=True, slots=True)
class Reset:
    """Reset the connection (RST)."""


@dataclass(frozen=True, slots=True)
class Hang:
    """Send nothing until the client leaves."""


Step = Send | Refuse | SendError | SendInvalidJson | SendHalf | Close | Reset | Hang


def tokens(length: int) -> int:
    """An estimate of the tokens in so many characters: one for each four."""
    return -(-length // 4)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer in pieces: thoughts, then text, then the finish reason."""

    model: str
    id: str
    prompt_tokens: int
    thoughts: Sequence[str]
    pieces: Sequence[str]
    finish: str = "STOP"
    escaped: bool = False

    def thinking(self) -> Iterator[Send]:
        """The messages of the thoughts."""
        for index, thought in enumerate(self.thoughts, 1):
            parts = [{"text": thought, "thought": True}]
            yield self._send(parts, None, self._thought_chars(index), 0)

    def text(self, upto: int | None = None) -> Iterator[Send]:
        """The messages of the first `upto` pieces of text, without a finish reason."""
        chars = 0
        for piece in self.pieces[:upto]:
            chars += len(piece)
            yield self._send([{"text": piece}], None, self._thought_chars(), chars)

    def whole(self, finish: str | None = None, upto: int | None = None) -> Iterator[Send]:
        """The messages of the thoughts and the first `upto` pieces. The last one has the finish
        reason."""
        yield from self.thinking()
        *rest, last = self.pieces[:upto] or [""]
        yield from self.text(len(rest))
        chars = sum(map(len, rest)) + len(last)
        parts = [{"text": last}] if last else None
        yield self._send(parts, finish or self.finish, self._thought_chars(), chars)

    def following(self, index: int) -> Message:
        """The message of the piece at that index, or an empty message after the last piece."""
        chars = sum(map(len, self.pieces[: index + 1]))
        text = "".join(self.pieces[index : index + 1])
        return self._send([{"text": text}], None, self._thought_chars(), chars).message

    def blocked(self) -> Send:
        """The message for a blocked prompt: it has feedback, and no candidate."""
        feedback = {"blockReason": "SAFETY", "safetyRatings": [DANGER]}
        return Send({"promptFeedback": feedback, **self._envelope(0, 0)})

    def _send(
        self, parts: list[dict[str, Any]] | None, finish: str | None, thought: int, chars: int
    ) -> Send:
        content = {"parts": parts, "role": "model"} if parts else {"role": "model"}
        candidate: dict[str, Any] = {"content": content}
        if finish:
            candidate["finishReason"] = finish
        if finish == "SAFETY":
            candidate["safetyRatings"] = [DANGER]
        candidate["index"] = 0
        message = {"candidates": [candidate], **self._envelope(thought, chars)}
        return Send(message, self.escaped and _astral(parts))

    def _thought_chars(self, upto: int | None = None) -> int:
        return sum(map(len, self.thoughts[:upto]))

    def _envelope(self, thought: int, chars: int) -> dict[str, Any]:
        usage: dict[str, Any] = {"promptTokenCount": self.prompt_tokens}
        if chars:
            usage["candidatesTokenCount"] = tokens(chars)
        usage["totalTokenCount"] = self.prompt_tokens + tokens(chars) + tokens(thought)
        usage["promptTokensDetails"] = [{"modality": "TEXT", "tokenCount": self.prompt_tokens}]
        if thought:
            usage["thoughtsTokenCount"] = tokens(thought)
        return {"usageMetadata": usage, "modelVersion": self.model, "responseId": self.id}


DANGER = {
    "category": "HARM_CATEGORY_DANGEROUS_CONTENT",
    "probability": "HIGH",
    "blocked": True,
}


def fold(sends: Sequence[Send]) -> Send:
    """The messages of a stream as the one message of `generateContent`."""
    message = dict(sends[-1].message)
    if "candidates" not in message:
        return sends[-1]
    candidate = dict(message["candidates"][0])
    parts = [part for say in sends for part in _parts(say.message)]
    joined = [
        {"text": text, **extra}
        for extra in ({"thought": True}, {})
        if (text := "".join(p["text"] for p in parts if ("thought" in p) == bool(extra)))
    ]
    candidate["content"] = {"parts": joined, "role": "model"} if joined else {"role": "model"}
    message["candidates"] = [candidate]
    return Send(message, any(say.escaped for say in sends))


def _parts(message: Message) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = message["candidates"][0]["content"].get("parts", [])
    return parts


def _astral(parts: list[dict[str, Any]] | None) -> bool:
    """Whether a part has characters that UTF-16 writes as surrogates, or a lone surrogate."""
    return any(c > "\uffff" or "\ud800" <= c <= "\udfff" for p in parts or () for c in p["text"])
