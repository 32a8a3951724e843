"""The script: what will be played, as plain values.

An answer is a `Reply`: text cut into pieces, an end, and the figures Google
tells with each message. A script is a row of *acts*, mostly `Say`; a fault is
another row of acts made of the same reply. Nothing here waits or writes: the
stage plays a script to a client, and folds it where one body is asked for.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .wire import Message, Refusal

__all__ = [
    "Act",
    "Close",
    "Fail",
    "Garble",
    "Half",
    "Hang",
    "Refuse",
    "Reply",
    "Reset",
    "Say",
    "fold",
]


@dataclass(frozen=True, slots=True)
class Say:
    """One message; `escaped` writes it in ASCII."""

    message: Message
    escaped: bool = False


@dataclass(frozen=True, slots=True)
class Refuse:
    """An HTTP error in place of an answer."""

    refusal: Refusal
    html: bool = False


@dataclass(frozen=True, slots=True)
class Fail:
    """An error as a message of a stream that has the status 200."""

    refusal: Refusal


@dataclass(frozen=True, slots=True)
class Garble:
    """A frame that is not JSON."""

    text: bytes = b'{"candidates": [{"content": oops'


@dataclass(frozen=True, slots=True)
class Half:
    """The first half of a message's frame."""

    message: Message


@dataclass(frozen=True, slots=True)
class Close:
    """The connection closed as if all were well (FIN)."""


@dataclass(frozen=True, slots=True)
class Reset:
    """The connection torn down (RST)."""


@dataclass(frozen=True, slots=True)
class Hang:
    """Silence until the client leaves."""


Act = Say | Refuse | Fail | Garble | Half | Close | Reset | Hang


def tokens(length: int) -> int:
    """About four characters make a token."""
    return -(-length // 4)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, ready to be said: thoughts, then pieces of text, then the end."""

    model: str
    id: str
    prompt_tokens: int
    thoughts: Sequence[str]
    pieces: Sequence[str]
    finish: str = "STOP"
    escaped: bool = False

    def thinking(self) -> Iterator[Say]:
        """The thought parts."""
        for index, thought in enumerate(self.thoughts, 1):
            parts = [{"text": thought, "thought": True}]
            yield self._say(parts, None, self._thought_chars(index), 0)

    def text(self, upto: int | None = None) -> Iterator[Say]:
        """The text up to so many pieces, without an end."""
        chars = 0
        for piece in self.pieces[:upto]:
            chars += len(piece)
            yield self._say([{"text": piece}], None, self._thought_chars(), chars)

    def whole(self, finish: str | None = None, upto: int | None = None) -> Iterator[Say]:
        """Thoughts and text up to so many pieces; the last message has the finish reason."""
        yield from self.thinking()
        *rest, last = self.pieces[:upto] or [""]
        yield from self.text(len(rest))
        chars = sum(map(len, rest)) + len(last)
        parts = [{"text": last}] if last else None
        yield self._say(parts, finish or self.finish, self._thought_chars(), chars)

    def following(self, index: int) -> Message:
        """The message that holds the piece at that index, or an empty one behind the last."""
        chars = sum(map(len, self.pieces[: index + 1]))
        text = "".join(self.pieces[index : index + 1])
        return self._say([{"text": text}], None, self._thought_chars(), chars).message

    def blocked(self) -> Say:
        """The message of a prompt that was refused: feedback, and no candidate."""
        feedback = {"blockReason": "SAFETY", "safetyRatings": [DANGER]}
        return Say({"promptFeedback": feedback, **self._envelope(0, 0)})

    def _say(
        self, parts: list[dict[str, Any]] | None, finish: str | None, thought: int, chars: int
    ) -> Say:
        content = {"parts": parts, "role": "model"} if parts else {"role": "model"}
        candidate: dict[str, Any] = {"content": content}
        if finish:
            candidate["finishReason"] = finish
        if finish == "SAFETY":
            candidate["safetyRatings"] = [DANGER]
        candidate["index"] = 0
        message = {"candidates": [candidate], **self._envelope(thought, chars)}
        return Say(message, self.escaped and _astral(parts))

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


def fold(says: Sequence[Say]) -> Say:
    """A row of messages as the one that `generateContent` gives."""
    message = dict(says[-1].message)
    if "candidates" not in message:
        return says[-1]
    candidate = dict(message["candidates"][0])
    parts = [part for say in says for part in _parts(say.message)]
    joined = [
        {"text": text, **extra}
        for extra in ({"thought": True}, {})
        if (text := "".join(p["text"] for p in parts if ("thought" in p) == bool(extra)))
    ]
    candidate["content"] = {"parts": joined, "role": "model"} if joined else {"role": "model"}
    message["candidates"] = [candidate]
    return Say(message, any(say.escaped for say in says))


def _parts(message: Message) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = message["candidates"][0]["content"].get("parts", [])
    return parts


def _astral(parts: list[dict[str, Any]] | None) -> bool:
    """Whether a part has what UTF-16 writes as surrogates (or half of such a pair)."""
    return any(c > "\uffff" or "\ud800" <= c <= "\udfff" for p in parts or () for c in p["text"])
