"""Problems that are answered before the app gets the request, with the usual body and headers."""

import math
import secrets

from msgspec.structs import replace

from streamapi.errors import Problem, StreamapiError
from streamapi.generation.event import encode

Headers = list[tuple[bytes, bytes]]


def new_request_id() -> str:
    """An id for a request that has none, or not a valid one."""
    return f"req_{secrets.token_urlsafe(12)}"


def problem_headers(problem: Problem) -> dict[str, str]:
    """The headers of a response that repeat what its problem says."""
    headers = {
        "Content-Type": "application/problem+json",
        "Cache-Control": "no-store",
        "x-should-retry": "true" if problem.retryable else "false",
    }
    if problem.retry_after is not None:
        headers["Retry-After"] = str(max(1, math.ceil(problem.retry_after)))
    return headers


def closing_answer(error: StreamapiError, status: int | None = None) -> tuple[int, Headers, bytes]:
    """The status, the headers and the body of a response after which the connection closes.
    `status` replaces the status of the error."""
    problem = replace(error.problem(), request_id=new_request_id())
    if status is not None:
        problem = replace(problem, status=status)
    body = encode(problem)
    fields = {
        **problem_headers(problem),
        "Content-Length": str(len(body)),
        "X-Request-Id": problem.request_id or "",
        "Connection": "close",
    }
    headers = [(name.lower().encode(), value.encode()) for name, value in fields.items()]
    return problem.status, headers, body
