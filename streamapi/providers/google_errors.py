"""What Google's errors mean in the contract, whichever client met them.

The body of an error is `{"error": {"code", "message", "status", "details": [...]}}`; a wait is
asked for by a `RetryInfo` among the details (google.rpc) or by `Retry-After` (RFC 9110). The
message may quote the prompt, so no caller ever sees it.
"""

import logging
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from streamapi.errors import (
    ContextTooLong,
    ModelGone,
    StreamapiError,
    UpstreamRejected,
    UpstreamUnavailable,
)

logger = logging.getLogger(__name__)


def from_status(code: int, body: Any, headers: Mapping[str, str]) -> StreamapiError:
    """The contract's error for an HTTP status, or for the code of an error inside a stream;
    `body` as it came, or decoded."""
    if isinstance(body, bytes):
        try:
            body = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            body = {}  # an HTML page of something between us
    if isinstance(body, list) and len(body) == 1:
        body = body[0]
    error = body.get("error", body) if isinstance(body, dict) else {}
    message = str(error.get("message", "")) if isinstance(error, dict) else ""
    if code == 404:
        return ModelGone("The provider does not know this model.")
    if code in (401, 403) or (code == 400 and "API_KEY_INVALID" in str(error)):
        status = error.get("status") if isinstance(error, dict) else None
        logger.error("Gemini refused our access: %s %.100s. Check GOOGLE_API_KEY.", code, status)
        return UpstreamRejected("The provider refused this server's access to it.")
    if code == 400 and "exceeds the maximum number of tokens" in message:
        return ContextTooLong("The prompt is longer than the model can take.")
    if code in (408, 429) or code >= 500:
        wait = asked_wait(error, headers)
        return UpstreamUnavailable(f"The provider answered with status {code}.", retry_after=wait)
    return UpstreamRejected(f"The provider refused the request with status {code}.")


def asked_wait(error: Any, headers: Mapping[str, str]) -> float | None:
    """The seconds that the provider asks to wait, if it does."""
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
