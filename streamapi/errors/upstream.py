"""Errors of the model, of its provider, or of the connection to it."""

from streamapi.errors.error import UpstreamError


class UpstreamRejected(UpstreamError):
    """The provider refused the request, or refused this server's access to the model. Check your
    request; if it is right, tell the operator, who finds the provider's reason in the log."""

    code, status, title = "upstream_rejected", 502, "The provider refused the request"


class ModelGone(UpstreamRejected):
    """The provider does not know the model. The server tries the next model of the chain."""


class AccessRefused(UpstreamRejected):
    """The provider refused this server's access to the model. The server tries the next model."""


class UpstreamTruncated(UpstreamError):
    """The model's stream stopped before the end of the answer. The events hold the text that came.
    Send the request again."""

    code, status, title, retryable = "upstream_truncated", 502, "The answer is incomplete", True


class UpstreamInterrupted(UpstreamError):
    """The model's stream broke, or could not be read, after a part of the answer. The events hold
    the text that came. Send the request again."""

    code, status, title = "upstream_interrupted", 502, "The answer was interrupted"
    retryable = True


class ModelOutputInvalid(UpstreamError):
    """The model's answer does not have the form that the task needs: for example, it chose a label
    that you did not offer. Send the request again, or make the labels clearer."""

    code, status, title = "model_output_invalid", 502, "The model's answer has the wrong form"
    retryable = True


class OutputTooLarge(UpstreamError):
    """The answer is larger than one log may be (`STREAMAPI_LOG_MAX_BYTES`,
    `STREAMAPI_LOG_MAX_EVENTS`). Ask for a shorter answer, for example with `max_output_tokens`."""

    code, status, title = "output_too_large", 502, "The answer is too large"


class UpstreamUnavailable(UpstreamError):
    """No attempt reached a first piece of the answer: the provider was overloaded or unreachable,
    limited this server, or sent an empty answer. Wait for `retry_after` seconds, then try again."""

    code, status, title = "upstream_unavailable", 503, "The model is unavailable"
    retryable, default_retry_after = True, 5.0


class UpstreamLimited(UpstreamUnavailable):
    """The provider's rate limit refused this server's request (429)."""


class UpstreamTimeout(UpstreamError):
    """The model sent nothing for too long, or its answer took too long in all. The events hold the
    text that came. Send the request again, or ask for a shorter answer."""

    code, status, title, retryable = "upstream_timeout", 504, "The model took too long", True
