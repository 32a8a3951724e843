"""The idempotency key of a request: in a header, a query parameter or a message of a socket."""

import re

from quart import request

from streamapi.errors import FieldError, InvalidHeader, InvalidRequest

PATTERN = re.compile(r"[\x21-\x7e]{1,255}")
_RULE = "must have 1 to 255 visible ASCII characters, and no space"


def from_field(value: str | None) -> str | None:
    """The key in a parameter or in a field of a message. Raises `InvalidRequest`."""
    if value is not None and not PATTERN.fullmatch(value):
        raise InvalidRequest.of(FieldError(_RULE, "/idempotency_key"))
    return value


def from_header() -> str | None:
    """The `Idempotency-Key` of the current request. Raises `InvalidHeader`."""
    value = request.headers.get("Idempotency-Key")
    if value is not None and not PATTERN.fullmatch(value):
        raise InvalidHeader(f"The Idempotency-Key {_RULE}.")
    return value
