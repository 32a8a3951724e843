"""Everything that can go wrong, as one tree, and the one body it has on every wire.

    StreamapiError
    ├── CallerError      the request: mend it, and ask again
    │     MalformedRequest  MalformedJson  InvalidHeader  Unauthenticated  KeyExpired
    │     Forbidden  OriginNotAllowed  HostNotAllowed
    │     NotFound  MethodNotAllowed  TooLarge  UriTooLong  UnsupportedMediaType
    │     GenerationCancelled  GenerationExpired
    │     InvalidRequest  ModelNotFound  ContextTooLong  ContentBlocked  IdempotencyKeyReused
    │     RateLimited  QuotaExceeded  TooManyStreams
    ├── UpstreamError    the model, or the way to it
    │     UpstreamRejected (ModelGone, AccessRefused)  UpstreamTruncated  UpstreamInterrupted
    │     UpstreamUnavailable (UpstreamLimited)  UpstreamTimeout  ModelOutputInvalid
    │     OutputTooLarge
    └── ServiceError     ourselves
          Internal  ProducerLost  Overloaded  StoreUnavailable  ShuttingDown

The body is RFC 9457's `application/problem+json`: before the first byte of an answer it is the
response; after it, the same object stands in the `failed` event. The docstring of a class is the
page that its `type` leads to: what was wrong, what to do, whether trying again can help.
"""

from collections.abc import Iterator
from typing import ClassVar

import msgspec

MAX_FIELD_ERRORS = 50
"""Field errors that one answer names; the rest is counted."""


class FieldError(msgspec.Struct, frozen=True):
    """One field that was wrong: what is wrong with it ("is required"), and where it stands
    (RFC 6901). Where `pointer` is empty, `detail` says it of the whole request."""

    detail: str
    pointer: str

    def sentence(self) -> str:
        """The error with its field: "`messages[0].content` must not be empty"."""
        if not self.pointer:
            return self.detail[:1].upper() + self.detail[1:]
        first, *steps = (
            step.replace("~1", "/").replace("~0", "~") for step in self.pointer[1:].split("/")
        )
        name = first + "".join(f"[{step}]" if step.isdigit() else f".{step}" for step in steps)
        return f"`{name if name.isprintable() else ascii(name)[1:-1]}` {self.detail}"


def escape(step: str) -> str:
    """One step of a JSON pointer (RFC 6901), of a length that fits an answer."""
    return step[:100].replace("~", "~0").replace("/", "~1")


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """The body of every error. What only some errors have is absent from the others.

    `retry_after` is in seconds; `request_id` and `generation` belong to one caller, so a log
    never holds them: the reader adds them.
    """

    type: str
    title: str
    status: int
    detail: str
    code: str
    retryable: bool
    request_id: str | None = None
    errors: tuple[FieldError, ...] = ()
    generation: str | None = None
    retry_after: float | None = None


class StreamapiError(Exception):
    """An error of the contract. `detail` is for the person who reads it; it never holds a
    secret, a prompt or a stack trace. `reason` is for the operator: it goes into the log only."""

    code: ClassVar[str] = ""
    status: ClassVar[int] = 500
    title: ClassVar[str] = ""
    retryable: ClassVar[bool] = False
    default_retry_after: ClassVar[float | None] = None

    def __init__(
        self,
        detail: str,
        *,
        errors: tuple[FieldError, ...] = (),
        retry_after: float | None = None,
        reason: str = "",
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.reason = reason
        self.errors = errors
        self.asked_wait = retry_after  # what someone asked for, not our default
        self.retry_after = self.default_retry_after if retry_after is None else retry_after

    def problem(self) -> Problem:
        """The error as its body, without what belongs to one caller."""
        return Problem(
            type=f"/errors/{self.code}",
            title=self.title,
            status=self.status,
            detail=self.detail,
            code=self.code,
            retryable=self.retryable,
            errors=self.errors,
            retry_after=self.retry_after,
        )


class CallerError(StreamapiError):
    """The request was at fault."""


class UpstreamError(StreamapiError):
    """The model, or the way to it, was at fault."""


class ServiceError(StreamapiError):
    """This server was at fault."""


class MalformedRequest(CallerError):
    """The request is not HTTP/1.1 as RFC 9110 and RFC 9112 have it: its first line, its `Host` or
    its percent-encoding is wrong. Where the head is too large, too slow or of another version, the
    same code comes with status 408, 431, 501 or 505. Send a valid request on a new connection."""

    code, status, title = "malformed_request", 400, "The request is not valid HTTP"


class MalformedJson(CallerError):
    """The body is not JSON as RFC 8259 has it: valid UTF-8, no NaN, no lone surrogates, not
    nested too deeply, complete. Send it again as one JSON object."""

    code, status, title = "malformed_json", 400, "The body is not valid JSON"


class InvalidHeader(CallerError):
    """A header has a value that cannot be understood, such as a `Last-Event-ID` that this
    server never sent. Send the header as it was given, or leave it out."""

    code, status, title = "invalid_header", 400, "A header is not valid"


class Unauthenticated(CallerError):
    """No key, or one that is unknown or revoked. Send `Authorization: Bearer <key>`."""

    code, status, title = "unauthenticated", 401, "Who is asking?"


class KeyExpired(CallerError):
    """The key was valid once. Ask the operator for a new one."""

    code, status, title = "key_expired", 401, "The key has expired"


class Forbidden(CallerError):
    """The key does not have the scope, or the model, that this request needs."""

    code, status, title = "forbidden", 403, "The key does not allow this"


class OriginNotAllowed(CallerError):
    """A page of another site asked, and the operator has not allowed its origin. Add the
    origin to `STREAMAPI_CORS_ORIGINS`."""

    code, status, title = "origin_not_allowed", 403, "This origin is not allowed"


class HostNotAllowed(CallerError):
    """The request names this server by a `Host` that the operator has not allowed. Add the host
    name, without a port, to `STREAMAPI_ALLOWED_HOSTS`."""

    code, status, title = "host_not_allowed", 403, "This host name is not allowed"


class NotFound(CallerError):
    """There is nothing here, or nothing that is yours. Check the path and the id."""

    code, status, title = "not_found", 404, "Not found"


class MethodNotAllowed(CallerError):
    """The path exists, but not for this method. The `Allow` header names those it takes."""

    code, status, title = "method_not_allowed", 405, "The method is not allowed here"


class TooLarge(CallerError):
    """The body is larger than this server accepts. The detail names the bound."""

    code, status, title = "too_large", 413, "The body is too large"


class UriTooLong(CallerError):
    """A GET stream takes up to 8,000 characters of parameters. POST the request instead."""

    code, status, title = "uri_too_long", 414, "The address is too long"


class UnsupportedMediaType(CallerError):
    """Bodies are `application/json` in UTF-8, without a content encoding."""

    code, status, title = "unsupported_media_type", 415, "The body is not JSON"


class GenerationCancelled(CallerError):
    """Someone cancelled this generation while this request waited for its answer. Ask again
    if the answer is still wanted."""

    code, status, title = "generation_cancelled", 409, "The generation was cancelled"


class GenerationExpired(CallerError):
    """The generation was yours, but its log has been forgotten: logs live for a while after
    their end (`STREAMAPI_LOG_TTL`). Ask again."""

    code, status, title = "generation_expired", 410, "The generation has expired"


class InvalidRequest(CallerError):
    """A field is missing, unknown or out of bounds; `errors` names each with a JSON pointer."""

    code, status, title = "invalid_request", 422, "The request is not valid"

    @classmethod
    def of(cls, *errors: FieldError) -> "InvalidRequest":
        """The error of these fields; its detail is the first one's sentence."""
        text, more = errors[0].sentence(), len(errors) - 1
        if more:
            text = f"{text} (and {more:,} more)"
        text = text if text.endswith("?") else f"{text}."
        return cls(text, errors=errors[:MAX_FIELD_ERRORS])


class ModelNotFound(CallerError):
    """The catalogue has no model of this name. `GET /v1/models` lists those there are."""

    code, status, title = "model_not_found", 422, "There is no such model"


class ContextTooLong(CallerError):
    """The prompt is longer than the model can take. Shorten it, or choose another model."""

    code, status, title = "context_too_long", 422, "The prompt is too long for the model"


class ContentBlocked(CallerError):
    """The provider's safety system stopped the prompt or the answer. Trying the same again
    gives the same; what had been written before is in the events."""

    code, status, title = "content_blocked", 422, "The provider blocked the content"


class IdempotencyKeyReused(CallerError):
    """The `Idempotency-Key` was used for another body. Make a new key for a new request."""

    code, status, title = "idempotency_key_reused", 422, "The idempotency key was used before"


class RateLimited(CallerError):
    """Too many requests, or tokens, in too short a time. Wait for `Retry-After` seconds."""

    code, status, title, retryable = "rate_limited", 429, "Too many requests", True
    default_retry_after = 1.0


class QuotaExceeded(CallerError):
    """The tokens of the day are used up. Wait for `Retry-After` seconds."""

    code, status, title, retryable = "quota_exceeded", 429, "The quota is used up", True
    default_retry_after = 60.0


class TooManyStreams(CallerError):
    """Too many streams are open at once. Let one end, or cancel one."""

    code, status, title, retryable = "too_many_streams", 429, "Too many streams at once", True
    default_retry_after = 1.0


class Internal(ServiceError):
    """A fault of this server's. Its log has the request id; tell the operator."""

    code, status, title = "internal", 500, "Something went wrong here"


class UpstreamRejected(UpstreamError):
    """The provider refused the request, or this server's access to it. The caller can mend
    the former; the operator finds the latter in the log."""

    code, status, title = "upstream_rejected", 502, "The provider refused the request"


class ModelGone(UpstreamRejected):
    """The provider does not know the model. The next model of the chain is asked."""


class AccessRefused(UpstreamRejected):
    """The provider refused this server's access to the model. The next model is asked."""


class UpstreamTruncated(UpstreamError):
    """The model's answer stopped without its end. What came is in the events; the rest never
    came. Ask again."""

    code, status, title, retryable = "upstream_truncated", 502, "The answer was cut short", True


class UpstreamInterrupted(UpstreamError):
    """The connection to the model broke, or it sent nonsense, after part of the answer. What
    came is in the events. Ask again."""

    code, status, title, retryable = "upstream_interrupted", 502, "The answer broke off", True


class ModelOutputInvalid(UpstreamError):
    """The model answered outside the form it was held to, such as a label that was not
    offered. Ask again, or make the labels clearer."""

    code, status, title = "model_output_invalid", 502, "The model's answer has the wrong form"
    retryable = True


class OutputTooLarge(UpstreamError):
    """The answer grew beyond what one log may hold (`STREAMAPI_LOG_MAX_BYTES`,
    `STREAMAPI_LOG_MAX_EVENTS`). Ask for less, with `max_output_tokens`."""

    code, status, title = "output_too_large", 502, "The answer is too large"


class ProducerLost(ServiceError):
    """The process that wrote this answer is gone. What came is in the events. Ask again."""

    code, status, title, retryable = "producer_lost", 502, "The answer was lost", True


class UpstreamUnavailable(UpstreamError):
    """Every attempt failed before the first content: the provider was overloaded, out of
    reach, limited this server, or answered with nothing. Wait for `retry_after` seconds."""

    code, status, title = "upstream_unavailable", 503, "The model cannot be reached"
    retryable, default_retry_after = True, 5.0


class UpstreamLimited(UpstreamUnavailable):
    """The provider limits how often this server may ask (429)."""


class Overloaded(ServiceError):
    """This server has as much to do as it can hold. Wait for `Retry-After` seconds."""

    code, status, title, retryable = "overloaded", 503, "The server is overloaded", True
    default_retry_after = 2.0


class StoreUnavailable(ServiceError):
    """A store that this request needs cannot be reached. Wait for `Retry-After` seconds."""

    code, status, title, retryable = "store_unavailable", 503, "A store is out of reach", True
    default_retry_after = 2.0


class ShuttingDown(ServiceError):
    """This process is ending. Another will answer: try again at once."""

    code, status, title, retryable = "shutting_down", 503, "The server is shutting down", True
    default_retry_after = 1.0


class UpstreamTimeout(UpstreamError):
    """The model was silent for too long, before its first content or after it. What came is
    in the events. Ask again, or for less."""

    code, status, title, retryable = "upstream_timeout", 504, "The model took too long", True


def every_error() -> Iterator[type[StreamapiError]]:
    """Each error of the contract, in the order of their status."""
    found: list[type[StreamapiError]] = []
    waiting: list[type[StreamapiError]] = [StreamapiError]
    while waiting:
        kind = waiting.pop(0)
        waiting.extend(kind.__subclasses__())
        if "code" in vars(kind) and kind.code:
            found.append(kind)
    return iter(sorted(found, key=lambda kind: kind.status))
