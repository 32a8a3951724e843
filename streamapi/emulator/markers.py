"""Markers: what a prompt says to the emulator rather than to the model.

`[[pace:0.005]]` (seconds between chunks), `[[chunk:8]]` (characters in a
chunk), `[[words:500]]` (length of the answer) and
`[[fault:NAME key=value ...]]`. They are read in the last turn of the user and
taken out of what the answer is about. Several faults in one prompt are played
in turn: each for its `times`, then the next. One with `model=NAME` is played to
calls of that model only.
"""

import re
from dataclasses import dataclass

from .faults import Order, order

__all__ = ["MAX_PACE", "MAX_WORDS", "Markers", "read", "strip"]

#: A pause longer than this is a hang by another name.
MAX_PACE = 600.0
#: More words than any model's output bound lets through.
MAX_WORDS = 100_000
MAX_CHUNK = 100_000

# Each repetition is bounded, or a prompt of half-written markers costs quadratic time.
FAULT = re.compile(r"\[\[fault:([^\s\]]{1,40})((?:\s{1,4}[^\s\]]{1,40}){0,4})\s{0,4}\]\]")
NUMBER = re.compile(r"\[\[(pace|chunk|words):(\d{1,9}(?:\.\d{1,9})?)\]\]")


@dataclass(frozen=True, slots=True)
class Markers:
    """What the markers of one prompt ask for; None is the emulator's default."""

    pace: float | None = None
    chunk: int | None = None
    words: int | None = None
    faults: tuple[Order, ...] = ()

    def fault(self, seen: int, model: str) -> Order | None:
        """The fault for a call of a model whose prompt was seen so many times before."""
        for wanted in self.faults:
            if not wanted.strikes(model):
                continue
            if wanted.times is None or seen < wanted.times:
                return wanted
            seen -= wanted.times
        return None


def read(prompt: str) -> Markers:
    """The markers in a prompt. Raises ValueError for a fault that is none."""
    numbers = {name: float(value) for name, value in NUMBER.findall(prompt)}
    faults = tuple(_order(name, keys) for name, keys in FAULT.findall(prompt))
    return Markers(
        pace=min(numbers["pace"], MAX_PACE) if "pace" in numbers else None,
        chunk=min(max(int(numbers["chunk"]), 1), MAX_CHUNK) if "chunk" in numbers else None,
        words=min(max(int(numbers["words"]), 1), MAX_WORDS) if "words" in numbers else None,
        faults=faults,
    )


def strip(prompt: str) -> str:
    """The prompt without its markers."""
    return NUMBER.sub("", FAULT.sub("", prompt)).strip()


def _order(name: str, keys: str) -> Order:
    pairs = (pair.partition("=") for pair in keys.split())
    return order(name, **{key: value for key, _, value in pairs})
