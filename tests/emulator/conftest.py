"""An emulator for these tests, and a client that sends it Google's requests."""

import io
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from streamapi.emulator import Emulator

MODEL = "gemini-3.8-flash"


@dataclass
class Asked:
    """A response: its status, its headers, its body, and the messages of its stream."""

    status: int
    headers: dict[str, str]
    body: bytes
    messages: list[dict[str, Any]] = field(default_factory=list)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return "".join(p["text"] for p in self.parts if "thought" not in p)

    @property
    def thoughts(self) -> str:
        return "".join(p["text"] for p in self.parts if p.get("thought"))

    @property
    def parts(self) -> list[dict[str, Any]]:
        candidates = [c for m in self.messages for c in m.get("candidates", [])]
        return [p for c in candidates for p in c["content"].get("parts", [])]

    @property
    def finish(self) -> list[str | None]:
        return [m["candidates"][0].get("finishReason") for m in self.messages]


class Client:
    """Sends requests to one emulator."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url, self.session = url, session

    def body(self, prompt: str, system: str = "", **config: Any) -> dict[str, Any]:
        body: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": prompt}]}]}
        if system:
            body["systemInstruction"] = {"parts": [{"text": system}]}
        return {**body, "generationConfig": config} if config else body

    def post(self, body: Any, method: str, model: str = MODEL) -> Any:
        data = io.BytesIO(body if isinstance(body, bytes) else json.dumps(body).encode())
        return self.session.post(f"{self.url}/v1beta/models/{model}:{method}", data=data)

    async def stream(self, prompt: str, system: str = "", **config: Any) -> Asked:
        body = self.body(prompt, system, **config)
        async with self.post(body, "streamGenerateContent?alt=sse") as answer:
            asked = Asked(answer.status, dict(answer.headers), await answer.read())
        if answer.content_type == "text/event-stream":
            frames = asked.body.split(b"\r\n\r\n")
            assert frames.pop() == b""
            asked.messages = [json.loads(frame.removeprefix(b"data: ")) for frame in frames]
        return asked

    async def generate(self, prompt: str, system: str = "", **config: Any) -> Asked:
        async with self.post(self.body(prompt, system, **config), "generateContent") as answer:
            asked = Asked(answer.status, dict(answer.headers), await answer.read())
        if answer.status == 200:
            asked.messages = [asked.json]
        return asked

    async def control(self, prompt: str = "") -> Any:
        async with self.session.get(self.url + "/control", params={"prompt": prompt}) as answer:
            return await answer.json()

    async def queue(self, **order: Any) -> int:
        async with self.session.post(self.url + "/control/faults", json=order) as answer:
            await answer.read()
            return int(answer.status)


@pytest.fixture(scope="session")
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(pace=0) as emulator:
        yield emulator


@pytest.fixture(scope="session")
async def client(emulator: Emulator) -> AsyncIterator[Client]:
    headers = {"x-goog-api-key": "any", "Content-Type": "application/json"}
    async with aiohttp.ClientSession(headers=headers) as session:
        yield Client(emulator.url, session)
