"""What can happen in a log, as frozen values, and the fold that makes an answer of them.

Pure: no await, no clock, no I/O. An event has no identity; its position belongs to the log.
A log is `start`, then any `wait`s, then content, then exactly one ending, which is last.
Events carry nothing of a caller: one log can serve many.
"""

from collections.abc import Iterable
from typing import Any, ClassVar, Literal

import msgspec

from streamapi.errors import Problem, Unauthenticated

Part = Literal["text", "code", "explanation", "thought"]
FinishReason = Literal["stop", "length"]
Status = Literal["running", "done", "failed", "cancelled"]


class Usage(msgspec.Struct, frozen=True):
    """Tokens, as the provider counted them. `output_tokens` include thoughts."""

    input_tokens: int = 0
    output_tokens: int = 0
    thought_tokens: int = 0


class Timings(msgspec.Struct, frozen=True):
    """Milliseconds since the generation began; `first_token_ms` is null without content."""

    queue_ms: int = 0
    first_token_ms: int | None = None
    total_ms: int = 0


class Served(msgspec.Struct, frozen=True):
    """The model that answered, as the provider names it, and the parameters it does not take."""

    model: str
    dropped: tuple[str, ...] = ()


class Event(msgspec.Struct, frozen=True):
    """The base of all events. `type` is its name on every wire."""

    type: ClassVar[str]


class Start(Event, frozen=True):
    """Always at position 1. `created` is when the log began, in seconds since 1970."""

    type = "start"
    task: str
    created: float


class Wait(Event, frozen=True):
    """Why there is no content yet; `delay` in seconds, `attempt` the one that comes next."""

    type = "wait"
    reason: Literal["queued", "retry", "fallback"]
    attempt: int
    delay: float
    model: str


class Delta(Event, frozen=True, gc=False):
    """A piece of content: the next characters of one part of the answer."""

    type = "delta"
    text: str
    part: Part


class Label(Event, frozen=True, gc=False):
    """One label of a classification, as soon as it is known; `score` in 0..1."""

    type = "label"
    label: str
    score: float


class Done(Event, frozen=True):
    """The answer is complete. `result` has the shape of its task; `began` is when the log did, in
    seconds since 1970."""

    type = "done"
    result: dict[str, Any]
    usage: Usage
    finish_reason: FinishReason
    served: Served
    timings: Timings
    began: float


class Failed(Event, frozen=True):
    """The answer failed. The content before this event stands."""

    type = "failed"
    problem: Problem
    usage: Usage = Usage()


class Cancelled(Event, frozen=True):
    """The caller cancelled, or every reader left."""

    type = "cancelled"
    by: Literal["caller", "disconnect"]
    usage: Usage = Usage()


Ending = Done | Failed | Cancelled


def let_go(why: Literal["caller", "disconnect", "revoked"], usage: Usage | None = None) -> Ending:
    """The ending of a log, or of one generation on it, that was released for this reason."""
    if why == "revoked":
        error = Unauthenticated("The key that began this was revoked, or has expired.")
        return Failed(error.problem(), usage or Usage())
    return Cancelled(why, usage or Usage())


ENDINGS = (Done, Failed, Cancelled)
CONTENT = (Delta, Label)
EVENTS: tuple[type[Event], ...] = (Start, Wait, Delta, Label, Done, Failed, Cancelled)

_encoder = msgspec.json.Encoder()


def encode(value: object) -> bytes:
    """The value as one line of JSON.

    JSON escapes CR, LF and the other control characters. The line breaks of Unicode (U+0085,
    U+2028, U+2029) occur only inside strings, so this replaces their bytes by escapes. Then every
    reader sees one line, whatever it takes for a line break.
    """
    data = _encoder.encode(value)
    if b"\xe2\x80" in data:
        data = data.replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029")
    if b"\xc2\x85" in data:
        data = data.replace(b"\xc2\x85", b"\\u0085")
    return data


class Fold(msgspec.Struct, frozen=True):
    """What a log says as a whole, up to now."""

    status: Status
    result: dict[str, Any] | None
    ending: Ending | None


def fold(events: Iterable[Event]) -> Fold:
    """The events of a log, from its start, as an answer.

    `done` carries the task's own result. Without it the result is what came: the text of each
    part under the part's name, and the labels.
    """
    parts: dict[str, list[str]] = {}
    labels: list[dict[str, Any]] = []
    for event in events:
        if isinstance(event, Delta):
            parts.setdefault(event.part, []).append(event.text)
        elif isinstance(event, Label):
            labels.append({"label": event.label, "score": event.score})
        elif isinstance(event, Done):
            return Fold("done", event.result, event)
        elif isinstance(event, Failed | Cancelled):
            status: Status = "failed" if isinstance(event, Failed) else "cancelled"
            return Fold(status, _partial(parts, labels), event)
    return Fold("running", _partial(parts, labels), None)


def _partial(parts: dict[str, list[str]], labels: list[dict[str, Any]]) -> dict[str, Any] | None:
    result: dict[str, Any] = {name: "".join(texts) for name, texts in parts.items()}
    if labels:
        result["labels"] = labels
    return result or None
