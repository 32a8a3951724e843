"""The OpenAPI document: quart-schema walks the routes, and this tells what it cannot know.

quart-schema describes JSON alone: event streams, sockets, errors and response headers are added
to each operation it finds. It would build the document at each request; here that happens once,
when the routes are all there.
"""

from collections.abc import Callable, Iterable
from inspect import cleandoc
from typing import Any

from quart import Quart
from quart_rate_limiter import QUART_RATE_LIMITER_EXEMPT_ATTRIBUTE
from quart_schema import Info, QuartSchema, Tag
from quart_schema.openapi import QUART_SCHEMA_HIDDEN_ATTRIBUTE, OpenAPIProvider
from werkzeug.routing import Rule

from streamapi.api.documents import failures, parts, streams
from streamapi.api.documents.doors import doors
from streamapi.api.documents.operations import Operation, resources
from streamapi.api.documents.schemas import Schema, Schemas
from streamapi.services import Services
from streamapi.version import version

DESCRIPTION = """
JSON in, JSON out. Every task can be asked by four doors: one JSON answer, Server-Sent Events by
POST and by GET, and WebSocket; and an answer can be begun now and followed later
(`Prefer: respond-async`). All doors read the same log of events, so they cannot disagree.

**A stream without an ending event is not over: resume it.**

Errors are `application/problem+json` (RFC 9457) with a `code`, and say whether trying again can
help (`retryable`). After the first byte the same object comes in the `failed` event. The
WebSocket messages are described in [/asyncapi.json](/asyncapi.json).
"""


class Provider(OpenAPIProvider):
    """The document of one app."""

    def __init__(self, app: Quart, extension: QuartSchema) -> None:
        super().__init__(app, extension)
        self._built: dict[str, Any] | None = None

    def schema(self) -> dict[str, Any]:
        """The document, built when it is first asked for."""
        if self._built is None:
            self._built = self._build()
        return self._built

    def generate_rules(self) -> Iterable[Rule]:
        """Every route that is not hidden, sockets included."""
        for rule in self._app.url_map.iter_rules():
            view = self._app.view_functions[rule.endpoint]
            if not getattr(view, QUART_SCHEMA_HIDDEN_ATTRIBUTE, False):
                yield rule

    def build_paths(self, rule: Rule) -> tuple[dict[str, Any], dict[str, Any]]:
        """The route as quart-schema has it, and what it cannot know."""
        paths, components = super().build_paths(rule)
        view = self._app.view_functions[rule.endpoint]
        exempt = rule.websocket or getattr(view, QUART_RATE_LIMITER_EXEMPT_ATTRIBUTE, False)
        needs_key = self._guarded and not rule.websocket  # a socket may show its key later: `auth`
        found = self._operations.get(rule.endpoint)
        for operations in paths.values():
            for operation in operations.values():
                _summarise(operation, view)
                if found is not None:
                    _complete(operation, found, view, counted=not exempt, needs_key=needs_key)
                if rule.websocket:
                    operation["x-websocket"] = True
        return paths, components

    def _build(self) -> dict[str, Any]:
        services: Services = self._app.extensions["streamapi"]
        tasks = services.tasks.values()
        self._guarded = services.key_auth is not None  # an open server asks nobody for a key
        schemas = Schemas(services.tasks)
        self._operations = resources(schemas)
        for task in tasks:
            self._operations |= doors(task, schemas)
        document = super().schema()
        document["openapi"] = "3.2.0"
        document["components"] = {
            "schemas": {**document["components"]["schemas"], **schemas.components},
            "parameters": parts.parameters(),
            "headers": parts.HEADERS,
            "securitySchemes": {"key": parts.KEY},
            "examples": {"stream": streams.example(), **failures.examples()},
        }
        document["x-streamapi-tasks"] = [
            {"name": task.name, "title": task.title, "description": task.description}
            for task in tasks
        ]
        document["x-streamapi-errors"] = failures.catalogue()
        return document


def info() -> Info:
    """What the document is about."""
    return Info(title="streamapi", version=version(), description=DESCRIPTION.strip())


def tags(services: Services) -> list[Tag | dict[str, Any]]:
    """One per task, and one per other resource."""
    return [
        *(Tag(task.title, task.description) for task in services.tasks.values()),
        Tag(parts.SOCKETS, "Many generations of any task on one socket."),
        Tag(parts.GENERATIONS, "What came of a request: read it, follow it, cancel it, forget it."),
        Tag(parts.CATALOGUE, "Who can answer."),
        Tag(parts.KEYS, "Who may ask, where keys are asked for; for keys with the scope `admin`."),
        Tag(parts.SERVICE, "The state of the server, and the pages of its errors."),
    ]


def _summarise(operation: Schema, view: Callable[..., Any]) -> None:
    first, _, rest = cleandoc(view.__doc__ or "").partition("\n\n")
    operation["summary"] = " ".join(first.split()).rstrip(".")
    operation["description"] = rest


def _complete(
    operation: Schema,
    found: Operation,
    view: Callable[..., Any],
    *,
    counted: bool,
    needs_key: bool,
) -> None:
    named = () if "101" in found.answers else ("X-Request-Id",)
    always = (*named, *(parts.COUNTED if counted else ()))
    asks = () if getattr(view, "open_to_all", False) else ("who",)
    situations = (*found.situations, "always", *asks, *(("counted",) if counted else ()))
    answers = {
        status: {**answer, "headers": {**answer.get("headers", {}), **parts.headers(*always)}}
        for status, answer in found.answers.items()
    }
    if asks:
        operation["security"] = [{"key": []}] if needs_key else [{}, {"key": []}]
    operation["operationId"] = found.id
    operation["tags"] = [found.tag]
    if found.summary:
        operation["summary"], operation["description"] = found.summary, found.description
    operation["parameters"] = [
        *operation["parameters"],
        *found.takes,
        parts.parameter("X-Request-Id"),
    ]
    if found.body is not None:
        operation["requestBody"] = found.body
    operation["responses"] = {**failures.responses(situations, counted=counted), **answers}
    operation["responses"] = dict(sorted(operation["responses"].items()))
