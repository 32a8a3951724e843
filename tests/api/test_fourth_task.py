"""A fourth task is one file: with it come all the transports and the entry in /openapi.json."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import websockets

from streamapi import tasks
from streamapi.emulator import Emulator
from tests import test_promises
from tests.api.wire import follow, parse, send_message, unique
from tests.conftest import Running, running

SUMMARY = '''
"""Summary: a text in, its gist out."""

from pydantic import BaseModel, ConfigDict, Field

from streamapi.generation.model import Message, Prompt
from streamapi.tasks.task import Prose, Task, TaskRequest
from streamapi.tasks.text import TextParser


class SummaryRequest(TaskRequest):
    """A text that is too long."""

    model_config = ConfigDict(title="SummaryRequest")

    text: Prose = Field(description="What to shorten.")


class SummaryResult(BaseModel):
    """The gist."""

    text: str


def prompt(request: SummaryRequest) -> Prompt:
    fields = TASK.prompt_fields(request)
    return Prompt((Message("user", request.text),), system="Shorten.", **fields)


TASK = Task(
    name="summary",
    title="Summary",
    description="Shortens a text.",
    request=SummaryRequest,
    result=SummaryResult,
    prompt=prompt,
    parser=lambda request: TextParser(),
    example={"text": "A long story."},
)
'''


@pytest.fixture(scope="module")
async def server(
    emulator: Emulator, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Running]:
    """A server that found one file more among its tasks."""
    folder: Path = tmp_path_factory.mktemp("tasks")
    (folder / "summary.py").write_text(SUMMARY)
    tasks.__path__.append(str(folder))
    try:
        async with running(emulator) as server:
            yield server
    finally:
        tasks.__path__.remove(str(folder))
        sys.modules.pop("streamapi.tasks.summary", None)
        vars(tasks).pop("summary", None)


async def test_it_has_a_json_route(client: httpx.AsyncClient) -> None:
    """POST /v1/summary."""
    answer = (await client.post("/v1/summary", json={"text": unique()})).json()
    assert (answer["task"], answer["status"]) == ("summary", "done")
    assert answer["result"]["text"]


async def test_it_streams_by_post(client: httpx.AsyncClient) -> None:
    """POST /v1/summary/stream."""
    events = parse((await client.post("/v1/summary/stream", json={"text": unique()})).content)
    assert events[0].data["task"] == "summary"
    assert events[-1].type == "done"


async def test_it_streams_by_get(client: httpx.AsyncClient) -> None:
    """GET /v1/summary/stream."""
    events = parse((await client.get("/v1/summary/stream", params={"text": unique()})).content)
    assert events[-1].type == "done"


@pytest.mark.parametrize("path", ["/v1/summary/ws", "/v1/ws"])
async def test_it_has_a_socket(server: Running, path: str) -> None:
    """On its own socket, and on the one for all."""
    async with websockets.connect(server.ws + path) as socket:
        await send_message(socket, "start", task="summary", request={"text": unique()})
        assert (await follow(socket))[-1].type == "done"


async def test_its_requests_are_validated(client: httpx.AsyncClient) -> None:
    """Its own fields, and nothing else."""
    answer = await client.post("/v1/summary", json={"prompt": "p"})
    assert answer.status_code == 422
    assert {error["pointer"] for error in answer.json()["errors"]} == {"/text", "/prompt"}


async def test_it_is_documented(client: httpx.AsyncClient) -> None:
    """All its routes are in /openapi.json, from which the demo page makes its form."""
    paths = (await client.get("/openapi.json")).json()["paths"]
    assert "post" in paths["/v1/summary"]
    assert set(paths["/v1/summary/stream"]) >= {"get", "post"}


async def test_it_keeps_the_promises_of_a_task(server: Running) -> None:
    """No promise asks for a line in another file."""
    assert "summary" in tasks.every_task()
    test_promises.test_every_route_has_a_limit_or_says_why_not()
    test_promises.test_every_package_is_an_index_of_its_modules()


async def test_it_is_gone_with_its_file(emulator: Emulator) -> None:
    """A server without the file does not know it."""
    assert "summary" in tasks.every_task()
    path = tasks.__path__[:]
    tasks.__path__[:] = path[:1]
    try:
        assert "summary" not in tasks.every_task()
    finally:
        tasks.__path__[:] = path


@pytest.mark.parametrize("name", ["generations", "models", "ws", "batches", "keys"])
async def test_a_task_cannot_take_another_resources_name(tmp_path: Path, name: str) -> None:
    """Names of other resources are reserved: the server does not start."""
    module = f"reserved_{name}"
    (tmp_path / f"{module}.py").write_text(
        SUMMARY.replace('name="summary"', f'name="{name}"').replace("summary", module)
    )
    tasks.__path__.append(str(tmp_path))
    try:
        with pytest.raises(ValueError, match=name):
            tasks.every_task()
    finally:
        tasks.__path__.remove(str(tmp_path))
        sys.modules.pop(f"streamapi.tasks.{module}", None)
