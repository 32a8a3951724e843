"""The documents say what the server does: every route, error, event and task, and nothing else.

Where a document is made from code, the code's own checks are used on what a server really sends.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest
from pydantic import BaseModel
from quart_rate_limiter import QUART_RATE_LIMITER_EXEMPT_ATTRIBUTE

from streamapi.access import keys
from streamapi.api import shapes
from streamapi.api.documents import asyncapi, failures, streams
from streamapi.api.documents.schemas import Schemas
from streamapi.api.patches.heads import FAULTS
from streamapi.api.routes.health import Alive, Readiness
from streamapi.api.routes.models import ModelList
from streamapi.app import create_app
from streamapi.emulator import Emulator
from streamapi.errors import every_error
from streamapi.generation.event import EVENTS
from streamapi.settings import Settings
from streamapi.tasks import every_task
from streamapi.tasks.task import Task, TaskRequest
from streamapi.tasks.text import TASK as TEXT
from tests.api.wire import http, parse
from tests.conftest import QUICK, Running, bearer, running

TASKS = every_task()
NOT_DESCRIBED = {"/static/<path:name>", "/", "/openapi.json", "/openapi-3.1.json", "/asyncapi.json"}
NOT_DESCRIBED |= {"/docs", "/docs/scalar.js", "/docs/start.js"}
NOT_DESCRIBED |= {"/manual", "/manual/<path:name>", "/llms.txt"}
"""The documents do not describe themselves, nor the pages and the manual."""


@pytest.fixture
async def document(client: httpx.AsyncClient) -> dict[str, Any]:
    return (await client.get("/openapi.json")).json()


@pytest.fixture
async def events(client: httpx.AsyncClient) -> dict[str, Any]:
    return (await client.get("/asyncapi.json")).json()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield method, path, operation


def references(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from references(item)
    elif isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for item in value.values():
            yield from references(item)


def followed(document: dict[str, Any], reference: str) -> Any:
    found: Any = document
    for step in reference.removeprefix("#/").split("/"):
        found = found[step.replace("~1", "/").replace("~0", "~")]
    return found


def app() -> Any:
    return create_app(Settings(google_api_key="k", **QUICK))


def is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def checked(value: Any, kind: type) -> None:
    """Raise where the value is not of the kind; pydantic's models are checked by pydantic."""
    msgspec.convert(value, kind, dec_hook=lambda model, found: model.model_validate(found))


async def test_the_document_is_openapi_3_2(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.2.0"
    assert document["info"]["title"]
    assert document["info"]["version"]
    ids, tags = [], {tag["name"] for tag in document["tags"]}
    for method, path, operation in operations(document):
        assert method in ("get", "post", "delete"), path
        assert operation["summary"], path
        assert set(operation["tags"]) <= tags, path
        ids.append(operation["operationId"])
        named = {p["name"] for p in operation["parameters"] if p.get("in") == "path"}
        assert named == set(re.findall(r"{(\w+)}", path))
        for status, response in operation["responses"].items():
            assert re.fullmatch(r"[1-5]\d\d", status), (path, status)
            assert response["description"]
            for media in response.get("content", {}).values():
                assert ("schema" in media) != ("itemSchema" in media)
    assert len(ids) == len(set(ids))


async def test_every_reference_leads_somewhere(
    document: dict[str, Any], events: dict[str, Any]
) -> None:
    for whole in (document, events):
        for reference in set(references(whole)):
            assert followed(whole, reference), reference


async def test_every_route_is_described(document: dict[str, Any]) -> None:
    """Give a route that is not a `Description`, or name it in `NOT_DESCRIBED`."""
    described = {(method, path) for method, path, _ in operations(document)}
    for rule in app().url_map.iter_rules():
        path = re.sub(r"<(?:[^:>]*:)?(\w+)>", r"{\1}", rule.rule)
        for method in set(rule.methods or ()) - {"HEAD", "OPTIONS"}:
            assert ((method.lower(), path) in described) != (rule.rule in NOT_DESCRIBED), rule.rule


async def test_every_operation_says_how_it_succeeds(document: dict[str, Any]) -> None:
    """A `Description` gives a success."""
    for _, path, operation in operations(document):
        assert {"200", "201", "204", "101"} & set(operation["responses"]), path


async def test_every_error_has_a_place(document: dict[str, Any]) -> None:
    """The `Description` of a route that can answer a new error has the error in `fails`."""
    codes = {kind.code for kind in every_error()}
    assert {error["code"] for error in document["x-streamapi-errors"]} == codes
    shown = set()
    for _, _, operation in operations(document):
        for status, response in operation["responses"].items():
            problem = response.get("content", {}).get("application/problem+json", {})
            for code, place in problem.get("examples", {}).items():
                body = followed(document, place["$ref"])["value"]
                assert (body["code"], str(body["status"])) == (code, status)
                shown.add(code)
    assert shown == codes - {kind.code for kind in failures.NOWHERE}


async def test_limited_routes_say_so(document: dict[str, Any]) -> None:
    application = app()
    for rule in application.url_map.iter_rules():
        if rule.rule in NOT_DESCRIBED:
            continue
        view = application.view_functions[rule.endpoint]
        exempt = getattr(view, QUART_RATE_LIMITER_EXEMPT_ATTRIBUTE, False) or rule.websocket
        exempt = exempt and not getattr(view, "only_resumes", False)  # replays have a limit
        exempt = exempt and getattr(view, "open_to_all", False)  # guesses of keys have one
        item = document["paths"][re.sub(r"<(?:[^:>]*:)?(\w+)>", r"{\1}", rule.rule)]
        for method in {m.lower() for m in rule.methods or ()} & set(item):
            assert ("429" in item[method]["responses"]) != exempt, rule.rule


@pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
async def test_a_task_is_described(document: dict[str, Any], task: Task[Any]) -> None:
    entry = {"name": task.name, "title": task.title, "description": task.description}
    assert entry in document["x-streamapi-tasks"]
    content = document["paths"][f"/v1/{task.name}"]["post"]["requestBody"]["content"]
    body = content["application/json"]
    for example in body["examples"].values():
        task.request.model_validate(example["value"], strict=True)
    fields = followed(document, body["schema"]["$ref"])["properties"]
    own = [name for name in task.request.model_fields if name not in TaskRequest.model_fields]
    assert list(fields) == [*own, *TaskRequest.model_fields], "its own fields come first"
    assert all(
        fields[name].get("description")
        for name, field in task.request.model_fields.items()
        if field.description
    )


@pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
async def test_an_answer_is_as_described(client: httpx.AsyncClient, task: Task[Any]) -> None:
    answer = (await client.post(f"/v1/{task.name}", json=task.example)).json()
    kind = Schemas(TASKS).answer_type(task)
    checked(answer, kind)
    assert set(answer) == set(kind.__struct_fields__)  # type: ignore[attr-defined]
    again = (await client.get(f"/v1/generations/{answer['id']}")).json()
    checked(again, shapes.Answer)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/v1/models", ModelList),
        ("/healthz", Alive),
        ("/readyz", Readiness),
    ],
)
async def test_the_other_answers_are_as_described(
    client: httpx.AsyncClient, path: str, kind: type
) -> None:
    checked((await client.get(path)).json(), kind)


async def test_202_is_as_described(client: httpx.AsyncClient) -> None:
    headers = {"Prefer": "respond-async"}
    response = await client.post("/v1/text", json=TEXT.example, headers=headers)
    checked(response.json(), shapes.Accepted)
    assert {"Location", "Preference-Applied", "Generation-Id"} <= {
        name.title() for name in response.headers
    }


def streams_of(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The method and path of each stream, and how its body is described."""
    for method, path, operation in operations(document):
        content = operation["responses"].get("200", {}).get("content", {})
        if streams.MEDIA_TYPE in content:
            yield method, path, content[streams.MEDIA_TYPE]


async def test_every_event_of_a_stream_is_described(document: dict[str, Any]) -> None:
    """A stream's events, and those of a socket, are those of `event.py`; `GET` has pings too."""
    for method, path, media in streams_of(document):
        items = media["itemSchema"]["oneOf"]
        pings = ["ping"] if method == "get" else []
        kinds = [item["properties"]["event"]["const"] for item in items]
        assert kinds == [kind.type for kind in EVENTS] + pings, path


async def test_every_event_is_as_described(
    client: httpx.AsyncClient, document: dict[str, Any]
) -> None:
    """The data of each event of each stream, by the type that its schema is made of."""
    known = {kind.__name__: kind for kind in (*EVENTS, shapes.StartData)}
    known |= {kind.__name__: kind for kind in map(Schemas(TASKS).answer_type, TASKS.values())}
    known["DoneAnswer"] = shapes.DoneAnswer
    answer = (await client.post("/v1/text", json=TEXT.example)).json()
    seen = set()
    for method, path, media in streams_of(document):
        items = {
            item["properties"]["event"]["const"]: item["properties"]
            for item in media["itemSchema"]["oneOf"]
        }
        task = TASKS.get(path.split("/")[2], TEXT)
        inputs = {"json": task.example} if method == "post" else {"params": task.example}
        inputs = {} if "{" in path else inputs
        place = path.replace("{generation_id}", answer["id"])
        body = (await client.request(method, place, **inputs)).raise_for_status().content
        for event in parse(body):
            properties = items[event.type]
            assert re.fullmatch(properties["id"]["pattern"], event.id or ""), path
            name = properties["data"]["contentSchema"]["$ref"].rpartition("/")[2]
            checked(event.data, known[name])
            seen.add((method, path, event.type))
    assert {kind for _, _, kind in seen} >= {"start", "delta", "label", "done"}
    assert {place[:2] for place in seen} == {place[:2] for place in streams_of(document)}


async def test_the_older_document_differs_in_streams_alone(
    client: httpx.AsyncClient, document: dict[str, Any]
) -> None:
    """OpenAPI 3.1 has no `itemSchema`."""
    older = (await client.get("/openapi-3.1.json")).json()
    assert older["openapi"] == "3.1.0"
    assert "itemSchema" not in json.dumps(older)
    count = 0
    for _, path, media in streams_of(older):
        count += 1
        assert media["schema"]["type"] == "string"
        assert list(media["x-events"]) == [kind.type for kind in EVENTS], path
    assert count == len(list(streams_of(document)))
    assert {**older, "openapi": "", "paths": {}} == {**document, "openapi": "", "paths": {}}


async def test_a_head_can_be_refused_anywhere(document: dict[str, Any]) -> None:
    """A head is read before its path: `malformed_request` has its statuses on every path."""
    for _, path, operation in operations(document):
        assert {str(status) for status in FAULTS} <= set(operation["responses"]), path


@pytest.mark.parametrize("auth", ["open", "keys"])
async def test_a_key_is_needed_where_the_document_says_so(
    emulator: Emulator, database_url: str, auth: str
) -> None:
    """An open server asks nobody; a socket can show its key in its first message."""
    async with (
        running(emulator, auth=auth, database_url=database_url) as server,
        http(server.url) as client,
    ):
        document = (await client.get("/openapi.json")).json()
    for _, path, operation in operations(document):
        if "security" in operation:
            optional = {} in operation["security"]
            assert optional == (auth == "open" or "x-websocket" in operation), path


async def test_the_example_of_a_stream_is_one(client: httpx.AsyncClient) -> None:
    """It has the same lines as a real one, but for the number of deltas."""
    real = (await client.post("/v1/text/stream", json=TEXT.example)).text
    shape = re.compile(r"^(?:event: \w+|retry: \d+|id(?=: gen_)|data)", re.M)
    kinds = [list(dict.fromkeys(shape.findall(t))) for t in (real, streams.example()["value"])]
    assert kinds[0] == kinds[1]
    keys = [
        [
            sorted(json.loads(line))
            for line in re.findall(r"event: (?:start|done)\n.*\ndata: (.*)", t)
        ]
        for t in (real, streams.example()["value"])
    ]
    assert keys[0] == keys[1]


async def test_the_examples_of_parameters_make_a_request(
    client: httpx.AsyncClient, document: dict[str, Any]
) -> None:
    for task in TASKS:
        path = f"/v1/{task}/stream"
        taken = document["paths"][path]["get"]["parameters"]
        examples = {p["name"]: p["example"] for p in taken if "example" in p}
        answer = await client.get(path, params=examples)
        assert "event: done" in answer.text, path


async def test_parameters_are_the_fields_that_text_can_carry(document: dict[str, Any]) -> None:
    found = {}
    for task in TASKS:
        taken = document["paths"][f"/v1/{task}/stream"]["get"]["parameters"]
        found[task] = {p["name"] for p in taken if p.get("in") == "query"}
        assert {"$ref": "#/components/parameters/idempotency_key"} in taken
        assert {"$ref": "#/components/parameters/after"} in taken
    assert "prompt" in found["text"]
    assert not {"messages", "metadata"} & found["text"]
    assert {"text", "labels"} <= found["classification"]
    assert "examples" not in found["classification"]


class TextResult(BaseModel):
    """The name of another task's model."""

    poem: str


class Problem(BaseModel):
    """The name of a shape."""

    text: str


def test_a_new_task_changes_no_other() -> None:
    fourth = Task("poem", "Poem", "Writes.", TEXT.request, TextResult, TEXT.prompt, TEXT.parser, {})
    fifth = Task("riddle", "Riddle", "Asks.", TEXT.request, Problem, TEXT.prompt, TEXT.parser, {})
    tasks = {**TASKS, "poem": fourth, "riddle": fifth}
    before, after = Schemas(TASKS).components, Schemas(tasks).components
    assert before["Problem"] == after["Problem"]
    result = {
        name: followed(
            {"components": {"schemas": after}}, after[name]["properties"]["result"]["$ref"]
        )
        for name in ("TextAnswer", "PoemAnswer", "RiddleAnswer")
    }
    assert list(result["TextAnswer"]["properties"]) == ["text"]
    assert list(result["PoemAnswer"]["properties"]) == ["poem"]
    assert list(result["RiddleAnswer"]["properties"]) == ["text"]
    assert "poem" in asyncapi.document(Schemas(tasks))["channels"]


async def test_sockets_are_described(document: dict[str, Any], events: dict[str, Any]) -> None:
    assert events["asyncapi"] == "3.0.0"
    addresses = {channel["address"] for channel in events["channels"].values()}
    sockets = {path for _, path, operation in operations(document) if operation.get("x-websocket")}
    assert addresses == sockets == {"/v1/ws", *(f"/v1/{name}/ws" for name in TASKS)}
    for channel in events["channels"].values():
        messages = [followed(events, m["$ref"]) for m in channel["messages"].values()]
        names = {message["name"] for message in messages}
        assert names >= {kind.type for kind in EVENTS} | {
            "error",
            "pong",
            "resume",
            "cancel",
            "ping",
        }


async def test_every_status_of_a_handshake_is_described(
    emulator: Emulator, database_url: str
) -> None:
    """What an address of a WebSocket answers when it does not switch protocols."""
    settings = {"auth": "keys", "database_url": database_url, "failures_per_minute": 1}
    async with running(emulator, **settings) as server, http(server.url) as client:
        document = (await client.get("/openapi.json")).json()
        upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
        upgrade |= {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
        attempts: list[dict[str, str]] = [
            {},
            {**upgrade, "Sec-WebSocket-Key": "short"},
            {**upgrade, "Sec-WebSocket-Version": "12"},
            {**upgrade, "Origin": "https://elsewhere.example"},
            {**upgrade, "Authorization": "nonsense"},
            *({**upgrade, **bearer(keys.make())} for _ in range(2)),
        ]
        statuses = [
            (await client.get("/v1/ws", headers=headers)).status_code for headers in attempts
        ]
    assert set(statuses) == {400, 401, 403, 429}
    assert {str(status) for status in statuses} <= set(
        document["paths"]["/v1/ws"]["get"]["responses"]
    )


async def test_the_documents_are_built_once(client: httpx.AsyncClient) -> None:
    for path in (
        "/openapi.json",
        "/openapi-3.1.json",
        "/asyncapi.json",
        "/docs",
        "/docs/scalar.js",
        "/docs/start.js",
    ):
        first = await client.get(path)
        assert first.status_code == 200
        again = await client.get(path, headers={"If-None-Match": first.headers["ETag"]})
        assert (again.status_code, again.content) == (304, b""), path


async def test_the_page_loads_nothing_from_elsewhere(server: Running) -> None:
    async with httpx.AsyncClient(base_url=server.url) as client:
        page = await client.get("/docs")
        script = await client.get("/docs/start.js")
        assert "://" not in page.text
        assert "://" not in script.text
        assert "<script>" not in page.text
        policy = page.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
        for path in loaded:
            assert (await client.get(path)).status_code == 200, path
        scalar = next(path for path in loaded if "scalar.js" in path)
        assert "immutable" in (await client.get(scalar)).headers["Cache-Control"]
        assert "telemetry: false" in script.text
        assert "withDefaultFonts: false" in script.text
