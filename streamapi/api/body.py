"""Requests, read strictly and in one place.

A body is one JSON object (RFC 8259) in UTF-8 without a content encoding. msgspec's decoder
refuses NaN, lone surrogates, invalid UTF-8 and trailing text; depth, size and U+0000 are ours.
Whatever is wrong has its 4xx; nothing that a client sends is a 500.
"""

import asyncio
import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import msgspec
from pydantic import BaseModel, ValidationError
from quart import Request, request
from quart.wrappers import Body
from werkzeug.exceptions import RequestEntityTooLarge

from streamapi.api.field_errors import field_errors, unknown
from streamapi.errors import (
    FieldError,
    InvalidRequest,
    MalformedJson,
    TooLarge,
    UnsupportedMediaType,
    UriTooLong,
    escape,
)

MAX_DEPTH = 32
MAX_QUERY = 8000
"""Characters that a GET's parameters may have, decoded; a longer request is for POST."""

LARGE = 65_536
"""Bytes of JSON that are decoded beside the event loop. A megabyte of numbers takes 80 ms, in which
nobody else would be served; a hand-over to a thread and back takes 0.1 ms."""

_beside = ThreadPoolExecutor(max_workers=1, thread_name_prefix="decode")
"""One thread: it shares the interpreter with the loop, 5 ms and 5 ms. More would take more."""


R = TypeVar("R", bound=BaseModel)


_READ = asyncio.Event()
_READ.set()
"""What all bodies that were read share: an event of their own each would be a kilobyte."""


class ReleasedBody(Body):
    """A body that keeps nothing once it was read: a stream may go on for minutes."""

    def clear(self) -> None:
        super().clear()
        self._complete = self._has_data = _READ


class JsonRequest(Request):
    """Quart's request, with a body that is released."""

    body_class: type[Body] = ReleasedBody


def _finite(text: str) -> float:
    """A number of a JSON text. msgspec reads those near the limits of a double by a path that takes
    9 us each, so a megabyte of them stops the process for 1.5 s; this takes 0.2 us. As msgspec
    does, it refuses what is beyond a double."""
    value = float(text)
    if math.isinf(value):
        raise ValueError("Number out of range")
    return value


_decoder = msgspec.json.Decoder(float_hook=_finite)


async def read_object() -> dict[str, Any]:
    """The request's body. Raises `UnsupportedMediaType`, `TooLarge`, `MalformedJson`."""
    if request.mimetype != "application/json":
        raise UnsupportedMediaType("Send the body as application/json.")
    if request.mimetype_params.get("charset", "utf-8").lower() not in ("utf-8", "utf8"):
        raise UnsupportedMediaType("Send the body in UTF-8.")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType("Send the body without a content encoding.")
    try:
        # Not `get_data`: its wait_for swallows, on Python 3.11, a cancellation that comes with
        # the body, and a client that has left would be a reader for ever.
        async with asyncio.timeout(request.body_timeout):
            body = await request.body
        request.body.clear()
    except RequestEntityTooLarge:
        bound = request.max_content_length or 0
        raise TooLarge(f"A body may have {bound:,} bytes.") from None
    except TimeoutError:
        raise MalformedJson("The body did not arrive in time.") from None
    return await decode(body)


async def decode(text: bytes | str) -> dict[str, Any]:
    """The JSON object in a text of any size, as `decode_object`."""
    if len(text) < LARGE:
        return decode_object(text)
    return await asyncio.get_running_loop().run_in_executor(_beside, decode_object, text)


def decode_object(text: bytes | str) -> dict[str, Any]:
    """The JSON object in a body or a WebSocket message. Raises `MalformedJson`."""
    try:
        value = _decoder.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise MalformedJson(f"The JSON cannot be read: {reason}.") from None
    if not isinstance(value, dict):
        raise MalformedJson("The body must be a JSON object.")
    _check_depth(value)
    return value


def validate(model: type[R], value: dict[str, Any], *, lax: bool = False) -> R:
    """The value as the model has it; `lax` reads numbers and booleans from text.

    Raises `InvalidRequest` with one error per field."""
    try:
        return model.model_validate(value, strict=not lax)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        raise InvalidRequest.of(*field_errors(found, value, model.model_fields)) from None


def read_query(
    model: type[R], leave_out: frozenset[str], also: frozenset[str] = frozenset()
) -> dict[str, Any]:
    """The parameters of a GET as the fields of a request: lists are repeated parameters. The
    names in `also` are allowed, and for someone else to read."""
    if sum(len(k) + len(v) + 2 for k, v in request.args.items(multi=True)) > MAX_QUERY:
        raise UriTooLong(f"The parameters may have {MAX_QUERY:,} characters; POST the request.")
    fields: dict[str, Any] = {}
    errors = []
    for name, values in request.args.lists():
        if name in also:
            continue
        known = model.model_fields.get(name)
        if known is None or name in leave_out:
            errors.append(FieldError(_no_parameter(name, model, leave_out), f"/{escape(name)}"))
        elif _is_list(known.annotation):
            fields[name] = values
        elif len(values) > 1:
            errors.append(FieldError("is given more than once", f"/{escape(name)}"))
        else:
            fields[name] = values[0]
    if errors:
        raise InvalidRequest.of(*errors)
    return fields


def _no_parameter(name: str, model: type[BaseModel], leave_out: frozenset[str]) -> str:
    if name in leave_out:
        return "is not a parameter of a GET; POST the request"
    return unknown(name, model.model_fields.keys() - leave_out)


def _is_list(annotation: Any) -> bool:
    return "list[" in str(annotation)


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
    raise MalformedJson(f"The JSON is nested more than {MAX_DEPTH} levels deep.")
