"""Gemini's stream, from bytes to chunks, without I/O.

The wire is `data: {json}` and a blank line, lines ended by CRLF or LF (WHATWG HTML, 9.2.6, for
the framing; `GenerateContentResponse` of Google's REST reference for the JSON). This is the hot
loop: only the fields we pass on are decoded, by msgspec, in about ten microseconds; the SDK's
decoding costs ten times everything else together.
"""

import json
from typing import Any

import msgspec

from streamapi.errors import UpstreamUnavailable
from streamapi.generation.event import FinishReason, Usage
from streamapi.generation.model import Chunk
from streamapi.providers.gemini import errors as google_errors

MAX_FRAME = 8_000_000
"""Bytes that one frame may have; more is nonsense."""

FINISH: dict[str, FinishReason] = {"STOP": "stop", "MAX_TOKENS": "length"}
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
    """Bytes in, the JSON of each whole frame out. A frame may come in any number of pieces."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, data: bytes) -> list[bytes]:
        """The frames that these bytes complete. Raises `UpstreamUnavailable` for nonsense."""
        *lines, self._rest = (self._rest + data if self._rest else data).split(b"\n")
        if len(self._rest) > MAX_FRAME:
            raise UpstreamUnavailable("The provider sent a frame without an end.")
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
        """The last frame, when the stream ended without a blank line behind it."""
        return self.feed(b"\n\n") if self._rest or self._data else []


def read(frame: bytes) -> Chunk:
    """What a frame says. A block by the safety system is a chunk with `blocked` set.

    Raises the error of a frame that has one, and `UpstreamUnavailable` for nonsense."""
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
    # msgspec refuses lone surrogates, which a model can write as escapes; Python's own decoder
    # lets them through, to be replaced.
    try:
        return msgspec.convert(_clean(json.loads(frame)), _Frame)
    except (ValueError, RecursionError):
        raise UpstreamUnavailable("The provider sent what is not its JSON.") from None


def _clean(value: object) -> object:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {key: _clean(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_clean(inner) for inner in value]
    return value


def clean(text: str) -> str:
    """The text without lone surrogates, which no encoding can carry (Unicode, section 3.9)."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _usage(frame: _Frame) -> Usage | None:
    told = frame.usage_metadata
    if told is None:
        return None
    thoughts = told.thoughts_token_count or 0
    return Usage(
        (told.prompt_token_count or 0) + (told.tool_use_prompt_token_count or 0),
        (told.candidates_token_count or 0) + thoughts,
        thoughts,
    )
