"""The labels in a model's answer to a classification: the schema of the answer, and its parser.

The schema offers the labels as an enum and fixes the order of the properties, so the answer can
be read as it arrives: `{"labels": [{"label", "score"}, ...], "rationale"}`. An answer that breaks
the schema all the same becomes `model_output_invalid`.
"""

import json
import re
from collections.abc import Collection, Sequence
from typing import Annotated, Any

import msgspec

from streamapi.errors import ModelOutputInvalid
from streamapi.generation.event import Event, Label

LONGEST_ITEM = 2000
"""Characters that one label and its score may take: the parser does not buffer without end."""

_ARRAY_START = re.compile(r'\s*\{\s*"labels"\s*:\s*\[')
_object_at = json.JSONDecoder().raw_decode


class _ScoredLabel(msgspec.Struct, frozen=True):
    label: str
    score: Annotated[float, msgspec.Meta(ge=0, le=1)]


class _Answer(msgspec.Struct):
    labels: list[_ScoredLabel]
    rationale: str = ""


class LabelParser:
    """Sends each label when its object in the `labels` array closes.

    At the end it decodes and checks the whole answer. Labels that it could not send early are sent
    then: a model may ignore the order of the properties. `names` are the labels that were offered.
    A label applies if its score is at least `threshold`. Without `allow_none` at least one must.
    """

    def __init__(self, names: Collection[str], threshold: float, allow_none: bool) -> None:
        self._names = frozenset(names)
        self._threshold = threshold
        self._allow_none = allow_none
        self._text = ""
        self._position: int | None = None  # after the last object that was read; None before `[`
        self._scores: dict[str, float] = {}  # of the labels that apply, in the order of the answer

    def feed(self, text: str) -> list[Event]:
        self._text += text
        if "}" not in text and "]" not in text:
            return []  # no object closes: a long rationale is not scanned at each chunk
        if self._position is None:
            start = _ARRAY_START.match(self._text)
            self._position = start.end() if start else None
        return self._closed_objects()

    def flush(self) -> list[Event]:
        try:
            answer = msgspec.json.decode(self._text, type=_Answer)
            return self._apply(answer.labels)
        except (msgspec.DecodeError, ModelOutputInvalid, RecursionError):
            return []  # the answer was cut or is invalid: `result` raises

    def result(self) -> dict[str, Any]:
        try:
            answer = msgspec.json.decode(self._text, type=_Answer)
        except (msgspec.DecodeError, RecursionError) as error:
            raise ModelOutputInvalid("The model's answer is not JSON of the schema.") from error
        self._apply(answer.labels)
        if not self._scores and not self._allow_none:
            raise ModelOutputInvalid("The model chose no label.")
        ranked = sorted(self._scores.items(), key=lambda pair: -pair[1])
        return {
            "label": ranked[0][0] if ranked else None,
            "labels": [{"label": label, "score": score} for label, score in ranked],
            "rationale": answer.rationale,
        }

    def _closed_objects(self) -> list[Event]:
        events: list[Event] = []
        while self._position is not None:
            start = self._position
            while start < len(self._text) and self._text[start] in ", \t\r\n":
                start += 1
            if not self._text.startswith("{", start):
                break  # the array has ended, or the next object has not arrived
            try:
                found, self._position = _object_at(self._text, start)
                events += self._apply([msgspec.convert(found, _ScoredLabel)])
            except json.JSONDecodeError:
                if len(self._text) - start > LONGEST_ITEM:
                    raise ModelOutputInvalid(
                        "One label in the model's answer is too long."
                    ) from None
                break  # the object has not closed yet
            except (msgspec.ValidationError, RecursionError) as error:
                raise ModelOutputInvalid("A label in the model's answer is malformed.") from error
        return events

    def _apply(self, items: list[_ScoredLabel]) -> list[Event]:
        """The events of the labels that apply and were not sent before."""
        events: list[Event] = []
        for item in items:
            if item.label not in self._names:
                raise ModelOutputInvalid("The model chose a label that was not offered.")
            if item.score >= self._threshold and item.label not in self._scores:
                self._scores[item.label] = item.score
                events.append(Label(item.label, item.score))
        return events


def schema(names: Sequence[str], allow_none: bool) -> dict[str, Any]:
    """The JSON schema of the answer, for these labels."""
    item = {
        "type": "object",
        "properties": {
            "label": {"type": "string", "enum": [*names]},
            "score": {"type": "number", "minimum": 0, "maximum": 1},
        },
        "required": ["label", "score"],
        "propertyOrdering": ["label", "score"],
    }
    labels = {
        "type": "array",
        "items": item,
        "minItems": 0 if allow_none else 1,
        "maxItems": len(names),
    }
    return {
        "type": "object",
        "properties": {"labels": labels, "rationale": {"type": "string"}},
        "required": ["labels", "rationale"],
        "propertyOrdering": ["labels", "rationale"],
    }
