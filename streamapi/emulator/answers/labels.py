"""Ranks labels by the words that they share with a text.

The words of a label are those of its name, those of its description, and a few
fixed words for some common names. A prompt describes a label in a line that
begins with its name, or in JSON with `name` and `description`. This is not a
classifier, but its answers look plausible.
"""

import re
from collections.abc import Sequence

from .topic import stem, words_of

__all__ = ["Evidence"]

MAX_READ = 100_000

PAIR = re.compile(r'"name":\s?"([^"]{1,200})",\s{0,40}"description":\s?"([^"]{1,2000})"')

HINTS = {
    "positive": "love great excellent good wonderful happy amazing best perfect fantastic nice",
    "negative": "hate terrible awful bad worst poor broken disappointed horrible slow angry never",
    "neutral": "okay average fine normal ordinary",
    "question": "how what why when where who which wonder ask",
    "spam": "free win winner prize click offer cash lottery viagra urgent money",
    "bug": "crash error broken fail fails exception wrong issue stack trace",
    "feature": "add support would like wish request new option",
    "billing": "invoice refund charge charged payment card price money bill subscription paid",
    "technical": "crash error bug login password install update server broken app",
    "sales": "buy price quote purchase discount demo plan",
    "complaint": "never late broken bad wrong unanswered disappointed terrible rude waited",
    "praise": "love great excellent thank thanks wonderful perfect best friendly",
    "delivery": "package parcel late arrived courier tracking order weeks",
    "shipping": "package delivery parcel late arrived courier tracking order",
    "sports": "game team match goal player season score won league football",
    "politics": "election government president minister vote party law parliament",
    "business": "market company stock shares profit bank economy trade",
    "technology": "software computer phone internet chip app data robot",
    "urgent": "now immediately asap down outage emergency",
}


class Evidence:
    """The words of a text, and the descriptions of labels in its prompt."""

    def __init__(self, text: str, guide: str) -> None:
        self._text_stems = {stem(word) for word in re.findall(r"[^\W_]+", text[:MAX_READ].lower())}
        self._descriptions = _descriptions(guide[:MAX_READ].replace(text, " ") if text else guide)

    def rank(self, labels: Sequence[str]) -> list[tuple[str, int]]:
        """The labels, each with the weight of the words that it shares with the text, the
        heaviest first."""
        shared = [(label, self._weight(label)) for label in labels]
        return sorted(shared, key=lambda pair: -pair[1])

    def shared(self, label: str) -> set[str]:
        """The stems of the words that a label shares with the text."""
        return set.union(*self._words(label)) & self._text_stems

    def _weight(self, label: str) -> int:
        name, described = self._words(label)
        return 2 * len(name & self._text_stems) + len(described & self._text_stems)

    def _words(self, label: str) -> tuple[set[str], set[str]]:
        """The stems of the words in a label's name, and of those that describe it."""
        name = {stem(word) for word in words_of(label.replace("_", " "))}
        hints = " ".join(HINTS.get(word, "") for word in words_of(label.replace("_", " ")))
        about = f"{self._descriptions.get(label.lower(), '')} {hints}"
        return name, {stem(word) for word in words_of(about)} - name


def _descriptions(guide: str) -> dict[str, str]:
    """The description of each label, by its name in lower case."""
    found: dict[str, str] = {}
    for line in guide.splitlines():
        name, _, rest = line.lstrip(" \t-*•0123456789.)").partition(":")
        if rest.strip():
            found[name.strip(" `\"'*").lower()] = rest
    for name, description in PAIR.findall(guide):
        found[name.lower()] = description
    return found
