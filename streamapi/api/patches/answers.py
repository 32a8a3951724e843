"""Problems that are answered before the app is asked: the same body and headers as everywhere."""

import math
import secrets

from msgspec.structs import replace

from streamapi.errors import StreamapiError
from streamapi.generation.event import encode

Headers = list[tuple[bytes, bytes]]


def new_request_id() -> str:
    """An id for a request that brings none, or none that can be shown."""
    return f"req_{secrets.token_urlsafe(12)}"


def closing(error: StreamapiError, status: int | None = None) -> tuple[int, Headers, bytes]:
    """The status, the headers and the body of an answer behind which the connection closes.
    `status` replaces the error's own."""
    problem = replace(error.problem(), request_id=new_request_id())
    if status is not None:
        problem = replace(problem, status=status)
    body = encode(problem)
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
        (b"x-request-id", (problem.request_id or "").encode()),
        (b"x-should-retry", b"true" if problem.retryable else b"false"),
        (b"connection", b"close"),
    ]
    if problem.retry_after is not None:
        headers.append((b"retry-after", b"%d" % math.ceil(problem.retry_after)))
    return problem.status, headers, body
