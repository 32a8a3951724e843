"""Markers: the parts of a prompt that are for the emulator.

They are `[[pace:0.005]]` (seconds between chunks), `[[chunk:8]]` (characters in
a chunk), `[[words:500]]` (length of the answer) and `[[fault:NAME key=value
...]]`. They count in the last turn of the user, and the answer is not about
them. Several faults in one prompt take effect in turn: each for its `times`,
then the next. A fault with `model=NAME` is for calls of that model only.
"""

import re
from dataclasses import dataclass

from .faults import WantedFault, wanted_fault

__all__ = ["MAX_PACE", "MAX_WORDS", "Markers", "read", "strip"]

#: Seconds between chunks that a marker can ask for.
MAX_PACE = 600.0
#: Words that a marker can ask for. No model's output bound allows as many.
MAX_WORDS = 100_000
#: Characters in a chunk that a marker can ask for.
MAX_CHUNK = 100_000

# Each repetition is bounded: otherwise a prompt of incomplete markers takes quadratic time.
FAULT = re.compile(r"\[\[fault:([^\s\]]{1,40})((?:\s{1,4}[^\s\]]{1,40}){0,4})\s{0,4}\]\]")
NUMBER = re.compile(r"\[\[(pace|chunk|words):(\d{1,9}(?:\.\d{1,9})?)\]\]")


@dataclass(frozen=True, slots=True)
class Markers:
    """The markers of one prompt. None stands for the emulator's default."""

    pace: float | None = None
    chunk: int | None = None
    words: int | None = None
    faults: tuple[WantedFault, ...] = ()

    def fault(self, seen: int, model: str) -> WantedFault | None:
        """The fault for a call of this model, after `seen` calls with the same prompt."""
        for wanted in self.faults:
            if not wanted.applies_to(model):
                continue
            if wanted.times is None or seen < wanted.times:
                return wanted
            seen -= wanted.times
        return None


def read(prompt: str) -> Markers:
    """The markers in a prompt. Raises `ValueError` for a fault that does not exist."""
    numbers = {name: float(value) for name, value in NUMBER.findall(prompt)}
    faults = tuple(_fault(name, keys) for name, keys in FAULT.findall(prompt))
    return Markers(
        pace=min(numbers["pace"], MAX_PACE) if "pace" in numbers else None,
        chunk=min(max(int(numbers["chunk"]), 1), MAX_CHUNK) if "chunk" in numbers else None,
        words=min(max(int(numbers["words"]), 1), MAX_WORDS) if "words" in numbers else None,
        faults=faults,
    )


def strip(prompt: str) -> str:
    """The prompt without its markers."""
    return NUMBER.sub("", FAULT.sub("", prompt)).strip()


def _fault(name: str, keys: str) -> WantedFault:
    pairs = (pair.partition("=") for pair in keys.split())
    return wanted_fault(name, **{key: value for key, _, value in pairs})
