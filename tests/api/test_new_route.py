"""A new route is one file and its test: the server finds the file, guards it and documents it."""

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from streamapi.api import routes
from streamapi.app import create_app
from streamapi.emulator import Emulator
from streamapi.settings import Settings
from tests import test_promises
from tests.api import test_keys
from tests.conftest import Running, running

ECHOES = '''
"""Echoes: a text in, the same text out."""

from msgspec import Struct
from pydantic import BaseModel, ConfigDict
from quart import Blueprint, Response

from streamapi.api.authentication import any_scope
from streamapi.api.body import read_object
from streamapi.api.description import Description, Header, Parameter, Reply, Tag
from streamapi.errors import NotFound
from streamapi.generation.event import encode
from streamapi.validation import validate

ECHOES = Tag("Echoes", "What comes back.")
LOUD = Parameter("loud", "Whether the echo shouts.", {"type": "boolean"})
DISTANCE = Header("Echo-Distance", "How far the sound went, in metres.")

routes = Blueprint("echoes", __name__, url_prefix="/v1/echoes")


class EchoRequest(BaseModel):
    """What to repeat."""

    model_config = ConfigDict(extra="forbid")

    text: str


class Echo(Struct):
    """What comes back."""

    text: str


@routes.post("")
@Description(
    "make_echo",
    ECHOES,
    {200: Reply("The echo.", Echo, (DISTANCE,))},
    takes=(LOUD,),
    body=EchoRequest,
    examples={"hello": {"text": "Hello!"}},
    fails=(NotFound,),
)
@any_scope("an echo costs nothing")
async def make() -> Response:
    """Get a text back."""
    wanted = validate(EchoRequest, await read_object())
    if wanted.text == "silence":
        raise NotFound("Silence has no echo.")
    return Response(encode(Echo(wanted.text)), content_type="application/json")
'''


@pytest.fixture(scope="module")
def echoes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One file more among the routes."""
    folder: Path = tmp_path_factory.mktemp("routes")
    (folder / "echoes.py").write_text(ECHOES)
    routes.__path__.append(str(folder))
    yield
    routes.__path__.remove(str(folder))
    sys.modules.pop("streamapi.api.routes.echoes", None)
    vars(routes).pop("echoes", None)


@pytest.fixture(scope="module")
async def server(emulator: Emulator, echoes: None) -> AsyncIterator[Running]:
    """A server that found the file."""
    async with running(emulator) as server:
        yield server


async def test_it_is_served(client: httpx.AsyncClient) -> None:
    """Its answer is the shape that it declares; it has a request limit and a request id."""
    answer = await client.post("/v1/echoes", json={"text": "hello"})
    assert (answer.status_code, answer.json()) == (200, {"text": "hello"})
    assert answer.headers["X-Request-Id"]


async def test_its_errors_are_problems(client: httpx.AsyncClient) -> None:
    """Its own error, and what is wrong with its body."""
    lost = await client.post("/v1/echoes", json={"text": "silence"})
    wrong = await client.post("/v1/echoes", json={"words": "hello"})
    assert (lost.status_code, lost.json()["code"]) == (404, "not_found")
    assert {error["pointer"] for error in wrong.json()["errors"]} == {"/text", "/words"}


async def test_it_is_documented(client: httpx.AsyncClient) -> None:
    """Its words, its shapes, its parameter, its tag, and every error that it can answer."""
    document = (await client.get("/openapi.json")).json()
    operation = document["paths"]["/v1/echoes"]["post"]
    assert (operation["operationId"], operation["tags"]) == ("make_echo", ["Echoes"])
    assert operation["summary"] == "Get a text back"
    assert {"name": "Echoes", "description": "What comes back."} in document["tags"]
    schemas, place = document["components"]["schemas"], "#/components/schemas/"
    [body] = operation["requestBody"]["content"].values()
    assert body["schema"] == {"$ref": f"{place}EchoRequest"}
    assert body["examples"]["hello"]["value"] == {"text": "Hello!"}
    answer = operation["responses"]["200"]["content"]["application/json"]
    assert answer["schema"] == {"$ref": f"{place}Echo"}
    assert {"EchoRequest", "Echo"} <= set(schemas)
    assert {"$ref": "#/components/parameters/loud"} in operation["parameters"]
    assert document["components"]["parameters"]["loud"]["in"] == "query"
    headers = document["components"]["headers"]
    assert "Echo-Distance" in operation["responses"]["200"]["headers"]
    assert headers["Echo-Distance"]["description"] == "How far the sound went, in metres."
    errors = {
        code
        for response in operation["responses"].values()
        for code in response["content"].get("application/problem+json", {}).get("examples", {})
    }
    assert errors >= {"not_found", "invalid_request", "malformed_json", "too_large"}
    assert errors >= {"unauthenticated", "rate_limited", "internal", "unsupported_media_type"}


async def test_it_takes_a_key(emulator: Emulator, echoes: None, database_url: str) -> None:
    """Where the server takes keys, a route that is not marked as open takes one, too."""
    async with (
        running(emulator, auth="keys", database_url=database_url) as server,
        httpx.AsyncClient(base_url=server.url) as client,
    ):
        answer = await client.post("/v1/echoes", json={"text": "hello"})
        assert answer.status_code == 401
        await test_keys.test_every_route_needs_a_key_or_says_why_not(server, client)
        await test_keys.test_every_route_needs_its_scope(server, client)


def test_it_keeps_the_promises_of_a_route(echoes: None) -> None:
    """No other file knows it, and no promise asks for another file."""
    assert "echoes.make" in create_app(Settings(google_api_key="k")).view_functions
    test_promises.test_every_route_has_a_limit_or_says_why_not()
    test_promises.test_every_package_is_an_index_of_its_modules()


async def test_it_is_gone_with_its_file(echoes: None) -> None:
    """A server without the file does not know the route."""
    path = routes.__path__[:]
    assert "echoes.make" in create_app(Settings(google_api_key="k")).view_functions
    routes.__path__[:] = path[:1]
    try:
        assert "echoes.make" not in create_app(Settings(google_api_key="k")).view_functions
    finally:
        routes.__path__[:] = path
