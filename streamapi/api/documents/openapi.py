"""The OpenAPI document: quart-schema walks the routes, and their descriptions add the rest.

quart-schema knows the path and the docstring of a route. The description of the route adds its
bodies, event streams, parameters, errors and response headers. quart-schema would build the
document for each request; here it is built once, when all routes are registered.
"""

from collections.abc import Callable, Iterable
from functools import cached_property
from inspect import cleandoc
from typing import Any

from quart import Quart
from quart_rate_limiter import QUART_RATE_LIMITER_EXEMPT_ATTRIBUTE
from quart_schema import Info, QuartSchema
from quart_schema.openapi import OpenAPIProvider
from werkzeug.routing import Rule

from streamapi.api.description import Description, description_of
from streamapi.api.documents import components, failures, streams
from streamapi.api.documents.operations import complete
from streamapi.api.documents.schemas import Schema, Schemas
from streamapi.api.parameters import REQUEST_ID
from streamapi.services import Services
from streamapi.version import version

DESCRIPTION = """
Every task has four transports: one JSON answer, Server-Sent Events by POST, Server-Sent Events by
GET, and WebSocket. With `Prefer: respond-async` you can start an answer now and follow it later.
All transports read the same log of events, so that they give the same answer.

**A stream that stops without `done`, `failed` or `cancelled` is not over: resume it.**

An error is `application/problem+json` (RFC 9457). Its `code` names the error, and `retryable` says
whether another try can succeed. Once a stream has started, the event `failed` holds the same
object. [/asyncapi.json](/asyncapi.json) describes the messages of the WebSockets.
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

    @cached_property
    def schemas(self) -> Schemas:
        """The schemas of what the routes take and give."""
        services: Services = self._app.extensions["streamapi"]
        found = [described for _, described in self._described()]
        replies = [reply.body for it in found for reply in it.gives.values()]
        models = [model for it in found for model in (it.body, it.query) if model is not None]
        shapes = [body for body in replies if body not in (None, str)]
        return Schemas(services.tasks, shapes, models)

    def generate_rules(self) -> Iterable[Rule]:
        """Every route that is not hidden, WebSockets included, in the order of their tags."""
        return [rule for rule, _ in self._described()]

    def build_paths(self, rule: Rule) -> tuple[dict[str, Any], dict[str, Any]]:
        """The route as quart-schema has it, and what its description adds."""
        paths, found = super().build_paths(rule)
        view = self._app.view_functions[rule.endpoint]
        described = description_of(view)
        assert described is not None, "only routes with a description are in the document"
        exempt = rule.websocket or getattr(view, QUART_RATE_LIMITER_EXEMPT_ATTRIBUTE, False)
        public = getattr(view, "open_to_all", False)
        for operations in paths.values():
            for operation in operations.values():
                _summarise(operation, view)
                complete(
                    operation,
                    described,
                    self.schemas,
                    public=public,
                    counted=not exempt,
                    websocket=rule.websocket,
                )
                if not public:
                    operation["security"] = self._security(rule)
                if rule.websocket:
                    operation["x-websocket"] = True
        return paths, found

    def _described(self) -> list[tuple[Rule, Description]]:
        found = []
        for rule in self._app.url_map.iter_rules():
            described = description_of(self._app.view_functions[rule.endpoint])
            if described is not None:
                found.append((rule, described))
        return sorted(found, key=lambda it: (it[1].tag.order, it[0].websocket))

    def _security(self, rule: Rule) -> list[Schema]:
        """An open server asks for no key; a WebSocket can send its key later, in `auth`."""
        services: Services = self._app.extensions["streamapi"]
        required = services.key_auth is not None and not rule.websocket
        return [{"key": []}] if required else [{}, {"key": []}]

    def _build(self) -> dict[str, Any]:
        services: Services = self._app.extensions["streamapi"]
        described = [it for _, it in self._described()]
        document = super().schema()
        document["openapi"] = "3.2.0"
        document["components"] = {
            "schemas": {**document["components"]["schemas"], **self.schemas.components},
            "parameters": components.parameters(
                [*(parameter for it in described for parameter in it.takes), REQUEST_ID]
            ),
            "headers": components.headers(
                header
                for it in described
                for reply in it.gives.values()
                for header in reply.headers
            ),
            "securitySchemes": {"key": components.KEY},
            "examples": {"stream": streams.example(), **failures.examples()},
        }
        tags = dict.fromkeys(it.tag for it in described)
        document["tags"] = [{"name": it.name, "description": it.description} for it in tags]
        document["x-streamapi-tasks"] = [
            {"name": task.name, "title": task.title, "description": task.description}
            for task in services.tasks.values()
        ]
        document["x-streamapi-errors"] = failures.catalogue()
        return document


def info() -> Info:
    """What the document is about."""
    return Info(title="streamapi", version=version(), description=DESCRIPTION.strip())


def _summarise(operation: Schema, view: Callable[..., Any]) -> None:
    first, _, rest = cleandoc(view.__doc__ or "").partition("\n\n")
    operation["summary"] = " ".join(first.split()).rstrip(".")
    operation["description"] = rest
