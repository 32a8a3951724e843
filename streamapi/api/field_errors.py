"""What pydantic found, as a person would say it: "is required", "must be at most 2".

Each error is a predicate about the field that its JSON pointer names. Where a field may have
several shapes, pydantic reports each shape that it tried; here they are one error.
"""

from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from streamapi.errors import FieldError, escape

Found = Mapping[str, Any]
"""One of pydantic's errors: its `type`, `loc`, `msg` and, where the type has one, its `ctx`."""

ALIASES: Mapping[str, tuple[str, ...]] = {
    "max_tokens": ("max_output_tokens",),
    "max_completion_tokens": ("max_output_tokens",),
    "max_new_tokens": ("max_output_tokens",),
    "maxOutputTokens": ("max_output_tokens",),
    "stop_sequences": ("stop",),
    "stopSequences": ("stop",),
    "input": ("prompt", "text"),
    "text": ("prompt",),
    "prompt": ("text",),
    "content": ("prompt", "text"),
    "contents": ("messages", "prompt", "text"),
    "query": ("prompt", "text"),
    "question": ("prompt",),
    "message": ("messages", "prompt", "text"),
    "instructions": ("system",),
    "system_prompt": ("system",),
    "system_instruction": ("system",),
    "systemInstruction": ("system",),
    "categories": ("labels",),
    "classes": ("labels",),
    "candidate_labels": ("labels",),
    "lang": ("language",),
    "thinking": ("include_thoughts",),
    "multilabel": ("multi_label",),
}
"""Names that other APIs have for a field, and its names here: the first that the task has."""

LONGEST_TYPO = 40
"""Characters of an unknown name that is compared with ours; the comparison is quadratic."""

TYPES = {
    "string_type": "a string",
    "int_type": "an integer",
    "int_parsing": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
}
"""What a value of the wrong type should have been, by pydantic's name of the error."""

WORDS = {
    "missing": "is required",
    "finite_number": "must be a finite number",
    "int_parsing_size": "is too large",
    "greater_than": "must be more than {gt:,.15g}",
    "greater_than_equal": "must be at least {ge:,.15g}",
    "less_than": "must be less than {lt:,.15g}",
    "less_than_equal": "must be at most {le:,.15g}",
    "literal_error": "must be {expected}",
    "string_pattern_mismatch": "must match the pattern {pattern}",
    "timezone_aware": "must name its time zone",
}
UNITS = {"List": "items", "Dictionary": "entries", "Value": "characters"}


def field_errors(
    found: Sequence[Found], value: Any, known: Collection[str]
) -> tuple[FieldError, ...]:
    """One error per field of the value; `known` are the names of its fields."""
    at: dict[str, list[Found]] = {}
    for item in found:
        at.setdefault(_pointer(item, value), []).append(item)
    errors = []
    for place, items in at.items():
        types = list(dict.fromkeys(TYPES[item["type"]] for item in items if item["type"] in TYPES))
        others = [item for item in items if item["type"] not in TYPES]
        if others:
            errors += [FieldError(_say(item, known), place) for item in others]
        elif not any(other.startswith(f"{place}/") for other in at):
            errors.append(FieldError(f"must be {' or '.join(types)}", place))
    return tuple(errors)


def unknown(name: str, known: Collection[str]) -> str:
    """What is said of a field that there is not, with the nearest name that there is."""
    near = [alias for alias in ALIASES.get(name, ()) if alias in known]
    if not near and len(name) <= LONGEST_TYPO:
        near = get_close_matches(name, known, n=1)
    return f"is not a field here; did you mean `{near[0]}`?" if near else "is not a field here"


def _say(item: Found, known: Collection[str]) -> str:
    kind, context = item["type"], item.get("ctx", {})
    if kind == "extra_forbidden":
        top = len(item["loc"]) == 1
        return unknown(str(item["loc"][-1]), known if top else ())
    if kind == "value_error":
        return str(item["msg"]).removeprefix("Value error, ")
    if kind in WORDS:
        return WORDS[kind].format_map(context)
    unit = UNITS.get(context.get("field_type", "Value"), "characters")
    if kind in ("string_too_short", "too_short"):
        least = context["min_length"]
        return "must not be empty" if least == 1 else f"must have at least {least:,} {unit}"
    if kind in ("string_too_long", "too_long"):
        return f"must have at most {context['max_length']:,} {unit}"
    return f"is not valid: {item['msg']}"


def _pointer(item: Found, value: Any) -> str:
    """Where a field stands (RFC 6901). pydantic also names the branches of a union it tried;
    those are no places in the value, so they are left out."""
    path, last = "", len(item["loc"]) - 1
    for place, step in enumerate(item["loc"]):
        if isinstance(value, dict) and isinstance(step, str):
            if step in value or (place == last and item["type"] == "missing"):
                path += f"/{escape(step)}"
                value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int):
            path += f"/{step}"
            value = value[step] if step < len(value) else None
    return path
