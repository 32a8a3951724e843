"""Google's shapes on the wire: errors, messages, frames.

An error has the same body as a response and as a message in a stream. A stream is
a sequence of messages, and a `Framing` says how it is written: as Server-Sent
Events with CRLF (`?alt=sse`), or as one JSON array.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiohttp import web

__all__ = ["ARRAY", "JSON_TYPE", "SSE", "STATUS", "Framing", "Message", "Refusal", "encode"]

Message = Mapping[str, Any]

JSON_TYPE = "application/json; charset=UTF-8"

#: The names of HTTP status codes in google.rpc.Code.
STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}


def encode(message: Message, *, escaped: bool = False) -> bytes:
    """The message as JSON, in UTF-8 or, with `escaped`, in ASCII.

    A lone surrogate has no form in UTF-8, so it needs `escaped`.
    """
    if escaped:
        return json.dumps(message, separators=(",", ":")).encode()
    return msgspec.json.encode(message)


@dataclass(eq=False)
class Refusal(Exception):
    """Google's error for a request. `delay` is in seconds. `fields` are those at fault."""

    code: int
    message: str
    delay: float | None = None
    fields: Sequence[str] = field(default=())

    def body(self) -> dict[str, Any]:
        """The body `{"error": ...}`, with RetryInfo for a delay, and with the fields at fault."""
        error: dict[str, Any] = {
            "code": self.code,
            "message": self.message,
            "status": STATUS.get(self.code, "UNKNOWN"),
        }
        if details := [*self._violations(), *self._retry_info()]:
            error["details"] = details
        return {"error": error}

    def response(self) -> web.Response:
        """The HTTP response. Its `Retry-After` is rounded up to whole seconds."""
        answer = web.Response(
            status=self.code,
            body=encode(self.body()),
            headers={"Content-Type": JSON_TYPE},
        )
        if self.delay is not None:
            answer.headers["Retry-After"] = str(math.ceil(self.delay))
        return answer

    def _violations(self) -> list[dict[str, Any]]:
        if not self.fields:
            return []
        violations = [{"field": name, "description": self.message} for name in self.fields]
        kind = "type.googleapis.com/google.rpc.BadRequest"
        return [{"@type": kind, "fieldViolations": violations}]

    def _retry_info(self) -> list[dict[str, Any]]:
        if self.delay is None:
            return []
        kind = "type.googleapis.com/google.rpc.RetryInfo"
        return [{"@type": kind, "retryDelay": f"{self.delay:.9g}s"}]


@dataclass(frozen=True, slots=True)
class Framing:
    """How a sequence of messages is written."""

    content_type: str
    opening: bytes
    separator: bytes
    prefix: bytes
    suffix: bytes
    closing: bytes

    def frame(self, body: bytes, index: int) -> bytes:
        """The frame of the message at that index."""
        return (self.separator if index else self.opening) + self.prefix + body + self.suffix

    def end(self, count: int) -> bytes:
        """The bytes after so many messages."""
        return self.closing if count else self.opening + self.closing


SSE = Framing("text/event-stream", b"", b"", b"data: ", b"\r\n\r\n", b"")
ARRAY = Framing(JSON_TYPE, b"[", b",\r\n", b"", b"", b"]")
