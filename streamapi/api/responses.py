"""The kinds of responses that several routes give: JSON, and a file that a client may keep."""

from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from typing import Any

from quart import Response, request

from streamapi.generation.event import encode

NO_STORE = {"Cache-Control": "no-store"}
REVALIDATE = "no-cache"


def json_response(
    body: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """A response with a body of JSON."""
    sent = {"Content-Type": "application/json", **(headers or {})}
    return Response(encode(body), status=status, headers=sent)


async def file_response(body: bytes, kind: str, keep: str = REVALIDATE) -> Response:
    """The bytes of a file, or 304 for a client that has them already. `keep` is `Cache-Control`."""
    response = Response(body, content_type=kind)
    response.headers["Cache-Control"] = keep
    response.set_etag(tag(body))
    return await response.make_conditional(request)


@cache
def tag(body: bytes) -> str:
    """The entity tag of a file, computed once. Files are few, and stay in memory anyway."""
    return sha256(body).hexdigest()[:32]
