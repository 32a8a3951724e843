"""The faults, in one table: name, meaning, and the script each makes of a reply.

A fault is a function from a reply (and how many chunks of text come first) to
acts. The table is the documentation, the validation and the dispatch: a fault
that is not in it does not exist. `Order` is one fault as somebody asked for it.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

from .script import Act, Close, Fail, Garble, Half, Hang, Refuse, Reply, Reset, Say
from .wire import Refusal

__all__ = ["FAULTS", "Fault", "Order", "order", "table"]

#: Chunks of text before a fault that comes after text.
AFTER = 3
#: Seconds that `429_delay` names when nobody says how many.
DELAY = 1.0
MAX_COUNT = 1_000_000


@dataclass(frozen=True, slots=True)
class Order:
    """A fault that was asked for; `times` of None is for ever, `model` of None is any."""

    fault: "Fault"
    after: int = AFTER
    delay: float | None = None
    times: int | None = None
    model: str | None = None

    def strikes(self, model: str) -> bool:
        """Whether it is meant for calls of this model."""
        return self.model is None or self.model == model

    def play(self, reply: Reply) -> Iterator[Act]:
        """The script of this fault."""
        return iter(self.fault.play(reply, self))


Play = Callable[[Reply, Order], Iterable[Act]]


def _as_it_is(reply: Reply, order: Order) -> Iterable[Act]:
    return reply.whole()


@dataclass(frozen=True, slots=True)
class Fault:
    """One row of the table; the flags change how the answer is composed or written."""

    name: str
    meaning: str
    play: Play = _as_it_is
    thinks: bool = False
    hostile: bool = False
    bytewise: bool = False


def _refuses(code: int, message: str, delay: float | None = None, html: bool = False) -> Play:
    def play(reply: Reply, order: Order) -> Iterable[Act]:
        wait = delay if order.delay is None else order.delay
        return [Refuse(Refusal(code, message, wait), html)]

    return play


def _at_once(*acts: Act) -> Play:
    return lambda reply, order: acts


def _after_text(*acts: Act) -> Play:
    return lambda reply, order: chain(reply.thinking(), reply.text(order.after), acts)


def _ends(finish: str) -> Play:
    return lambda reply, order: reply.whole(finish, order.after)


def _ends_at_once(finish: str) -> Play:
    return lambda reply, order: reply.whole(finish, 0)


def _blocked(reply: Reply, order: Order) -> Iterable[Act]:
    return [reply.blocked()]


def _cut(reply: Reply, order: Order) -> Iterable[Act]:
    half = Half(reply.following(order.after))
    return chain(reply.thinking(), reply.text(order.after), [half, Close()])


def _garbled(reply: Reply, order: Order) -> Iterable[Act]:
    says: list[Say] = list(reply.whole())
    after = min(order.after + len(reply.thoughts), len(says))
    return chain(says[:after], [Garble()], says[after:])


OVERLOADED = "The model is overloaded. Please try again later."
EXHAUSTED = "Resource has been exhausted (e.g. check quota)."

FAULTS = {
    fault.name: fault
    for fault in (
        Fault("400", "HTTP 400", _refuses(400, "Request contains an invalid argument.")),
        Fault("401", "HTTP 401", _refuses(401, "Request had invalid authentication credentials.")),
        Fault("403", "HTTP 403", _refuses(403, "The caller does not have permission.")),
        Fault("404", "HTTP 404", _refuses(404, "Requested entity was not found.")),
        Fault("429", "HTTP 429 that names no delay", _refuses(429, EXHAUSTED)),
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
            "a 200 stream whose first message is an error 503",
            _at_once(Fail(Refusal(503, OVERLOADED))),
        ),
        Fault(
            "error_after_text",
            "an error 503 as a message, after `after` chunks",
            _after_text(Fail(Refusal(503, OVERLOADED))),
        ),
        Fault("no_finish", "a clean end after `after` chunks, no finish reason", _after_text()),
        Fault("reset", "the connection reset (RST) before any byte", _at_once(Reset())),
        Fault("reset_after_text", "RST after `after` chunks", _after_text(Reset())),
        Fault("cut_chunk", "closed in the middle of the frame behind `after` chunks", _cut),
        Fault("bad_json", "a frame that is not JSON behind `after` chunks", _garbled),
        Fault("hang", "the request accepted, then silence: no headers", _at_once(Hang())),
        Fault("hang_after_text", "silence after `after` chunks", _after_text(Hang())),
        Fault("blocked_prompt", "promptFeedback.blockReason SAFETY, no candidates", _blocked),
        Fault("safety", "`after` chunks, then finishReason SAFETY", _ends("SAFETY")),
        Fault("safety_before_text", "finishReason SAFETY and no text", _ends_at_once("SAFETY")),
        Fault("recitation", "`after` chunks, then finishReason RECITATION", _ends("RECITATION")),
        Fault("max_tokens", "`after` chunks, then finishReason MAX_TOKENS", _ends("MAX_TOKENS")),
        Fault("thoughts", "thoughts before the text, asked for or not", thinks=True),
        Fault("empty", "finishReason STOP and no text", _ends_at_once("STOP")),
        Fault("one_byte", "the normal answer, one byte in a packet", bytewise=True),
        Fault(
            "hostile",
            "a normal answer with line breaks of all kinds, control characters, surrogate "
            "escapes, `data:` lines and script tags in its text",
            hostile=True,
        ),
    )
}


def table() -> str:
    """The faults as lines of text."""
    return "\n".join(f"    {fault.name:<20}{fault.meaning}" for fault in FAULTS.values())


def order(name: object, /, **keys: Any) -> Order:
    """An order from what somebody wrote. Raises ValueError with a sentence that helps."""
    fault = FAULTS.get(name) if isinstance(name, str) else None
    if fault is None:
        raise ValueError(f"Unknown fault {name!r}. The faults are: {', '.join(FAULTS)}.")
    if unknown := keys.keys() - {"after", "delay", "times", "model"}:
        raise ValueError(f"Unknown key {min(unknown)!r}. The keys are: after, delay, times, model.")
    model = keys.pop("model", None)
    if model is not None and not isinstance(model, str):
        raise ValueError(f"model must be the name of a model, not {model!r:.40}.")
    numbers = {key: _number(key, value) for key, value in keys.items() if value is not None}
    return Order(
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
