"""The faults, in one table: name, meaning, and the script that each makes of a reply.

A fault is a function from a reply, and from the number of chunks before the
fault, to steps. The table is the documentation, the validation and the
dispatch. A `WantedFault` is a fault with the parameters that a client gave.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

from .script import (
    Close,
    Hang,
    Refuse,
    Reply,
    Reset,
    Send,
    SendError,
    SendHalf,
    SendInvalidJson,
    Step,
)
from .wire import Refusal

__all__ = ["FAULTS", "Fault", "WantedFault", "table", "wanted_fault"]

#: Chunks of text before a fault, unless the client says how many.
AFTER = 3
#: Seconds of `429_delay`, unless the client says how many.
DELAY = 1.0
#: The largest number that a client can give.
MAX_COUNT = 1_000_000


@dataclass(frozen=True, slots=True)
class WantedFault:
    """A fault that a client asked for. `times`: None for all calls. `model`: None for every one."""

    fault: "Fault"
    after: int = AFTER
    delay: float | None = None
    times: int | None = None
    model: str | None = None

    def applies_to(self, model: str) -> bool:
        """Whether the client wants this fault for calls of this model."""
        return self.model is None or self.model == model

    def play(self, reply: Reply) -> Iterator[Step]:
        """The script of this fault."""
        return iter(self.fault.play(reply, self))


Play = Callable[[Reply, WantedFault], Iterable[Step]]


def _as_it_is(reply: Reply, wanted: WantedFault) -> Iterable[Step]:
    return reply.whole()


@dataclass(frozen=True, slots=True)
class Fault:
    """One row of the table. The flags change how the answer is made or written."""

    name: str
    meaning: str
    play: Play = _as_it_is
    thinks: bool = False
    hostile: bool = False
    bytewise: bool = False


def _refuses(code: int, message: str, delay: float | None = None, html: bool = False) -> Play:
    def play(reply: Reply, wanted: WantedFault) -> Iterable[Step]:
        wait = delay if wanted.delay is None else wanted.delay
        return [Refuse(Refusal(code, message, wait), html)]

    return play


def _at_once(*steps: Step) -> Play:
    return lambda reply, wanted: steps


def _after_text(*steps: Step) -> Play:
    return lambda reply, wanted: chain(reply.thinking(), reply.text(wanted.after), steps)


def _ends(finish: str) -> Play:
    return lambda reply, wanted: reply.whole(finish, wanted.after)


def _ends_at_once(finish: str) -> Play:
    return lambda reply, wanted: reply.whole(finish, 0)


def _blocked(reply: Reply, wanted: WantedFault) -> Iterable[Step]:
    return [reply.blocked()]


def _cut(reply: Reply, wanted: WantedFault) -> Iterable[Step]:
    half = SendHalf(reply.following(wanted.after))
    return chain(reply.thinking(), reply.text(wanted.after), [half, Close()])


def _garbled(reply: Reply, wanted: WantedFault) -> Iterable[Step]:
    sends: list[Send] = list(reply.whole())
    after = min(wanted.after + len(reply.thoughts), len(sends))
    return chain(sends[:after], [SendInvalidJson()], sends[after:])


OVERLOADED = "The model is overloaded. Please try again later."
EXHAUSTED = "Resource has been exhausted (e.g. check quota)."

FAULTS = {
    fault.name: fault
    for fault in (
        Fault("400", "HTTP 400", _refuses(400, "Request contains an invalid argument.")),
        Fault("401", "HTTP 401", _refuses(401, "Request had invalid authentication credentials.")),
        Fault("403", "HTTP 403", _refuses(403, "The caller does not have permission.")),
        Fault("404", "HTTP 404", _refuses(404, "Requested entity was not found.")),
        Fault("429", "HTTP 429 without a delay", _refuses(429, EXHAUSTED)),
        Fault(
            "429_delay",
            "HTTP 429 with RetryInfo and Retry-After of `delay` seconds",
            _refuses(429, EXHAUSTED, DELAY),
        ),
        Fault("500", "HTTP 500", _refuses(500, "An internal error has occurred.")),
        Fault("503", "HTTP 503", _refuses(503, OVERLOADED)),
        Fault(
            "html",
            "HTTP 502 with a page of HTML",
            _refuses(502, "502. That's an error.", html=True),
        ),
        Fault(
            "error_before_text",
            "a stream with status 200 whose first message is an error 503",
            _at_once(SendError(Refusal(503, OVERLOADED))),
        ),
        Fault(
            "error_after_text",
            "an error 503 as a message, after `after` chunks",
            _after_text(SendError(Refusal(503, OVERLOADED))),
        ),
        Fault(
            "no_finish", "a clean end without a finish reason, after `after` chunks", _after_text()
        ),
        Fault("reset", "a reset of the connection (RST) before any byte", _at_once(Reset())),
        Fault(
            "reset_after_text",
            "a reset of the connection (RST) after `after` chunks",
            _after_text(Reset()),
        ),
        Fault("cut_chunk", "a close in the middle of a frame, after `after` chunks", _cut),
        Fault("bad_json", "a frame that is not JSON, after `after` chunks", _garbled),
        Fault("hang", "silence after the request: not even headers", _at_once(Hang())),
        Fault("hang_after_text", "silence after `after` chunks", _after_text(Hang())),
        Fault("blocked_prompt", "promptFeedback.blockReason SAFETY, no candidates", _blocked),
        Fault("safety", "`after` chunks, then finishReason SAFETY", _ends("SAFETY")),
        Fault("safety_before_text", "finishReason SAFETY and no text", _ends_at_once("SAFETY")),
        Fault("recitation", "`after` chunks, then finishReason RECITATION", _ends("RECITATION")),
        Fault("max_tokens", "`after` chunks, then finishReason MAX_TOKENS", _ends("MAX_TOKENS")),
        Fault("thoughts", "thoughts before the text, also when nobody asks for them", thinks=True),
        Fault("empty", "finishReason STOP and no text", _ends_at_once("STOP")),
        Fault("one_byte", "a normal answer, one byte per packet", bytewise=True),
        Fault(
            "hostile",
            "a normal answer with line breaks of all kinds, control characters, surrogate "
            "escapes, `data:` lines and script tags in its text",
            hostile=True,
        ),
    )
}


def table() -> str:
    """The table, as lines of text."""
    return "\n".join(f"    {fault.name:<20}{fault.meaning}" for fault in FAULTS.values())


def wanted_fault(name: object, /, **keys: Any) -> WantedFault:
    """The fault that a client describes. Raises `ValueError` with a sentence for the client."""
    fault = FAULTS.get(name) if isinstance(name, str) else None
    if fault is None:
        raise ValueError(f"Unknown fault {name!r}. The faults are: {', '.join(FAULTS)}.")
    if unknown := keys.keys() - {"after", "delay", "times", "model"}:
        raise ValueError(f"Unknown key {min(unknown)!r}. The keys are: after, delay, times, model.")
    model = keys.pop("model", None)
    if model is not None and not isinstance(model, str):
        raise ValueError(f"model must be the name of a model, not {model!r:.40}.")
    numbers = {key: _number(key, value) for key, value in keys.items() if value is not None}
    return WantedFault(
        fault,
        after=int(numbers.get("after", AFTER)),
        delay=numbers.get("delay"),
        times=int(numbers["times"]) if "times" in numbers else None,
        model=model,
    )


def _number(key: str, value: object) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not 0 <= number <= MAX_COUNT:
        raise ValueError(f"{key} must be a number from 0 to {MAX_COUNT}, not {value!r:.40}.")
    return number
