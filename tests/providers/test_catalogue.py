"""The catalogue, and what the provider receives: requests go through HTTP and are recorded."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from aiohttp import web

from streamapi.emulator import Emulator
from streamapi.errors import ModelNotFound
from streamapi.generation.model import Prompt
from streamapi.providers.catalogue import CARDS, Catalogue, ModelCard
from tests.api.wire import http, unique
from tests.conftest import running

FRAME = {
    "candidates": [
        {"content": {"parts": [{"text": "a"}], "role": "model"}, "finishReason": "STOP"}
    ],
    "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2},
    "modelVersion": "gemini-recorded-001",
}


class Recorder:
    """A provider that answers one letter, and keeps the requests."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.bodies: list[dict[str, Any]] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        self.paths.append(request.path_qs)
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        self.bodies.append(await request.json())
        data = f"data: {json.dumps(FRAME)}\r\n\r\n"
        return web.Response(text=data, content_type="text/event-stream")

    @property
    def config(self) -> dict[str, Any]:
        return dict(self.bodies[-1].get("generationConfig") or {})


@pytest.fixture(scope="module")
async def recorder() -> AsyncIterator[Recorder]:
    recorder = Recorder()
    app = web.Application()
    app.router.add_post("/{path:.*}", recorder.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    recorder.url = "http://127.0.0.1:" + str(runner.addresses[0][1])
    yield recorder
    await runner.cleanup()


@pytest.fixture(scope="module")
async def client(emulator: Emulator, recorder: Recorder) -> AsyncIterator[httpx.AsyncClient]:
    key = {"GOOGLE_API_KEY": "secret-key"}
    own = running(emulator, gemini_base_url=recorder.url, **key)
    async with own as server, http(server.url) as client:
        yield client


async def answer_to(client: httpx.AsyncClient, task: str = "text", **fields: Any) -> dict[str, Any]:
    least = (
        {"text": unique(), "labels": ["b", "a"]} if task == "classification" else {"prompt": "p"}
    )
    answer = await client.post(f"/v1/{task}", json={**least, **fields})
    return dict(answer.json())


async def test_the_request_is_googles(client: httpx.AsyncClient, recorder: Recorder) -> None:
    """The path, the key in its header and nowhere else, and the prompt as a turn of the user."""
    await answer_to(client, prompt="the prompt", system="be brief")
    assert recorder.paths[-1] == "/v1beta/models/gemini-3.8-flash:streamGenerateContent?alt=sse"
    assert recorder.headers[-1]["x-goog-api-key"] == "secret-key"
    assert "secret-key" not in recorder.paths[-1]
    assert recorder.bodies[-1]["contents"][0]["parts"][0]["text"] == "the prompt"
    assert recorder.bodies[-1]["systemInstruction"]["parts"][0]["text"] == "be brief"


async def test_a_conversation_keeps_its_roles(
    client: httpx.AsyncClient, recorder: Recorder
) -> None:
    """Google's name for the assistant is `model`."""
    turns = [("user", "1"), ("assistant", "2"), ("user", "3")]
    messages = [{"role": role, "content": text} for role, text in turns]
    await client.post("/v1/text", json={"messages": messages})
    sent = [(t["role"], t["parts"][0]["text"]) for t in recorder.bodies[-1]["contents"]]
    assert sent == [("user", "1"), ("model", "2"), ("user", "3")]


async def test_parameters_reach_the_model(client: httpx.AsyncClient, recorder: Recorder) -> None:
    """The provider receives the parameters of the request."""
    answer = await answer_to(client, temperature=0.7, max_output_tokens=33, stop=["x", "y"])
    config = recorder.config
    assert config["temperature"] == 0.7
    assert config["maxOutputTokens"] == 33
    assert config["stopSequences"] == ["x", "y"]
    assert answer["model"]["dropped"] == []


async def test_a_temperature_of_zero_is_one(client: httpx.AsyncClient, recorder: Recorder) -> None:
    """A temperature of 0 is sent, too."""
    await answer_to(client, temperature=0)
    assert recorder.config["temperature"] == 0


async def test_a_parameter_that_the_model_does_not_accept_is_dropped(
    client: httpx.AsyncClient, recorder: Recorder
) -> None:
    """The flash-lite model accepts no temperature. It is not sent, and the answer says so."""
    answer = await answer_to(client, model="gemini-3.5-flash-lite", temperature=0.5)
    assert "temperature" not in recorder.config
    assert answer["model"]["dropped"] == ["temperature"]


async def test_a_preference_of_the_task_is_dropped_without_a_note(
    client: httpx.AsyncClient, recorder: Recorder
) -> None:
    """A task's own preference that the model does not accept is dropped without a note."""
    answer = await answer_to(client, "code", model="gemini-3.5-flash-lite")
    assert "temperature" not in recorder.config
    assert answer["model"]["dropped"] == []
    await answer_to(client, "code")
    assert recorder.config["temperature"] == 0.2


def level(recorder: Recorder) -> str:
    """Google reads both spellings. The SDK writes the second one."""
    config = recorder.config["thinkingConfig"]
    return str(config.get("thinkingLevel", config.get("thinking_level"))).lower()


async def test_the_request_asks_for_little_thinking(
    client: httpx.AsyncClient, recorder: Recorder
) -> None:
    """The level of the task, or the lowest that the model accepts. Thoughts only on request."""
    await answer_to(client)
    assert level(recorder) == "low"
    await answer_to(client, "classification")
    assert level(recorder) == "minimal"
    await answer_to(client, "classification", model="gemini-3.8-flash")
    assert level(recorder) == "low"


async def test_thoughts_are_sent_on_request(client: httpx.AsyncClient, recorder: Recorder) -> None:
    """Thoughts are not sent to those who do not ask for them."""
    await answer_to(client)
    assert "include" not in str(recorder.config["thinkingConfig"])
    await answer_to(client, include_thoughts=True)
    thinking = recorder.config["thinkingConfig"]
    assert thinking.get("includeThoughts", thinking.get("include_thoughts")) is True


async def test_the_schema_reaches_the_model(client: httpx.AsyncClient, recorder: Recorder) -> None:
    """Labels as an enum, JSON as the answer, the order of properties kept."""
    await answer_to(client, "classification")
    config = recorder.config
    schema = config.get("responseJsonSchema") or config["responseSchema"]
    assert config["responseMimeType"] == "application/json"
    assert schema["propertyOrdering"] == ["labels", "rationale"]
    assert schema["properties"]["labels"]["items"]["properties"]["label"]["enum"] == ["b", "a"]


async def test_the_model_that_answered_is_named(client: httpx.AsyncClient) -> None:
    """The answer has the provider's name of the model, beside the requested name."""
    answer = await answer_to(client)
    assert answer["model"]["requested"] == "gemini-3.8-flash"
    assert answer["model"]["served"] == "gemini-recorded-001"


async def test_a_retired_name_is_served_by_its_successor(
    client: httpx.AsyncClient, recorder: Recorder
) -> None:
    """The successor answers, and the answer has the requested name, too."""
    answer = await answer_to(client, model="gemini-2.0-flash")
    assert ":streamGenerateContent" in recorder.paths[-1]
    assert "/gemini-3.8-flash:" in recorder.paths[-1]
    assert answer["model"]["requested"] == "gemini-2.0-flash"


async def test_models_are_listed_as_openai_does(client: httpx.AsyncClient) -> None:
    """The list has every name of the catalogue, and each has an address of its own."""
    listed = (await client.get("/v1/models")).json()
    assert listed["object"] == "list"
    assert {model["id"] for model in listed["data"]} == {card.id for card in CARDS}
    for model in listed["data"]:
        assert model["object"] == "model"
        assert isinstance(model["created"], int)
        assert (await client.get(f"/v1/models/{model['id']}")).json() == model


def test_every_successor_is_in_the_catalogue() -> None:
    """The successor of a retired name is in the catalogue."""
    catalogue = Catalogue()
    for card in CARDS:
        assert catalogue.serving(card.id).successor is None


def test_an_unknown_model_is_not_found() -> None:
    """A name that never was a model raises `ModelNotFound`."""
    with pytest.raises(ModelNotFound):
        Catalogue().serving("gpt-4")


def test_the_lowest_level_of_thinking_of_a_model() -> None:
    """A level that the model does not accept becomes its lowest. A model may have no levels."""
    prompt = Prompt((), thinking="minimal")
    card = ModelCard("m", "M", "2026-01-01", thinking=("low", "high"))
    assert card.thinking_for(prompt) == "low"
    assert ModelCard("m", "M", "2026-01-01", thinking=()).thinking_for(prompt) is None
