"""Google's errors, translated to ours: of an HTTP response, of a stream, or of LangChain.

The body of an error is `{"error": {"code", "message", "status", "details": [...]}}`. Google asks
for a wait with a `RetryInfo` in the details (google.rpc), or with `Retry-After` (RFC 9110). The
message may quote the prompt, so callers and logs never get it.
"""

import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from streamapi.errors import (
    AccessRefused,
    ContextTooLong,
    ModelGone,
    StreamapiError,
    UpstreamLimited,
    UpstreamRejected,
    UpstreamUnavailable,
)

STATUSES = re.compile(r"[A-Z][A-Z_]{1,60}")
"""Google's names of errors, such as RESOURCE_EXHAUSTED: all that a log line shows of a body."""


def from_status(code: int, body: Any, headers: Mapping[str, str]) -> StreamapiError:
    """Our error for the status of a response, or for the code of an error in a stream. `body` is
    the response's bytes, or the decoded JSON of an error."""
    if isinstance(body, bytes):
        try:
            body = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            body = {}  # for example the HTML page of a proxy
    if isinstance(body, list) and len(body) == 1:
        body = body[0]
    error = body.get("error", body) if isinstance(body, dict) else {}
    message = str(error.get("message", "")) if isinstance(error, dict) else ""
    reason = _reason(code, error)
    if code == 404:
        return ModelGone("The provider does not know this model.", reason=reason)
    if code in (401, 403) or (code == 400 and _wrong_key(error)):
        reason += ": check GOOGLE_API_KEY"
        detail = "The provider refused this server's access to the model. Tell the operator."
        return AccessRefused(detail, reason=reason)
    if code == 400 and "exceeds the maximum number of tokens" in message:
        detail = "The prompt is longer than the model accepts. Shorten it, or choose another model."
        return ContextTooLong(detail, reason=reason)
    if code in (408, 429) or code >= 500:
        kind = UpstreamLimited if code == 429 else UpstreamUnavailable
        wait = asked_wait(error, headers)
        detail = f"The provider answered with status {code}."
        return kind(detail, retry_after=wait, reason=reason)
    detail = f"The provider refused the request with status {code}."
    return UpstreamRejected(detail, reason=reason)


def _reason(code: int, error: Any) -> str:
    """The status and Google's name for the error; not the message, which may quote the prompt."""
    status = error.get("status") if isinstance(error, dict) else None
    named = isinstance(status, str) and STATUSES.fullmatch(status)
    return f"status {code} {status}" if named else f"status {code}"


def _wrong_key(error: Any) -> bool:
    """Whether Google does not know our key, by the details (google.rpc.ErrorInfo). The message is
    not evidence: it may quote a prompt, and a prompt must not be able to close a model for all."""
    details = error.get("details") if isinstance(error, dict) else None
    return isinstance(details, list) and any(
        isinstance(detail, dict) and detail.get("reason") == "API_KEY_INVALID" for detail in details
    )


def asked_wait(error: Any, headers: Mapping[str, str]) -> float | None:
    """The seconds that the provider asks us to wait, or None."""
    details = error.get("details") if isinstance(error, dict) else None
    for detail in details if isinstance(details, list) else ():
        delay = detail.get("retryDelay") if isinstance(detail, dict) else None
        seconds = _seconds(delay[:-1]) if isinstance(delay, str) and delay[-1:] == "s" else None
        if seconds is not None:
            return seconds
    value = headers.get("Retry-After")
    if value is None:
        return None
    seconds = _seconds(value)
    if seconds is None:
        try:
            seconds = max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
        except ValueError:
            return None
    return seconds


def _seconds(text: str) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None
