"""The services of the app and the caller of the current request or socket."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import cast

from quart import current_app, g, has_request_context, request, websocket

from streamapi.api import address
from streamapi.generation.request import Caller
from streamapi.services import Services


def services() -> Services:
    """The services of the app that handles the current request or socket."""
    return cast(Services, current_app.extensions["streamapi"])


def caller() -> Caller:
    """The caller of the current request or socket. Before `authentication.py` has authenticated
    it, only its address is known."""
    known: Caller | None = g.get("caller")
    if known is not None:
        return known
    connection = request if has_request_context() else websocket
    return Caller(address=address.of(connection))


def reading(parts: Services, close_callback: Callable[[], None]) -> AbstractContextManager[None]:
    """A context in which `close_callback` is called when the current caller's key is revoked."""
    if parts.key_auth is None:
        return nullcontext()
    return parts.key_auth.revocations.reading(caller().key, close_callback)
