"""Bodies, query parameters and messages are read strictly, and only here.

A body is one JSON object (RFC 8259) in UTF-8 without a content encoding. msgspec's decoder
refuses NaN, lone surrogates, invalid UTF-8 and trailing text; the bounds of depth and size are
checked here. Each mistake of a client has its 4xx status; none causes a 500.
"""

import asyncio
import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
from pydantic import BaseModel
from quart import Request, request
from quart.wrappers import Body
from werkzeug.exceptions import RequestEntityTooLarge

from streamapi.errors import (
    FieldError,
    InvalidRequest,
    MalformedJson,
    TooLarge,
    UnsupportedMediaType,
    UriTooLong,
    escape,
)
from streamapi.validation import unknown_field

MAX_DEPTH = 32
"""Levels of objects and lists in a body. A deeper body is refused, so code may recurse over it."""

MAX_QUERY = 8000
"""Characters that the query parameters of a GET may have, decoded. A longer request needs POST."""

LARGE = 65_536
"""Bytes of JSON from which a text is decoded in a thread, so that other clients are served
meanwhile. Decoding a megabyte of numbers takes 80 ms; moving it to the thread and back, 0.1 ms."""

_decoding_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="decode")
"""One thread, because it takes the interpreter from the event loop for 5 ms at a time; two threads
would take it for 10 ms."""

_COMPLETE = asyncio.Event()
_COMPLETE.set()
"""The event that all bodies share once they are read. An event for each takes a kilobyte."""


class ReleasedBody(Body):
    """A body whose memory is free once it is read, because its stream may go on for minutes."""

    def clear(self) -> None:
        super().clear()
        self._complete = self._has_data = _COMPLETE


class JsonRequest(Request):
    """Quart's request, with a `ReleasedBody`."""

    body_class: type[Body] = ReleasedBody


def _finite(text: str) -> float:
    """The number in a JSON text. Raises `ValueError` beyond the range of a double, as msgspec does.

    msgspec itself takes 9 us for a number near the limits of a double, so a megabyte of them would
    stop the process for 1.5 s. `float` takes 0.2 us."""
    value = float(text)
    if math.isinf(value):
        raise ValueError("Number out of range")
    return value


_decoder = msgspec.json.Decoder(float_hook=_finite)


async def read_object() -> dict[str, Any]:
    """The JSON object in the current request's body. Raises `UnsupportedMediaType`, `TooLarge` and
    `MalformedJson`."""
    if request.mimetype != "application/json":
        raise UnsupportedMediaType("Send the body with `Content-Type: application/json`.")
    if request.mimetype_params.get("charset", "utf-8").lower() not in ("utf-8", "utf8"):
        raise UnsupportedMediaType("Send the body in UTF-8.")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType("Send the body without a content encoding.")
    try:
        # Not `get_data`: on Python 3.11 its `wait_for` swallows a cancellation that comes together
        # with the body. A client that has left would then count as a reader for ever.
        async with asyncio.timeout(request.body_timeout):
            body = await request.body
        request.body.clear()
    except RequestEntityTooLarge:
        bound = request.max_content_length or 0
        raise TooLarge(f"The body is too large: {bound:,} bytes are allowed.") from None
    except TimeoutError:
        seconds = f"{request.body_timeout:g} seconds"
        raise MalformedJson(f"The body did not arrive within {seconds}. Send it again.") from None
    return await decode(body)


async def decode(text: bytes | str) -> dict[str, Any]:
    """The JSON object in a text of any size. Raises `MalformedJson`."""
    if len(text) < LARGE:
        return decode_object(text)
    return await asyncio.get_running_loop().run_in_executor(_decoding_thread, decode_object, text)


def decode_object(text: bytes | str) -> dict[str, Any]:
    """The JSON object in a small text, decoded at once. Raises `MalformedJson`."""
    try:
        value = _decoder.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise MalformedJson(f"The JSON cannot be read: {reason}.") from None
    if not isinstance(value, dict):
        raise MalformedJson("The body must be a JSON object.")
    _check_depth(value)
    return value


def read_query(
    model: type[BaseModel], not_by_get: frozenset[str], not_fields: frozenset[str] = frozenset()
) -> dict[str, Any]:
    """The query parameters of the current GET as the fields of a request. The values are text; a
    list is a repeated parameter.

    `not_by_get` are fields of the model that a query cannot have; `not_fields` are parameters that
    the caller of this function reads. Raises `UriTooLong` and `InvalidRequest`."""
    if sum(len(k) + len(v) + 2 for k, v in request.args.items(multi=True)) > MAX_QUERY:
        raise UriTooLong(
            f"The query parameters are too long: {MAX_QUERY:,} characters are allowed. Use "
            "POST instead."
        )
    fields: dict[str, Any] = {}
    errors = []
    for name, values in request.args.lists():
        if name in not_fields:
            continue
        known = model.model_fields.get(name)
        if known is None or name in not_by_get:
            errors.append(FieldError(_no_parameter(name, model, not_by_get), f"/{escape(name)}"))
        elif _is_list(known.annotation):
            fields[name] = values
        elif len(values) > 1:
            errors.append(FieldError("is given more than once", f"/{escape(name)}"))
        else:
            fields[name] = values[0]
    if errors:
        raise InvalidRequest.of(*errors)
    return fields


def _no_parameter(name: str, model: type[BaseModel], not_by_get: frozenset[str]) -> str:
    if name in not_by_get:
        return "is not a parameter of a GET; use POST instead"
    return unknown_field(name, model.model_fields.keys() - not_by_get)


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
