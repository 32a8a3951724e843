"""Labels: which of them fit a text, by the words they share with it.

A label's words are those of its name, those of its description where the prompt
has one (a line that begins with the name, or JSON with `name` and
`description`), and for a few common names a handful of words that everybody
would think of. It is no classifier; it is right often enough to look at.
"""

import re
from collections.abc import Sequence

from .topic import stem, words_of

__all__ = ["rank"]

MAX_GUIDE = 200_000

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
    "shipping": "package delivery parcel late arrived courier tracking order",
    "sports": "game team match goal player season score won league football",
    "politics": "election government president minister vote party law parliament",
    "business": "market company stock shares profit bank economy trade",
    "technology": "software computer phone internet chip app data robot",
    "urgent": "now immediately asap down outage emergency",
}


def rank(labels: Sequence[str], text: str, guide: str) -> list[tuple[str, int]]:
    """The labels with the number of words they share with the text, most first."""
    said = {stem(word) for word in re.findall(r"[^\W_]+", text[:MAX_GUIDE].lower())}
    descriptions = _descriptions(labels, guide[:MAX_GUIDE].replace(text, " ") if text else guide)
    shared = []
    for label in labels:
        own = {stem(word) for word in words_of(label.replace("_", " "))}
        told = {stem(word) for word in words_of(descriptions.get(label.lower(), ""))}
        hints = {stem(word) for word in HINTS.get(label.lower(), "").split()}
        shared.append((label, 2 * len(own & said) + len((told | hints) - own & said)))
    return sorted(shared, key=lambda pair: -pair[1])


def _descriptions(labels: Sequence[str], guide: str) -> dict[str, str]:
    """What the prompt says about each label, by its name in lower case."""
    names = {label.lower() for label in labels}
    found: dict[str, str] = {}
    for line in guide.splitlines():
        name, _, rest = re.sub(r"^[\s\-*•\d.)]*", "", line).partition(":")
        name = name.strip(" `\"'*").lower()
        if name in names and rest.strip():
            found[name] = f"{found.get(name, '')} {rest}"
    pair = r'"name"\s*:\s*"([^"]{1,200})"\s*,\s*"description"\s*:\s*"([^"]{1,2000})"'
    for name, description in re.findall(pair, guide):
        if name.lower() in names:
            found[name.lower()] = description
    return found
