"""One operation of the OpenAPI document, from the description that its route carries."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from streamapi.api.description import Description, EventStream, Reply
from streamapi.api.documents import failures, streams
from streamapi.api.documents.components import TEXT, header_refs, parameter
from streamapi.api.documents.schemas import Schema, Schemas, ref
from streamapi.api.parameters import REQUEST_ID

RATE_HEADERS = ("RateLimit", "RateLimit-Policy")


def complete(
    operation: Schema,
    described: Description,
    schemas: Schemas,
    *,
    public: bool,
    counted: bool,
    websocket: bool,
) -> None:
    """Add to an operation, which has its path's parameters and its docstring, what the description
    says. `public` routes take no key; `counted` ones have a request limit."""
    operation["operationId"] = described.id
    operation["tags"] = [described.tag.name]
    if described.summary:
        operation["summary"], operation["description"] = described.summary, described.description
    operation["parameters"] = [
        *operation["parameters"],
        *(_fields(described.query, described.examples, schemas) if described.query else ()),
        *map(parameter, (*described.takes, REQUEST_ID)),
    ]
    if described.body is not None:
        operation["requestBody"] = _body(described.body, described, schemas)
    always = (*(() if websocket else ("X-Request-Id",)), *(RATE_HEADERS if counted else ()))
    replies = {str(status): _reply(it, always, schemas) for status, it in described.gives.items()}
    errors = failures.errors_of(described, public=public, counted=counted, websocket=websocket)
    responses = {**failures.responses(errors, counted=counted), **replies}
    operation["responses"] = dict(sorted(responses.items()))


def _reply(reply: Reply | EventStream, always: tuple[str, ...], schemas: Schemas) -> Schema:
    if isinstance(reply, EventStream):
        found = streams.events(reply.description, schemas.events(reply.done), pings=reply.pings)
    else:
        found = {"description": reply.description}
        if reply.body is not None:
            schema = TEXT if reply.body is str else ref(reply.body)
            found["content"] = {reply.media_type: {"schema": schema}}
    names = (*(it.name for it in reply.headers), *always)
    return {**found, "headers": header_refs(names)}


def _body(model: type[BaseModel], described: Description, schemas: Schemas) -> Schema:
    content: Schema = {"schema": schemas.model(model)}
    if described.examples:
        # Named, because Scalar's own client begins with a named example, not with a lone one.
        content["examples"] = {
            name: {"summary": f"{described.tag.name}: an example", "value": value}
            for name, value in described.examples.items()
        }
    return {"required": True, "content": {"application/json": content}}


def _fields(model: type[BaseModel], examples: Mapping[str, Any], schemas: Schemas) -> list[Schema]:
    """The fields of a model that parameters can carry."""
    found = []
    schema = schemas.model_schema(model)
    for name, field in schema["properties"].items():
        text = as_text(field)
        if text is None:
            continue
        parameter = {"name": name, "in": "query", "required": name in schema.get("required", [])}
        if "description" in text:
            parameter["description"] = text.pop("description")
        shown = [example[name] for example in examples.values() if name in example]
        if shown:
            parameter["example"] = shown[0]
        found.append({**parameter, "schema": text})
    return found


def as_text(schema: Schema) -> Schema | None:
    """The schema of a field as a parameter's: a parameter is text, so it cannot be null, and a list
    holds no objects. None for what no parameter can carry."""
    text = {key: value for key, value in schema.items() if (key, value) != ("default", None)}
    if "anyOf" in text:
        text.pop("type", None)  # the branches have theirs
        carried = [found for branch in text.pop("anyOf") if (found := as_text(branch)) is not None]
        if len(carried) < 2:
            return {**carried[0], **text} if carried else None
        return {**text, "anyOf": carried}
    if isinstance(text.get("type"), list):
        text["type"] = next(kind for kind in text["type"] if kind != "null")
    if "enum" in text:
        text["enum"] = [value for value in text["enum"] if value is not None]
    if text.get("type") == "array":
        text["items"] = as_text(text["items"])
    carries = text.get("type") not in ("object", "null") and text.get("items", {}) is not None
    return text if carries and "$ref" not in text else None
