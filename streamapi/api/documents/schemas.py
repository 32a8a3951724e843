"""Shapes and the tasks' models as JSON schemas under one set of names (`components/schemas`).

msgspec and pydantic name a schema by its class. pydantic keeps its own names apart. If a model of a
task has the name of a shape, the model's name gets the prefix `Task`, so that a new task never
changes the schemas of other routes.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from inspect import cleandoc
from typing import Any

import msgspec
from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, models_json_schema

from streamapi.api.shapes import DoneAnswer, StartData, whole_answer
from streamapi.errors import Problem, every_error
from streamapi.generation.event import EVENTS, Cancelled, Done, Failed, Start, Timings, Usage
from streamapi.tasks.task import Task, TaskRequest

Schema = dict[str, Any]
PLACE = "#/components/schemas/"
ALWAYS_WHOLE = (Usage, Timings, Failed, Cancelled)
"""Structs whose fields have defaults in the code, but are always present in JSON."""


class _Plain(GenerateJsonSchema):
    """Schemas without titles that only repeat the names of the fields."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


class Schemas:
    """The schemas of both documents, and references to those of a task."""

    def __init__(
        self,
        tasks: Mapping[str, Task[Any]],
        shapes: Iterable[type] = (),
        models: Iterable[type[BaseModel]] = (),
    ) -> None:
        """`shapes` are what the routes answer; `models` read their bodies and parameters."""
        self.tasks = tasks
        events = [kind for kind in EVENTS if kind not in (Start, Done)]
        answers = [self.answer_type(task) for task in tasks.values()]
        general = dict.fromkeys((*shapes, DoneAnswer, StartData, Problem, *events))
        self.components = struct_components(kind for kind in general if kind not in answers)
        taken = {*self.components, *(kind.__name__ for kind in answers)}
        self._models, found = _models(tasks.values(), taken)
        self.components |= struct_components(answers, self._result) | found
        for model in dict.fromkeys(models):
            if (model, "validation") not in self._models:
                self.components |= _plain_model(model)
        for kind in ALWAYS_WHOLE:
            schema = self.components[kind.__name__]
            schema["required"] = list(schema["properties"])
            for field in schema["properties"].values():
                field.pop("default", None)
        codes = [kind.code for kind in every_error()]
        self.components["Problem"]["properties"]["code"]["examples"] = codes

    def model(self, model: type[BaseModel]) -> Schema:
        """The schema of a body."""
        return {"$ref": self._models.get((model, "validation"), PLACE + model.__name__)}

    def model_schema(self, model: type[BaseModel]) -> Schema:
        """The same, spelt out."""
        return self.components[str(self.model(model)["$ref"]).removeprefix(PLACE)]

    def answer_type(self, task: Task[Any]) -> type[DoneAnswer]:
        """What a task answers, once it is done."""
        return whole_answer(task.name, task.result)

    def events(self, done: type = DoneAnswer) -> dict[str, Schema]:
        """The data of each event by its type, where that of `done` is given."""
        known: dict[type, Schema] = {Start: ref(StartData), Done: ref(done)}
        return {kind.type: known.get(kind) or ref(kind) for kind in EVENTS}

    def _result(self, kind: type) -> Schema:
        return {"$ref": self._models[kind, "serialization"]}


def ref(kind: type) -> Schema:
    """A reference to the schema of a shape."""
    return {"$ref": PLACE + kind.__name__}


def struct_components(
    kinds: Iterable[type], hook: Callable[[type], Schema] | None = None
) -> dict[str, Schema]:
    """The schemas of structs, and of the types of their fields, by name."""
    _, components = msgspec.json.schema_components(
        kinds, schema_hook=hook, ref_template=PLACE + "{name}"
    )
    for schema in components.values():
        if "description" in schema:
            schema["description"] = cleandoc(schema["description"])  # 3.11 keeps the indentation
    # Tuples among the defaults become lists, as they are on the wire.
    listed = msgspec.json.decode(msgspec.json.encode(components))
    return {name: _tidy(schema, {}) for name, schema in listed.items()}


def _plain_model(model: type[BaseModel]) -> dict[str, Schema]:
    """The schema of a body that belongs to no task, and of the models nested in it."""
    schema = model.model_json_schema(ref_template=PLACE + "{model}", schema_generator=_Plain)
    inner = schema.pop("$defs", {})
    return {name: _tidy(found, {}) for name, found in {**inner, model.__name__: schema}.items()}


def _models(
    tasks: Collection[Task[Any]], taken: Collection[str]
) -> tuple[dict[tuple[type, JsonSchemaMode], str], dict[str, Schema]]:
    """The references to the models of the tasks, by model and mode; and their schemas by name."""
    wanted: list[tuple[type[BaseModel], JsonSchemaMode]] = []
    for task in tasks:
        wanted += [(task.request, "validation"), (task.result, "serialization")]
    places, found = models_json_schema(
        wanted, ref_template=PLACE + "{model}", schema_generator=_Plain
    )
    definitions = found.get("$defs", {})
    moved = {PLACE + name: f"{PLACE}Task{name}" for name in definitions if name in taken}
    components = {
        moved.get(PLACE + name, PLACE + name).removeprefix(PLACE): _tidy(schema, moved)
        for name, schema in definitions.items()
    }
    for task in tasks:
        place = str(places[task.request, "validation"]["$ref"])
        _own_first(components[moved.get(place, place).removeprefix(PLACE)])
    at = {key: str(moved.get(item["$ref"], item["$ref"])) for key, item in places.items()}
    return at, components


def _own_first(schema: Schema) -> None:
    """Put a task's own fields before those that every task takes."""
    fields = schema["properties"]
    own = {name: fields[name] for name in fields if name not in TaskRequest.model_fields}
    schema["properties"] = {**own, **fields}


def _tidy(value: Any, moved: Mapping[str, str]) -> Any:
    """The same schema with its references moved, the types of enums added, and "or null" as a type,
    which Scalar shows better than a union. A list stays a union, because Scalar does not show the
    items of a list with two types."""
    if isinstance(value, list):
        return [_tidy(item, moved) for item in value]
    if not isinstance(value, dict):
        return value
    schema = {
        key: moved.get(item, item) if key == "$ref" else _tidy(item, moved)
        for key, item in value.items()
    }
    if isinstance(schema.get("enum"), list) and all(isinstance(v, str) for v in schema["enum"]):
        schema = {"type": "string", **schema}
    branches = schema.get("anyOf")
    null = {"type": "null"}
    if isinstance(branches, list) and len(branches) == 2 and branches[1] == null:
        some = branches[0]
        if "$ref" in some or some.get("type") == "array":
            # Without a type, Scalar's validator takes some of these for no schema.
            schema["type"] = [some.get("type", "object"), "null"]
        elif isinstance(some.get("type"), str):
            del schema["anyOf"]
            enum = {"enum": [*some["enum"], None]} if "enum" in some else {}
            schema = {**some, **enum, "type": [some["type"], "null"], **schema}
    return schema
