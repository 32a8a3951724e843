"""Errors of the request: the caller can correct it, wait, or ask for something else."""

from streamapi.errors.error import MAX_FIELD_ERRORS, CallerError, FieldError


class MalformedRequest(CallerError):
    """The request is not valid HTTP/1.1 (RFC 9110, RFC 9112), for example in its first line, its
    `Host` or its percent-encoding. Send a valid request on a new connection. For its head, this
    error also comes with status 408 (too slow), 431 (too large), 501 (a transfer coding that is not
    `chunked`) and 505 (another version of HTTP)."""

    code, status, title = "malformed_request", 400, "The request is not valid HTTP"


class MalformedJson(CallerError):
    """The body is not valid JSON (RFC 8259): it is incomplete, not UTF-8, nested too deeply, or has
    NaN or a lone surrogate in it. Send one JSON object in UTF-8."""

    code, status, title = "malformed_json", 400, "The body is not valid JSON"


class InvalidHeader(CallerError):
    """A header has a value that the server does not accept, such as a `Last-Event-ID` that the
    server never sent. Send the value as you received it, or leave the header out."""

    code, status, title = "invalid_header", 400, "A header is not valid"


class Unauthenticated(CallerError):
    """The request has no key, or the key is unknown or revoked. Send a valid one, in the header
    `Authorization: Bearer <key>`."""

    code, status, title = "unauthenticated", 401, "Authentication required"


class KeyExpired(CallerError):
    """The key was valid, and has expired. Ask the operator of this server for a new key."""

    code, status, title = "key_expired", 401, "The key has expired"


class Forbidden(CallerError):
    """The key does not have the scope or the model that this request needs. Ask the operator for a
    key that has it, or ask for another model."""

    code, status, title = "forbidden", 403, "The key does not allow this request"


class OriginNotAllowed(CallerError):
    """The request comes from a page of another site, and this server does not allow that page's
    origin. The operator can add the origin to `STREAMAPI_CORS_ORIGINS`."""

    code, status, title = "origin_not_allowed", 403, "The origin is not allowed"


class HostNotAllowed(CallerError):
    """The `Host` of the request is not a name that this server answers to. Use an allowed name; the
    operator can add one, without a port, to `STREAMAPI_ALLOWED_HOSTS`."""

    code, status, title = "host_not_allowed", 403, "The host name is not allowed"


class NotFound(CallerError):
    """This path or id does not exist, or belongs to another owner. Check the path and the id."""

    code, status, title = "not_found", 404, "Not found"


class MethodNotAllowed(CallerError):
    """The path exists, but does not accept this method. Use one that the `Allow` header lists."""

    code, status, title = "method_not_allowed", 405, "The method is not allowed"


class TooLarge(CallerError):
    """The body is larger than this server accepts. Send a smaller one: the detail says how large
    it may be."""

    code, status, title = "too_large", 413, "The body is too large"


class UriTooLong(CallerError):
    """The parameters in the URL are longer than 8,000 characters. Send the request by POST, with
    the parameters in a JSON body."""

    code, status, title = "uri_too_long", 414, "The URL is too long"


class UnsupportedMediaType(CallerError):
    """The body has a type, a character set or a content encoding that this server does not accept.
    Send `application/json` in UTF-8, without a content encoding."""

    code, status, title = "unsupported_media_type", 415, "The type of the body is not supported"


class GenerationCancelled(CallerError):
    """The generation was cancelled while this request waited for its answer. Send the request again
    if you still want the answer."""

    code, status, title = "generation_cancelled", 409, "The generation was cancelled"


class GenerationExpired(CallerError):
    """The generation existed, and the server no longer has its log: it keeps a log for
    `STREAMAPI_LOG_TTL` seconds after its end, and for less when its memory is full. Send the
    request again."""

    code, status, title = "generation_expired", 410, "The generation has expired"


class InvalidRequest(CallerError):
    """A field is missing, unknown or out of bounds. Correct the fields in `errors`: each entry says
    what is wrong, and has a JSON pointer to the field."""

    code, status, title = "invalid_request", 422, "The request is not valid"

    @classmethod
    def of(cls, *errors: FieldError) -> "InvalidRequest":
        """The error of these fields. Its detail is the sentence of the first one."""
        text, more = errors[0].sentence(), len(errors) - 1
        if more:
            text = f"{text} (and {more:,} more)"
        text = text if text.endswith("?") else f"{text}."
        return cls(text, errors=errors[:MAX_FIELD_ERRORS])


class ModelNotFound(CallerError):
    """The server does not offer a model of this name. `GET /v1/models` lists the models."""

    code, status, title = "model_not_found", 422, "The model does not exist"


class ContextTooLong(CallerError):
    """The prompt is longer than the model accepts. Shorten it, or choose another model."""

    code, status, title = "context_too_long", 422, "The prompt is too long for the model"


class ContentBlocked(CallerError):
    """The provider's safety system blocked the prompt or the answer. Change the prompt: the same
    prompt is likely to be blocked again. The events hold the text that came before."""

    code, status, title = "content_blocked", 422, "The provider blocked the content"


class IdempotencyKeyReused(CallerError):
    """The `Idempotency-Key` was already used with another body. Use a new key for each new
    request."""

    code, status, title = "idempotency_key_reused", 422, "The idempotency key was used before"


class RateLimited(CallerError):
    """You sent more requests, or used more tokens, than the limit allows. Wait for `Retry-After`
    seconds, then try again."""

    code, status, title, retryable = "rate_limited", 429, "Too many requests", True
    default_retry_after = 1.0


class QuotaExceeded(CallerError):
    """You have used all tokens of the daily limit. Wait for `Retry-After` seconds, then try
    again."""

    code, status, title, retryable = "quota_exceeded", 429, "The daily limit is used up", True
    default_retry_after = 60.0


class TooManyStreams(CallerError):
    """You have as many streams open as the limit allows. Wait until one ends, or cancel one."""

    code, status, title, retryable = "too_many_streams", 429, "Too many streams at once", True
    default_retry_after = 1.0
