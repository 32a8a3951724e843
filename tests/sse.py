"""A reader of Server-Sent Events for tests, as the WHATWG has it, small and strict."""

import json
from collections.abc import AsyncIterator, Iterable
from typing import Any, NamedTuple

import httpx


class Seen(NamedTuple):
    """One event as a client sees it. `data` is decoded."""

    type: str
    id: str
    data: Any

    @property
    def n(self) -> int:
        """The event's position in its log."""
        return int(self.id.rpartition(".")[2])


def parse(lines: Iterable[str]) -> list[Seen]:
    """The events of a whole stream; comments and `retry` are passed over."""
    events: list[Seen] = []
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
        else:
            if "data" in fields:
                seen = Seen(fields.get("event", "message"), fields.get("id", ""), fields["data"])
                events.append(seen._replace(data=json.loads(seen.data)))
            fields = {}
    return events


async def events(response: httpx.Response) -> AsyncIterator[Seen]:
    """The events of a response, each as it comes."""
    lines: list[str] = []
    async for line in response.aiter_lines():
        lines.append(line)
        if not line:
            for event in parse(lines):
                yield event
            lines = []


def text(seen: Iterable[Seen]) -> str:
    """What the deltas say together."""
    return "".join(event.data["text"] for event in seen if event.type == "delta")
