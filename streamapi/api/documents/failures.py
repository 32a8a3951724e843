"""The errors that each route can answer, and the responses made of them.

A route declares the errors that are its own. Those of every route, of keys, of request limits, of
bodies and of handshakes are added here. A test finds an error that no route has.
"""

from http import HTTPStatus
from inspect import cleandoc
from typing import Any

import msgspec

from streamapi import errors
from streamapi.api.description import GENERATION_ERRORS, Description, Errors
from streamapi.api.documents.components import header_refs
from streamapi.api.documents.schemas import Schema, ref
from streamapi.api.patches.heads import FAULTS
from streamapi.errors import MalformedRequest, Problem, StreamapiError

ALWAYS: Errors = (
    errors.Internal,
    errors.MalformedRequest,
    errors.OriginNotAllowed,
    errors.HostNotAllowed,
)
KEY: Errors = (
    errors.Unauthenticated,
    errors.KeyExpired,
    errors.Forbidden,
    errors.StoreUnavailable,
    errors.RateLimited,  # many wrong keys from one address
)
BODY: Errors = (
    errors.MalformedJson,
    errors.TooLarge,
    errors.UnsupportedMediaType,
    errors.InvalidRequest,
)
QUERY: Errors = (errors.UriTooLong, errors.InvalidRequest)
COUNTED: Errors = (errors.RateLimited,)
HANDSHAKE: Errors = (errors.InvalidHeader,)

NOWHERE: Errors = (errors.MethodNotAllowed,)
"""Errors of a method that a path does not take: no operation has them."""

HEADS = tuple(status for status in FAULTS if status != MalformedRequest.status)
"""Statuses beside its own with which `malformed_request` comes, of any path: what is wrong with the
head of a request is seen before its path is."""

GENERATION = frozenset((*GENERATION_ERRORS, errors.GenerationCancelled))
"""Errors that name the generation that they ended."""


def catalogue() -> list[dict[str, Any]]:
    """Every error of the contract, and what to do about it."""
    return [
        {
            "code": kind.code,
            "status": kind.status,
            "title": kind.title,
            "description": cleandoc(kind.__doc__ or ""),
            "retryable": kind.retryable,
            "type": f"/errors/{kind.code}",
        }
        for kind in errors.every_error()
    ]


def examples() -> dict[str, Schema]:
    """One body per error, as `components/examples`."""
    found = {
        kind.code: {"summary": kind.title, "value": _body(kind)} for kind in errors.every_error()
    }
    for status in HEADS:
        value = {**_body(MalformedRequest), "status": status, "detail": FAULTS[status]}
        found[_head_example(status)] = {"summary": MalformedRequest.title, "value": value}
    return found


def errors_of(
    described: Description, *, public: bool, counted: bool, websocket: bool
) -> frozenset[type[StreamapiError]]:
    """The errors that a route can answer: its own, and those of what it takes."""
    return frozenset(
        (
            *ALWAYS,
            *described.fails,
            *(() if public else KEY),
            *(COUNTED if counted else ()),
            *(HANDSHAKE if websocket else ()),
            *(BODY if described.body else ()),
            *(QUERY if described.query else ()),
        )
    )


def responses(kinds: frozenset[type[StreamapiError]], *, counted: bool) -> dict[str, Schema]:
    """The failures of a route, by status."""
    by_status: dict[int, list[type[StreamapiError]]] = {}
    for kind in errors.every_error():
        if kind in kinds:
            by_status.setdefault(kind.status, []).append(kind)
    heads = {str(status): _head_response(status) for status in HEADS}
    return heads | {str(status): _response(found, counted) for status, found in by_status.items()}


def _head_example(status: int) -> str:
    return f"{MalformedRequest.code}_{status}"


def _head_response(status: int) -> Schema:
    """The head of a request is refused before anything is counted."""
    found = _response([MalformedRequest], counted=False)
    place = {"$ref": f"#/components/examples/{_head_example(status)}"}
    problem = {"schema": ref(Problem), "examples": {MalformedRequest.code: place}}
    return {
        **found,
        "description": f"{HTTPStatus(status).phrase}: `{MalformedRequest.code}`. {FAULTS[status]}",
        "content": {"application/problem+json": problem},
    }


def _response(kinds: list[type[StreamapiError]], counted: bool) -> Schema:
    names = ["X-Request-Id", "x-should-retry"]
    if any(kind.default_retry_after for kind in kinds):
        names.append("Retry-After")
    if GENERATION.intersection(kinds):
        names.append("Generation-Id")
    if counted:
        names += ["RateLimit", "RateLimit-Policy"]
    lines = [f"- `{kind.code}`: {kind.title}." for kind in kinds]
    places = {kind.code: {"$ref": f"#/components/examples/{kind.code}"} for kind in kinds}
    return {
        "description": "\n".join([HTTPStatus(kinds[0].status).phrase + ":", "", *lines]),
        "headers": header_refs(names),
        "content": {"application/problem+json": {"schema": ref(Problem), "examples": places}},
    }


def _body(kind: type[StreamapiError]) -> Any:
    detail = " ".join(cleandoc(kind.__doc__ or "").split())
    wrong = (errors.FieldError("is required", "/prompt"),)
    found = kind(detail, errors=wrong if kind is errors.InvalidRequest else ()).problem()
    problem = msgspec.structs.replace(found, request_id="req_5Nn2cWcuXzRkH1vM")
    if kind in GENERATION:
        problem = msgspec.structs.replace(problem, generation="gen_3fkQ1b8vJ6mYw0ZtL2xE9A")
    return msgspec.json.decode(msgspec.json.encode(problem))
