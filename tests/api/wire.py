"""Helpers for tests of all transports: unique prompts, parsed streams, and the calls that the
emulator got."""

import asyncio
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import websockets

from streamapi.emulator import Emulator
from tests.conftest import Running

ENDINGS = ("done", "failed", "cancelled")


def unique(markers: str = "", about: str = "The tides of the sea") -> str:
    """A prompt that no other test has. Its first word finds its calls in the emulator's history."""
    return f"u{secrets.token_hex(6)} {about} {markers}".strip()


def tag(prompt: str) -> str:
    """The first word of a `unique` prompt."""
    return prompt.split()[0]


def http(url: str = "") -> httpx.AsyncClient:
    """A client; without TLS, whose certificates would take longer to load than a test runs."""
    return httpx.AsyncClient(base_url=url, timeout=20, verify=False, trust_env=False)


async def calls(emulator: Emulator, prompt: str) -> list[dict[str, Any]]:
    """The requests that the emulator had for a prompt."""
    async with http() as client:
        report = await client.get(f"{emulator.url}/control", params={"prompt": tag(prompt)})
        return list(report.json()["calls"])


async def left(emulator: Emulator, prompt: str) -> dict[str, Any]:
    """The only request for a prompt, once the emulator has seen its end."""
    async with asyncio.timeout(5):
        while True:
            [call] = await calls(emulator, prompt)
            if call["outcome"] is not None:
                return call
            await asyncio.sleep(0.005)


@dataclass(frozen=True)
class Event:
    """One event, on any transport."""

    type: str
    data: dict[str, Any]
    id: str | None = None

    @property
    def n(self) -> int:
        return int((self.id or ".0").rpartition(".")[2])


def parse(stream: bytes) -> list[Event]:
    """The whole events of a stream, by the rules of WHATWG HTML; what was cut off is not one."""
    events: list[Event] = []
    for block in stream.decode(errors="ignore").split("\n\n")[:-1]:
        fields: dict[str, str] = {}
        for line in block.split("\n"):
            name, _, value = line.partition(":")
            assert name not in fields, f"a field is there twice: {block!r}"
            fields[name] = value.removeprefix(" ")
        if fields.get("event") == "ping":
            assert fields == {"event": "ping", "data": "{}"}
        elif "data" in fields:
            assert set(fields) <= {"event", "data", "id"}, block
            events.append(Event(fields["event"], json.loads(fields["data"]), fields.get("id")))
        else:
            assert set(fields) in ({""}, {"retry"}), block
    return events


@dataclass
class Answer:
    """What a client got: a status and a body, or events."""

    status: int
    headers: httpx.Headers = field(default_factory=httpx.Headers)
    body: dict[str, Any] = field(default_factory=dict)
    events: Sequence[Event] = ()

    @property
    def ending(self) -> Event:
        """The only ending, which is last."""
        types = [event.type for event in self.events]
        assert sum(kind in ENDINGS for kind in types) == 1, types
        assert types[-1] in ENDINGS, types
        return self.events[-1]

    @property
    def problem(self) -> dict[str, Any]:
        """The problem: of the response, or of the ending."""
        if self.events:
            return dict(self.ending.data["problem"])
        return self.body

    @property
    def code(self) -> str:
        """The code of the problem; or `done`."""
        if self.events and self.ending.type != "failed":
            return self.ending.type
        return str(self.problem.get("code", self.body.get("status")))

    @property
    def waits(self) -> list[dict[str, Any]]:
        return [event.data for event in self.events if event.type == "wait"]

    @property
    def text(self) -> str:
        return "".join(event.data["text"] for event in self.events if event.type == "delta")


def _answer(response: httpx.Response) -> Answer:
    kind = response.headers.get("content-type", "")
    if kind.startswith("text/event-stream"):
        events = parse(response.content)
        return Answer(response.status_code, response.headers, events=events)
    body = response.json() if response.content else {}
    return Answer(response.status_code, response.headers, body)


async def by_json(server: Running, prompt: str, **more: Any) -> Answer:
    """Ask by `POST /v1/text`."""
    async with http(server.url) as client:
        return _answer(await client.post("/v1/text", json={"prompt": prompt, **more}))


async def by_post(server: Running, prompt: str, **more: Any) -> Answer:
    """Ask by `POST /v1/text/stream`."""
    async with http(server.url) as client:
        return _answer(await client.post("/v1/text/stream", json={"prompt": prompt, **more}))


async def by_get(server: Running, prompt: str, **more: Any) -> Answer:
    """Ask by `GET /v1/text/stream`."""
    async with http(server.url) as client:
        return _answer(await client.get("/v1/text/stream", params={"prompt": prompt, **more}))


async def by_socket(server: Running, prompt: str, **more: Any) -> Answer:
    """Ask on `/v1/ws`."""
    async with websockets.connect(f"{server.ws}/v1/ws") as socket, asyncio.timeout(20):
        await send_message(
            socket, "start", task="text", ref="r", request={"prompt": prompt, **more}
        )
        return Answer(200, events=await follow(socket))


TRANSPORTS = {"json": by_json, "post": by_post, "get": by_get, "socket": by_socket}


async def follow_later(server: Running, prompt: str) -> str:
    """Ask without a reader (`Prefer: respond-async`); the generation."""
    async with http(server.url) as client:
        headers = {"Prefer": "respond-async"}
        answer = await client.post("/v1/text", json={"prompt": prompt}, headers=headers)
        assert answer.status_code == 202
        return str(answer.json()["id"])


async def send_message(socket: Any, kind: str, **more: Any) -> None:
    """Send a message."""
    await socket.send(json.dumps({"type": kind, **more}))


async def receive(socket: Any, seconds: float = 10) -> dict[str, Any]:
    """The next message."""
    async with asyncio.timeout(seconds):
        return dict(json.loads(await socket.recv()))


async def follow(socket: Any) -> list[Event]:
    """The events of the only generation on a socket, to its ending."""
    events: list[Event] = []
    while True:
        message = await receive(socket)
        kind = message.pop("type")
        assert kind != "error", message
        if kind == "ping":
            continue
        events.append(Event(kind, message, f"{message['generation']}.{message['n']}"))
        if kind in ENDINGS:
            return events
