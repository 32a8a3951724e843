"""Checks values against a pydantic model, and words the errors for the caller of the API.

Each error is a predicate about the field that its JSON pointer names: "is required", "must be at
most 2". Where a field may have several shapes, pydantic reports each shape that it tried; here they
are one error.
"""

from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from streamapi.errors import FieldError, InvalidRequest, escape

M = TypeVar("M", bound=BaseModel)

PydanticError = Mapping[str, Any]
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
"""Names of fields in other APIs, and what streamapi calls them. An error suggests the first name
that the model has."""

LONGEST_TYPO = 40
"""Longest unknown name, in characters, that is compared with the known ones. The comparison takes
quadratic time."""

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
"""The type that a value should have, by pydantic's name of the error."""

PREDICATES = {
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
"""The sentence's predicate, by pydantic's name of the error; the error's `ctx` fills it in."""

UNITS = {"List": "items", "Dictionary": "entries", "Value": "characters"}


def validate(model: type[M], value: dict[str, Any], *, text_values: bool = False) -> M:
    """The value as an instance of the model. With `text_values`, numbers and booleans may be
    written as text, as in a query string.

    Raises `InvalidRequest`, with one error per field."""
    try:
        return model.model_validate(value, strict=not text_values)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        raise InvalidRequest.of(*field_errors(found, value, model.model_fields)) from None


def field_errors(
    found: Sequence[PydanticError], value: Any, known: Collection[str]
) -> tuple[FieldError, ...]:
    """What pydantic found in a value, as one error per field. `known` are the model's fields."""
    by_pointer: dict[str, list[PydanticError]] = {}
    for item in found:
        by_pointer.setdefault(_pointer(item, value), []).append(item)
    errors = []
    for pointer, items in by_pointer.items():
        types = list(dict.fromkeys(TYPES[item["type"]] for item in items if item["type"] in TYPES))
        others = [item for item in items if item["type"] not in TYPES]
        if others:
            errors += [FieldError(_predicate(item, known), pointer) for item in others]
        elif not any(other.startswith(f"{pointer}/") for other in by_pointer):
            errors.append(FieldError(f"must be {' or '.join(types)}", pointer))
    return tuple(errors)


def unknown_field(name: str, known: Collection[str]) -> str:
    """The predicate about a field that does not exist, with the nearest name that does."""
    near = [alias for alias in ALIASES.get(name, ()) if alias in known]
    if not near and len(name) <= LONGEST_TYPO:
        near = get_close_matches(name, known, n=1)
    return f"is not a field here; did you mean `{near[0]}`?" if near else "is not a field here"


def _predicate(item: PydanticError, known: Collection[str]) -> str:
    kind, context = item["type"], item.get("ctx", {})
    if kind == "extra_forbidden":
        top = len(item["loc"]) == 1
        return unknown_field(str(item["loc"][-1]), known if top else ())
    if kind == "value_error":
        return str(item["msg"]).removeprefix("Value error, ")
    if kind in PREDICATES:
        return PREDICATES[kind].format_map(context)
    unit = UNITS.get(context.get("field_type", "Value"), "characters")
    if kind in ("string_too_short", "too_short"):
        least = context["min_length"]
        return "must not be empty" if least == 1 else f"must have at least {least:,} {unit}"
    if kind in ("string_too_long", "too_long"):
        return f"must have at most {context['max_length']:,} {unit}"
    return f"is not valid: {item['msg']}"


def _pointer(item: PydanticError, value: Any) -> str:
    """The JSON pointer of the field that an error is about (RFC 6901). pydantic's `loc` also names
    the branches of a union that it tried; those are not in the value, so they are left out."""
    path, last = "", len(item["loc"]) - 1
    for index, step in enumerate(item["loc"]):
        if isinstance(value, dict) and isinstance(step, str):
            if step in value or (index == last and item["type"] == "missing"):
                path += f"/{escape(step)}"
                value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int):
            path += f"/{step}"
            value = value[step] if step < len(value) else None
    return path
