"""Errors of this server."""

from streamapi.errors.error import ServiceError


class Internal(ServiceError):
    """The server failed because of a bug or a wrong configuration. Tell the operator the
    `request_id`: the server's log has the reason under it."""

    code, status, title = "internal", 500, "Internal server error"


class ProducerLost(ServiceError):
    """The server process that wrote this answer has died. The events hold the text that came. Send
    the request again."""

    code, status, title, retryable = "producer_lost", 502, "The answer was lost", True


class Overloaded(ServiceError):
    """This server has no room for more work. Wait for `Retry-After` seconds, then try again."""

    code, status, title, retryable = "overloaded", 503, "The server is overloaded", True
    default_retry_after = 2.0


class StoreUnavailable(ServiceError):
    """This request needs Redis or the database, and the server cannot reach it. Wait for
    `Retry-After` seconds, then try again."""

    code, status, title = "store_unavailable", 503, "A data store is unavailable"
    retryable, default_retry_after = True, 2.0


class ShuttingDown(ServiceError):
    """This server process is shutting down. Try again after `Retry-After` seconds: another process
    will answer."""

    code, status, title, retryable = "shutting_down", 503, "The server is shutting down", True
    default_retry_after = 1.0
