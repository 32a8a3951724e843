"""Essays: a few hundred words of Markdown about the topic of a prompt.

The sentences fit any topic, so they say little. They are real sentences, with
headings, a list and emphasis, so a page that renders them looks as it does with
a real model.
"""

import random
import re
from collections.abc import Iterator

from .topic import Topic

__all__ = ["essay", "prose", "thoughts"]

OPENINGS = (
    "There is more to {topic} than a first look suggests.",
    "Anyone who spends an afternoon with {topic} comes away with better questions.",
    "It pays to begin with the plain facts of {topic}, and to let opinions wait.",
    "Few things show the value of patience as clearly as {topic}.",
)
SENTENCES = (
    "What we call *{a}* is often a habit that nobody remembers choosing.",
    "The role of {a} becomes clear only when {b} is missing.",
    "People who work with {a} every day speak of it in surprisingly simple words.",
    "A small change to {a} can have a large effect on {b}, and the reverse is rarer.",
    "It helps to draw the whole thing on paper: {a} on one side, **{b}** on the other.",
    "Most mistakes begin where {a} is taken for granted.",
    "Seen from a distance, {a} and {b} are two names for one concern.",
    "Numbers help here, but only those that were measured and not guessed.",
    "The history of {a} is short, yet it explains a good deal of the present.",
    "One careful example of {a} teaches more than ten general rules.",
    "Where {b} grows, {a} has to follow, sooner or later.",
    "The cost of {a} is paid early; its benefits arrive without an announcement.",
    "Nothing about {a} is difficult once it has been said in the right order.",
    "Some would start with {b} instead, and they would not be wrong.",
)
HEADINGS = (
    "Where it begins",
    "What matters",
    "A closer look",
    "The other side",
    "In practice",
    "Common mistakes",
    "What remains open",
)
POINTS = (
    "it is easy to see and hard to measure",
    "small steps count for more than grand plans",
    "it changes slowly, then all at once",
    "ask who depends on it before changing it",
    "the simplest explanation is usually the useful one",
    "what works once should be tried a second time",
)
CLOSINGS = (
    "In short, {topic} rewards attention: begin small, look twice, and keep what works.",
    "So much for {topic}. The rest is practice, and practice is better company than theory.",
    "Taken together, this is why {topic} deserves a second look, and perhaps a third.",
)
THOUGHTS = (
    "**Reading the question**\n\nThe question is about {topic}. The words that matter are {a} "
    "and {b}.\n\n",
    "**Choosing an order**\n\nI start with what is plain about {a}, then come to {b}, and close "
    "with a short summary.\n\n",
)


def essay(topic: Topic, rng: random.Random, words: int | None = None, insert: str = "") -> str:
    """An essay about the topic, of about 200 words or of `words` words. It begins with `insert`."""
    blocks = [f"# {topic.title}"]
    if words is None:
        blocks += [*_sections(topic, rng, 3), "## In short", _line(CLOSINGS, topic, rng)]
        return insert + "\n\n".join(blocks) + "\n"
    count = len(blocks[0].split())
    for block in _sections(topic, rng, None):
        if count >= words:
            break
        blocks.append(block)
        count += len(block.split())
    return insert + _cut("\n\n".join(blocks), words)


def prose(topic: Topic, rng: random.Random, sentences: int) -> str:
    """A paragraph of so many sentences about the topic."""
    return " ".join(_fill(line, topic, rng) for line in rng.sample(SENTENCES, sentences))


def thoughts(topic: Topic, rng: random.Random) -> tuple[str, ...]:
    """Thoughts of a model about the topic."""
    return tuple(_fill(thought, topic, rng) for thought in THOUGHTS)


def _sections(topic: Topic, rng: random.Random, sections: int | None) -> Iterator[str]:
    """Headings, paragraphs and lists. Without a number of sections, they never end."""
    unused: list[str] = []

    def paragraph() -> str:
        """Three sentences. All sentences are used before one is used again."""
        if len(unused) < 3:
            unused[:] = rng.sample(SENTENCES, len(SENTENCES))
        return " ".join(_fill(unused.pop(), topic, rng) for _ in range(3))

    yield f"{_line(OPENINGS, topic, rng)} {paragraph()}"
    number = 0
    while sections is None or number < sections:
        part, place = divmod(number, len(HEADINGS))
        yield f"## {HEADINGS[place]}" + (f" ({part + 1})" if part else "")
        if place % 3 == 1:
            yield _points(topic, rng)
        yield paragraph()
        number += 1


def _points(topic: Topic, rng: random.Random) -> str:
    words = rng.sample(topic.words, min(3, len(topic.words)))
    points = rng.sample(POINTS, len(words))
    return "\n".join(
        f"- **{word.capitalize()}**: {point}." for word, point in zip(words, points, strict=True)
    )


def _line(lines: tuple[str, ...], topic: Topic, rng: random.Random) -> str:
    return _fill(rng.choice(lines), topic, rng)


def _fill(line: str, topic: Topic, rng: random.Random) -> str:
    a = rng.choice(topic.words)
    b = rng.choice([word for word in topic.words if word != a] or ["the rest"])
    return line.format(topic=topic.phrase, a=a, b=b)


def _cut(text: str, words: int) -> str:
    """So many words of a text, as they stand in it."""
    for index, match in enumerate(re.finditer(r"\S+", text), 1):
        if index == words:
            return text[: match.end()]
    return text
