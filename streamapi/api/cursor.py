"""The cursor of a request: the last event that the client has seen, in `Last-Event-ID` or `after`.

A request with a cursor resumes a generation; it never starts one.
"""

import re
from typing import NamedTuple

from quart import request

from streamapi.errors import InvalidHeader, InvalidRequest
from streamapi.generation.log import LOST_AT

_CURSOR = re.compile(r"(?:(gen_[A-Za-z0-9_-]{1,64})\.)?(0|[1-9][0-9]{0,9})")
_EXAMPLE = "gen_3fkQ1b8vJ6mYw0ZtL2xE9A.12"


class Cursor(NamedTuple):
    """The number of the last event seen, and the id of its generation where the client sent it."""

    generation: str | None
    after: int


def read_cursor() -> Cursor | None:
    """The cursor of the current request; None where it has none.

    Raises `InvalidHeader` and `InvalidRequest` for a cursor that is not an event id."""
    header = request.headers.get("Last-Event-ID")
    value = header if header else request.args.get("after")
    if value is None:
        return None
    found = _CURSOR.fullmatch(value)
    if found is None or (header and found[1] is None) or int(found[2]) > LOST_AT:
        text = f"Send the id of the last event that you saw, such as {_EXAMPLE}, or leave it out."
        raise InvalidHeader(text) if header else InvalidRequest(text)
    return Cursor(found[1], int(found[2]))


def read_full_cursor() -> tuple[str, int] | None:
    """The cursor of a request whose path does not name the generation. Raises as `read_cursor`
    does, and `InvalidRequest` for a cursor that does not name it either."""
    cursor = read_cursor()
    if cursor is None:
        return None
    if cursor.generation is None:
        raise InvalidRequest(f"`after` must be a whole event id here, such as {_EXAMPLE}.")
    return cursor.generation, cursor.after


def is_resumption(view: object) -> bool:
    """Whether the current request resumes a generation, as its view allows (see
    `limits.resumable` and `authentication.only_resumes`)."""
    only = getattr(view, "only_resumes", False)
    if not only and not getattr(view, "resumes", False):
        return False
    try:
        cursor = read_cursor()
    except (InvalidHeader, InvalidRequest):
        return False
    named = cursor is not None and cursor.generation is not None
    return named or (only and "after" in request.args)
