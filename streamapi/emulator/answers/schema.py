"""JSON documents that match a schema, in Google's dialect or in JSON Schema.

The generator walks the schema, and writes the simplest value that each place
allows. Strings are about the topic. An array of objects with a `label` (enum)
and a `score` (number) counts as a classification, and gets labels that fit. A
schema may be recursive, or ask for a million items: depth and nodes are bounded,
and beyond a bound the generator writes the shortest value.
"""

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .essay import prose
from .labels import Evidence
from .topic import Topic, stem

__all__ = ["document"]

MAX_DEPTH = 24
MAX_NODES = 5_000

FORMATS = {
    "date-time": "2026-01-15T09:30:00Z",
    "date": "2026-01-15",
    "time": "09:30:00Z",
    "email": "someone@example.com",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}

Schema = Mapping[str, Any]


def document(
    schema: Schema | None, topic: Topic, guide: str, rng: random.Random, insert: str = ""
) -> Any:
    """A document that matches the schema. Its first free string begins with `insert`."""
    if schema is None:
        return {"topic": topic.title, "summary": insert + prose(topic, rng, 2)}
    return _Writer(schema, topic, Evidence(topic.subject, guide), rng, insert).value(schema, "", 0)


@dataclass
class _Writer:
    """The state of writing one document."""

    root: Schema
    topic: Topic
    evidence: Evidence
    rng: random.Random
    insert: str
    nodes: int = 0
    reasons: set[str] = field(default_factory=set)

    def value(self, schema: Any, name: str, depth: int) -> Any:
        self.nodes += 1
        schema = self._resolved(schema)
        if "const" in schema:
            return schema["const"]
        if choices := _list(schema.get("enum")):
            return self._choice(choices)
        match _kind(schema):
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, name, depth)
            case "number":
                return _between(schema, 0.5)
            case "integer":
                return math.floor(_between({"maximum": 10, **schema}, 0.3))
            case "boolean":
                return True
            case "null":
                return None
        return self._string(schema, name)

    def _resolved(self, schema: Any) -> Schema:
        """The schema that references and alternatives lead to."""
        for _ in range(MAX_DEPTH):
            if not isinstance(schema, dict):
                return {}
            options = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf")
            if isinstance(reference := schema.get("$ref"), str):
                schema = _lookup(self.root, reference)
            elif options := _list(options):
                rest = [o for o in options if not isinstance(o, dict) or _kind(o) != "null"]
                schema = (rest or options)[0]
            else:
                return schema
        return {}

    def _spent(self, depth: int) -> bool:
        return depth > MAX_DEPTH or self.nodes > MAX_NODES

    def _object(self, schema: Schema, depth: int) -> dict[str, Any]:
        properties = schema.get("properties")
        if not isinstance(properties, dict) or self._spent(depth):
            return {}
        order = _list(schema.get("propertyOrdering"))
        names = dict.fromkeys(n for n in [*order, *properties] if isinstance(n, str))
        names = dict.fromkeys(n for n in names if n in properties)
        if depth > MAX_DEPTH // 3:
            required = _list(schema.get("required"))
            names = dict.fromkeys(name for name in names if name in required)
        return {name: self.value(properties[name], name, depth + 1) for name in names}

    def _array(self, schema: Schema, name: str, depth: int) -> list[Any]:
        least = _count(schema.get("minItems"), 0)
        most = _count(schema.get("maxItems"), max(least, 3))
        item = self._resolved(schema.get("items"))
        if labels := self._labels(item):
            return self._classified(item, labels, least, _count(schema.get("maxItems"), 10_000))
        count = least if depth > MAX_DEPTH // 3 else min(max(least, 3), most)
        items: list[Any] = []
        while len(items) < count and not self._spent(depth):
            items.append(self.value(item, name, depth + 1))
        return items

    def _labels(self, item: Schema) -> list[str]:
        """The labels that an item of a classification allows, or none."""
        properties = item.get("properties")
        if not isinstance(properties, dict) or "score" not in properties:
            return []
        names = _list(self._resolved(properties.get("label")).get("enum"))
        return [name for name in names if isinstance(name, str)]

    def _classified(self, item: Schema, labels: list[str], least: int, most: int) -> list[Any]:
        """Labels with falling scores: those that fit, then others up to the required number."""
        ranked = self.evidence.rank(labels)
        hits = sum(1 for _, shared in ranked if shared)
        score = self._resolved(item["properties"]["score"])
        items = []
        for place, (label, shared) in enumerate(ranked[: min(max(hits, least), most)]):
            if self._spent(0):
                break
            entry = self._object(item, 1)
            self.reasons |= self.evidence.shared(label)
            share = _confidence(place, shared, ranked[0][1])
            items.append({**entry, "label": label, "score": _between(score, share)})
        return items

    def _choice(self, choices: list[Any]) -> Any:
        names = [choice for choice in choices if isinstance(choice, str)]
        if names != choices:
            return choices[0]
        best, shared = self.evidence.rank(names)[0]
        return best if shared else self.rng.choice(names)

    def _string(self, schema: Schema, name: str) -> str:
        if isinstance(form := schema.get("format"), str) and form in FORMATS:
            return FORMATS[form]
        insert, self.insert = self.insert, ""
        short = {"title", "name", "topic", "subject", "heading"}
        text = self.topic.title if name in short else self._sentence(name)
        text = insert + text
        least = min(_count(schema.get("minLength"), 0), 10_000)
        while len(text) < least:
            text += " " + prose(self.topic, self.rng, 3)
            self.nodes += 1
        return text[: _count(schema.get("maxLength"), len(text))]

    def _sentence(self, name: str) -> str:
        """A sentence. After labels, it may name the words that decided for them."""
        words = [word for word in self.topic.words if stem(word) in self.reasons][:4]
        if name in ("rationale", "reason", "reasoning", "explanation") and words:
            return f"The words that decide it: {', '.join(words)}."
        return prose(self.topic, self.rng, 1)


def _confidence(place: int, shared: int, best: int) -> float:
    """A score that falls with the place: above 0.5 for a label that fits, well below for others."""
    if shared:
        return max(0.55, 0.6 + 0.35 * shared / (best + 1) - 0.02 * place)
    return 0.4 * 0.6**place


def _between(schema: Schema, share: float) -> float:
    """The number at that share (0 to 1) of the range that the schema allows."""
    low, high = _finite(schema.get("minimum")), _finite(schema.get("maximum"))
    low = (0.0 if high is None else min(0.0, high)) if low is None else low
    high = max(low, 1.0) if high is None else high
    return round(min(max(low + (high - low) * share, low), high), 4)


def _kind(schema: Schema) -> str:
    kinds = schema.get("type")
    kinds = [kinds] if isinstance(kinds, str) else _list(kinds)
    names = [kind.lower() for kind in kinds if isinstance(kind, str)]
    for name in names:
        if name != "null":
            return name
    if names:
        return "null"
    return "object" if "properties" in schema else "array" if "items" in schema else "string"


def _lookup(root: Schema, reference: str) -> Any:
    place: Any = root
    for step in reference.removeprefix("#").strip("/").split("/"):
        place = place.get(step) if isinstance(place, dict) else None
    return place


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _finite(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e15:
        return None
    return float(value) if math.isfinite(value) else None


def _count(value: Any, default: int) -> int:
    """A count, which protobuf writes as a string."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:9])
    number = _finite(value)
    return default if number is None else max(0, int(number))
