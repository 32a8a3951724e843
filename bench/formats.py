"""What came over a socket, read after the fact: HTTP's chunks, SSE's lines, WebSocket's frames.

During a run only bytes and times are kept, so that reading costs the machine nothing while it is
measured. Each format is one function that takes an event's JSON and gives the text of a content
event, or None for any other event.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Any

import msgspec

Arrivals = Sequence[tuple[float, bytes]]
Timed = Iterator[tuple[float, bytes]]

_json = msgspec.json.Decoder()


def _streamapi(event: Any) -> str | None:
    return event["text"] if "part" in event else None


def _openai(event: Any) -> str | None:
    return (event["choices"][0]["delta"].get("content") if event.get("choices") else None) or None


def _gemini(event: Any) -> str | None:
    return event["candidates"][0]["content"]["parts"][0]["text"]


def _langserve(event: Any) -> str | None:
    content = event.get("content") if isinstance(event, dict) else None
    if isinstance(content, list):
        content = "".join(block.get("text", "") for block in content)
    return content or None


FORMATS: dict[str, Callable[[Any], str | None]] = {
    "streamapi": _streamapi,
    "websocket": _streamapi,
    "openai": _openai,
    "gemini": _gemini,
    "langserve": _langserve,
    "plain": lambda event: event.get("text"),
    "aisdk": lambda event: event.get("delta") if event.get("type") == "text-delta" else None,
}


def status(arrivals: Arrivals) -> int:
    """The status of the first answer; 0 when none came."""
    head = b"".join(data for _, data in arrivals[:2])[:12]
    return int(head[9:12]) if head.startswith(b"HTTP/1.") and len(head) == 12 else 0


def contents(form: str, arrivals: Arrivals) -> list[tuple[float, str]]:
    """The text of every content event, with the time at which its last byte came."""
    take = FORMATS[form]
    payloads = _frames(arrivals) if form == "websocket" else _data_lines(_body(arrivals))
    found = []
    for at, payload in payloads:
        if payload[:1] == b"{":  # else OpenAI's [DONE], or a value that is not an object
            text = take(_json.decode(payload))
            if text:
                found.append((at, text))
    return found


def _body(arrivals: Arrivals) -> Timed:
    """The pieces of the body: by chunk where the transfer is chunked (RFC 9112, 7.1)."""
    raw = b"".join(data for _, data in arrivals)
    ends = list(accumulate(len(data) for _, data in arrivals))
    head = raw.find(b"\r\n\r\n")
    at = head + 4
    if head < 0:
        return
    if b"chunked" not in raw[:head].lower():
        for (time, data), end in zip(arrivals, ends, strict=True):
            if end > at:
                yield time, data[max(0, at - (end - len(data))) :]
        return
    while (line := raw.find(b"\r\n", at)) > 0 and (size := int(raw[at:line], 16)):
        stop = line + 2 + size
        if stop > len(raw):
            return
        yield arrivals[bisect_left(ends, stop)][0], raw[line + 2 : stop]
        at = stop + 2


def _data_lines(pieces: Timed) -> Timed:
    """The data of each event. No system here writes an event's data on several lines."""
    rest = b""
    for at, data in pieces:
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            if line[:5] == b"data:":
                yield at, line[5:].strip()


def _frames(arrivals: Arrivals) -> Timed:
    """The payloads of the text frames that a server sends (RFC 6455, 5.2)."""
    raw = b"".join(data for _, data in arrivals)
    ends = list(accumulate(len(data) for _, data in arrivals))
    at = raw.find(b"\r\n\r\n") + 4
    while at + 2 <= len(raw):
        kind, size, start = raw[at] & 0x0F, raw[at + 1] & 0x7F, at + 2
        if size > 125:
            wide = 2 if size == 126 else 8
            size, start = int.from_bytes(raw[start : start + wide], "big"), start + wide
        at = start + size
        if at > len(raw):
            return
        if kind == 1:
            yield arrivals[bisect_left(ends, at)][0], raw[start:at]
