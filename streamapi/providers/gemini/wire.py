"""Gemini's stream, from bytes to chunks, without I/O.

A frame is `data: {json}` and a blank line, and lines end with CRLF or LF. The framing is that of
Server-Sent Events (WHATWG HTML, 9.2.6), and the JSON is `GenerateContentResponse` of Google's REST
reference. This is the hot loop: msgspec decodes only the fields that we use, in about 10 us. The
SDK's decoding costs ten times as much as everything else together.
"""

import json
from typing import Any

import msgspec

from streamapi.errors import UpstreamUnavailable
from streamapi.generation.event import FinishReason, Usage
from streamapi.generation.model import Chunk
from streamapi.providers.gemini import errors as google_errors

MAX_FRAME = 8_000_000
"""Bytes that one frame may have without an end. A model's longest answer is far shorter."""

FINISH: dict[str, FinishReason] = {"STOP": "stop", "MAX_TOKENS": "length"}
"""Our finish reasons, by Gemini's. A stream without one was cut short."""

BLOCKED = frozenset(
    {
        "SAFETY",
        "RECITATION",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
    }
)
"""Finish reasons of the provider's safety system."""


class _Part(msgspec.Struct, gc=False):
    text: str | None = None
    thought: bool | None = None


class _Content(msgspec.Struct, gc=False):
    parts: list[_Part] | None = None


class _Candidate(msgspec.Struct, gc=False, rename="camel"):
    content: _Content | None = None
    finish_reason: str | None = None


class _Usage(msgspec.Struct, gc=False, rename="camel"):
    prompt_token_count: int | None = None
    tool_use_prompt_token_count: int | None = None
    candidates_token_count: int | None = None
    thoughts_token_count: int | None = None


class _Feedback(msgspec.Struct, gc=False, rename="camel"):
    block_reason: str | None = None


class _Frame(msgspec.Struct, gc=False, rename="camel"):
    candidates: list[_Candidate] | None = None
    usage_metadata: _Usage | None = None
    model_version: str | None = None
    prompt_feedback: _Feedback | None = None
    error: Any = None


_decoder = msgspec.json.Decoder(_Frame)


class FrameSplitter:
    """Splits a stream of bytes into the JSON of its frames. A frame may come in many pieces."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, data: bytes) -> list[bytes]:
        """The frames that these bytes complete. Raises `UpstreamUnavailable` for one that is too
        long."""
        *lines, self._rest = (self._rest + data if self._rest else data).split(b"\n")
        if len(self._rest) > MAX_FRAME:
            raise UpstreamUnavailable("The provider sent a message without an end.")
        frames: list[bytes] = []
        for line in lines:
            if line in (b"", b"\r"):
                if self._data:
                    frames.append(b"\n".join(self._data))
                    self._data = []
            elif line.startswith(b"data:"):
                self._data.append(line[5:].strip())
        return frames

    def end(self) -> list[bytes]:
        """The last frame, when the stream ended without a blank line after it."""
        return self.feed(b"\n\n") if self._rest or self._data else []


def read(frame: bytes) -> Chunk:
    """The chunk of a frame. When the safety system blocked the content, `blocked` is set.

    Raises the error that the frame holds, and `UpstreamUnavailable` for a frame that is not JSON
    of Gemini's form."""
    decoded = _decode(frame)
    if decoded.error is not None:
        code = decoded.error.get("code") if isinstance(decoded.error, dict) else None
        raise google_errors.from_status(code if isinstance(code, int) else 500, decoded.error, {})
    text = thought = ""
    reason = None
    for candidate in decoded.candidates or ():
        reason = candidate.finish_reason
        for part in (candidate.content and candidate.content.parts) or ():
            if part.thought:
                thought += part.text or ""
            else:
                text += part.text or ""
    feedback = decoded.prompt_feedback
    blocked = reason in BLOCKED or (feedback is not None and bool(feedback.block_reason))
    if blocked:
        text = thought = ""
    finish = FINISH.get(reason) if reason is not None else None
    return Chunk(text, thought, finish, _usage(decoded), decoded.model_version, blocked)


def _decode(frame: bytes) -> _Frame:
    try:
        return _decoder.decode(frame)
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    # A model can write lone surrogates, as escapes. msgspec refuses them; Python's own decoder
    # accepts them, and `clean` replaces them.
    try:
        return msgspec.convert(_clean(json.loads(frame)), _Frame)
    except (ValueError, RecursionError):
        raise UpstreamUnavailable("The provider sent a message that cannot be read.") from None


def _clean(value: object) -> object:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {key: _clean(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_clean(inner) for inner in value]
    return value


def clean(text: str) -> str:
    """The text with lone surrogates replaced: UTF-8 has no form for them (Unicode, 3.9)."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _usage(frame: _Frame) -> Usage | None:
    counts = frame.usage_metadata
    if counts is None:
        return None
    thoughts = counts.thoughts_token_count or 0
    return Usage(
        (counts.prompt_token_count or 0) + (counts.tool_use_prompt_token_count or 0),
        (counts.candidates_token_count or 0) + thoughts,
        thoughts,
    )
