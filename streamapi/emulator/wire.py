"""Google's shapes on the wire: errors, messages, frames.

An error has one body wherever it stands: as the answer to a request, or as a
message inside a stream that had begun well. A stream is a row of messages, and
a *framing* says how the row is written: as Server-Sent Events with CRLF
(`?alt=sse`), or as the items of one JSON array (without it).
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

#: HTTP status code -> the name of it in google.rpc.Code.
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
    """The message as JSON: UTF-8 as it stands, or `escaped` to plain ASCII.

    Only escapes can carry what is not text at all, such as a lone surrogate.
    """
    if escaped:
        return json.dumps(message, separators=(",", ":")).encode()
    return msgspec.json.encode(message)


@dataclass(eq=False)
class Refusal(Exception):
    """A request refused the way Google refuses it."""

    code: int
    message: str
    delay: float | None = None
    fields: Sequence[str] = field(default=())

    def body(self) -> dict[str, Any]:
        """`{"error": ...}`, with RetryInfo for a delay and the fields at fault."""
        error: dict[str, Any] = {
            "code": self.code,
            "message": self.message,
            "status": STATUS.get(self.code, "UNKNOWN"),
        }
        if details := [*self._violations(), *self._retry_info()]:
            error["details"] = details
        return {"error": error}

    def response(self) -> web.Response:
        """The refusal as an HTTP answer; `Retry-After` knows whole seconds only."""
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
    """How a row of messages is written."""

    content_type: str
    opening: bytes
    separator: bytes
    prefix: bytes
    suffix: bytes
    closing: bytes

    def frame(self, body: bytes, index: int) -> bytes:
        """The frame of the message at that place in the row."""
        return (self.separator if index else self.opening) + self.prefix + body + self.suffix

    def end(self, count: int) -> bytes:
        """What stands behind a row of so many messages."""
        return self.closing if count else self.opening + self.closing


SSE = Framing("text/event-stream", b"", b"", b"data: ", b"\r\n\r\n", b"")
ARRAY = Framing(JSON_TYPE, b"[", b",\r\n", b"", b"", b"]")
