"""Answers: what the script says, made from the question alone.

The same question gets the same answer, whatever its markers: all choices are
taken by a generator seeded with the question.

    essay.py     an essay about the prompt
    code.py      code in the language asked for, from
    snippets.py  a small program for each language
    labels.py    which labels fit a text
    schema.py    JSON that obeys a schema
    topic.py     what a prompt is about
    hostile.py   text that breaks careless readers
"""

import hashlib
import json
import random
from dataclasses import dataclass
from typing import Any

from streamapi.emulator import markers
from streamapi.emulator.request import Ask

from .code import programme, wants_code
from .essay import essay, thoughts
from .hostile import HOSTILE
from .schema import document
from .topic import Topic

__all__ = ["Answer", "compose"]


@dataclass(frozen=True, slots=True)
class Answer:
    """Thoughts, text, and how the text ends."""

    thoughts: tuple[str, ...]
    text: str
    finish: str


def compose(
    ask: Ask, *, words: int | None = None, hostile: bool = False, thinks: bool = False
) -> Answer:
    """The answer to a question, within its bounds.

    `words` sizes prose; `hostile` weaves in text that breaks careless readers.
    """
    prompt = markers.strip(ask.prompt)
    topic = Topic.of(prompt)
    dice = _dice(ask)
    text = _text(ask, topic, dice, words, hostile)
    return _bounded(ask, thoughts(topic, dice) if thinks else (), text)


def _text(ask: Ask, topic: Topic, dice: random.Random, words: int | None, hostile: bool) -> str:
    aside = HOSTILE if hostile else ""
    if ask.config.mime_type != "text/plain":
        guide = f"{ask.system}\n{markers.strip(ask.context)}"
        value = document(ask.config.schema, topic, guide, dice, aside)
        if ask.config.mime_type == "text/x.enum":
            return str(value)
        return json.dumps(value, indent=2, ensure_ascii=hostile)
    if wants_code(ask.system, topic.prompt):
        return programme(ask.system, topic, dice, words, aside)
    return essay(topic, dice, words, aside)


def _bounded(ask: Ask, thoughts: tuple[str, ...], text: str) -> Answer:
    """Stop sequences end a text; thoughts and text share the bound for output."""
    ends = [at for stop in ask.config.stop_sequences if (at := text.find(stop)) >= 0]
    text = text[: min(ends)] if ends else text
    limit = min(ask.config.max_output_tokens or ask.model.output_tokens, ask.model.output_tokens)
    room = limit * 4
    kept = []
    for thought in thoughts:
        if cut := thought[:room]:
            kept.append(cut)
        room -= len(cut)
    return Answer(tuple(kept), text[:room], "MAX_TOKENS" if len(text) > room else "STOP")


def _dice(ask: Ask) -> random.Random:
    question: Any = (ask.system, markers.strip(ask.context), ask.config.schema)
    seed = hashlib.sha256(repr(question).encode("utf-8", "surrogatepass")).digest()
    return random.Random(seed)
