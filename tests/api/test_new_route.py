"""A new route is one file: dropped among the others, it is served, guarded and documented."""

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from streamapi.api import routes
from streamapi.app import create_app
from streamapi.emulator import Emulator
from streamapi.settings import Settings
from tests.conftest import Running, running

ECHOES = '''
"""Echoes: a text in, the same text out."""

from msgspec import Struct
from pydantic import BaseModel, ConfigDict
from quart import Blueprint, Response

from streamapi.api.body import read_object
from streamapi.api.description import Description, Parameter, Reply, Tag
from streamapi.errors import NotFound
from streamapi.generation.event import encode
from streamapi.validation import validate

ECHOES = Tag("Echoes", "What comes back.")
LOUD = Parameter("loud", "Whether the echo shouts.", {"type": "boolean"})

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
    {200: Reply("The echo.", Echo)},
    takes=(LOUD,),
    body=EchoRequest,
    examples={"hello": {"text": "Hello!"}},
    fails=(NotFound,),
)
async def make() -> Response:
    """Hear a text again."""
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
    assert operation["summary"] == "Hear a text again"
    assert {"name": "Echoes", "description": "What comes back."} in document["tags"]
    schemas, place = document["components"]["schemas"], "#/components/schemas/"
    [asked] = operation["requestBody"]["content"].values()
    assert asked["schema"] == {"$ref": f"{place}EchoRequest"}
    assert asked["examples"]["hello"]["value"] == {"text": "Hello!"}
    answer = operation["responses"]["200"]["content"]["application/json"]
    assert answer["schema"] == {"$ref": f"{place}Echo"}
    assert {"EchoRequest", "Echo"} <= set(schemas)
    assert {"$ref": "#/components/parameters/loud"} in operation["parameters"]
    assert document["components"]["parameters"]["loud"]["in"] == "query"
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


async def test_it_is_gone_with_its_file(echoes: None) -> None:
    """A server without the file does not know the route."""
    path = routes.__path__[:]
    assert "echoes.make" in create_app(Settings(google_api_key="k")).view_functions
    routes.__path__[:] = path[:1]
    try:
        assert "echoes.make" not in create_app(Settings(google_api_key="k")).view_functions
    finally:
        routes.__path__[:] = path
