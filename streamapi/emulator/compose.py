"""The answer to a question, made from the question alone.

The same question gets the same answer, whatever its markers: a random generator
that is seeded with the question makes all choices.
"""

import hashlib
import json
import random
from dataclasses import dataclass
from typing import Any

from . import markers
from .answers.code import code_answer, wants_code
from .answers.essay import essay, thoughts
from .answers.hostile import HOSTILE
from .answers.schema import document
from .answers.topic import Topic
from .request import Question

__all__ = ["Answer", "compose"]


@dataclass(frozen=True, slots=True)
class Answer:
    """The thoughts, the text, and Google's finish reason."""

    thoughts: tuple[str, ...]
    text: str
    finish: str


def compose(
    question: Question, *, words: int | None = None, hostile: bool = False, thinks: bool = False
) -> Answer:
    """The answer to a question, within the question's bounds.

    `words` is the length of prose. `hostile` inserts text that breaks careless
    readers. With `thinks`, the answer has thoughts.
    """
    prompt = markers.strip(question.prompt)
    topic = Topic.of(prompt)
    rng = _rng(question)
    text = _text(question, topic, rng, words, hostile)
    return _bounded(question, thoughts(topic, rng) if thinks else (), text)


def _text(
    question: Question, topic: Topic, rng: random.Random, words: int | None, hostile: bool
) -> str:
    insert = HOSTILE if hostile else ""
    if question.config.mime_type != "text/plain":
        guide = f"{question.system}\n{markers.strip(question.context)}"
        value = document(question.config.schema, topic, guide, rng, insert)
        if question.config.mime_type == "text/x.enum":
            return str(value)
        return json.dumps(value, indent=2, ensure_ascii=hostile)
    if wants_code(question.system, topic.prompt):
        return code_answer(question.system, topic, rng, words, insert)
    return essay(topic, rng, words, insert)


def _bounded(question: Question, thoughts: tuple[str, ...], text: str) -> Answer:
    """The answer, cut at its stop sequences, and at the bound that thoughts and text share."""
    ends = [at for stop in question.config.stop_sequences if (at := text.find(stop)) >= 0]
    text = text[: min(ends)] if ends else text
    most = question.model.output_tokens
    limit = min(question.config.max_output_tokens or most, most)
    room = limit * 4
    kept = []
    for thought in thoughts:
        if cut := thought[:room]:
            kept.append(cut)
        room -= len(cut)
    return Answer(tuple(kept), text[:room], "MAX_TOKENS" if len(text) > room else "STOP")


def _rng(question: Question) -> random.Random:
    inputs: Any = (question.system, markers.strip(question.context), question.config.schema)
    seed = hashlib.sha256(repr(inputs).encode("utf-8", "surrogatepass")).digest()
    return random.Random(seed)
