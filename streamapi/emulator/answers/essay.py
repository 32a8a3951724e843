"""Essays: a few hundred words of Markdown about whatever was asked.

The sentences are made for any subject, so they say little; but they are real
sentences, with headings, a list and emphasis, about the words of the prompt. A
page that renders them looks as it will look with a model behind it.
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


def essay(topic: Topic, dice: random.Random, words: int | None = None, aside: str = "") -> str:
    """An essay about the topic: some 200 words, or as many as are asked for."""
    blocks = [f"# {topic.title}"]
    if words is None:
        blocks += [*_sections(topic, dice, 3), "## In short", _line(CLOSINGS, topic, dice)]
        return aside + "\n\n".join(blocks) + "\n"
    count = len(blocks[0].split())
    for block in _sections(topic, dice, None):
        if count >= words:
            break
        blocks.append(block)
        count += len(block.split())
    return aside + _cut("\n\n".join(blocks), words)


def prose(topic: Topic, dice: random.Random, sentences: int) -> str:
    """A paragraph about the topic."""
    return " ".join(_fill(line, topic, dice) for line in dice.sample(SENTENCES, sentences))


def thoughts(topic: Topic, dice: random.Random) -> tuple[str, ...]:
    """What a model that thinks aloud would say first."""
    return tuple(_fill(thought, topic, dice) for thought in THOUGHTS)


def _sections(topic: Topic, dice: random.Random, sections: int | None) -> Iterator[str]:
    """Headings, paragraphs and lists; without a number of sections, for ever."""
    deck: list[str] = []

    def paragraph() -> str:
        """Three sentences; each comes once before any comes again."""
        if len(deck) < 3:
            deck[:] = dice.sample(SENTENCES, len(SENTENCES))
        return " ".join(_fill(deck.pop(), topic, dice) for _ in range(3))

    yield f"{_line(OPENINGS, topic, dice)} {paragraph()}"
    number = 0
    while sections is None or number < sections:
        part, place = divmod(number, len(HEADINGS))
        yield f"## {HEADINGS[place]}" + (f" ({part + 1})" if part else "")
        if place % 3 == 1:
            yield _points(topic, dice)
        yield paragraph()
        number += 1


def _points(topic: Topic, dice: random.Random) -> str:
    words = dice.sample(topic.words, min(3, len(topic.words)))
    points = dice.sample(POINTS, len(words))
    return "\n".join(
        f"- **{word.capitalize()}**: {point}." for word, point in zip(words, points, strict=True)
    )


def _line(lines: tuple[str, ...], topic: Topic, dice: random.Random) -> str:
    return _fill(dice.choice(lines), topic, dice)


def _fill(line: str, topic: Topic, dice: random.Random) -> str:
    a = dice.choice(topic.words)
    b = dice.choice([word for word in topic.words if word != a] or ["the rest"])
    return line.format(topic=topic.phrase, a=a, b=b)


def _cut(text: str, words: int) -> str:
    """So many words of a text, as they stand in it."""
    for index, match in enumerate(re.finditer(r"\S+", text), 1):
        if index == words:
            return text[: match.end()]
    return text
