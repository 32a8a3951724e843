"""Authentication: a credential becomes a `Caller`, for requests and WebSockets alike.

Every route needs a credential, except those marked `open_to_all`. A client sends it in a header, or
in the first message of a WebSocket, but never in a URL, because browsers, proxies and logs keep
URLs. Without keys there is one anonymous caller, which must be on this machine: the app cannot know
which address the server binds, but it sees at which address each request arrived.
"""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec.structs import replace
from quart import Quart, Request, Response, Websocket, current_app, g, request, websocket

from streamapi.access.guesses import Guesses
from streamapi.access.keys import contains_key, digest
from streamapi.api.context import caller, services
from streamapi.api.cursor import is_resumption
from streamapi.api.reconnect import ask_to_reconnect
from streamapi.errors import (
    Forbidden,
    OriginNotAllowed,
    RateLimited,
    StoreUnavailable,
    StreamapiError,
    Unauthenticated,
)
from streamapi.generation.request import Caller
from streamapi.services import Services
from streamapi.settings.values import is_loopback

if TYPE_CHECKING:  # an open server never imports it
    from streamapi.access.key_cache import KeyCache

V = TypeVar("V", bound=Callable[..., Any])

_BEARER = re.compile(r"bearer +([!-~]{1,500}) *", re.IGNORECASE)
SEND = "Send `Authorization: Bearer <key>`."


PUBLIC = "it shows what the program is, and nothing that it holds"
"""Why pages and documents need no credential."""


def open_to_all(why: str) -> Callable[[V], V]:
    """Mark a route that needs no credential, with the reason."""

    def mark(view: V) -> V:
        view.open_to_all = why  # type: ignore[attr-defined]
        return view

    return mark


def any_scope(why: str) -> Callable[[V], V]:
    """Mark a route that every key may use, whatever its scopes, with the reason."""

    def mark(view: V) -> V:
        view.any_scope = why  # type: ignore[attr-defined]
        return view

    return mark


def needs(scope: str) -> Callable[[V], V]:
    """Mark a route whose key must have a scope. The scope of a task is checked in `intake.py`."""

    def mark(view: V) -> V:
        view.needs = scope  # type: ignore[attr-defined]
        return view

    return mark


def takes_tickets(view: V) -> V:
    """Mark a route that accepts a ticket in place of a key."""
    view.takes_tickets = True  # type: ignore[attr-defined]
    return view


def only_resumes(view: V) -> V:
    """Mark a route that starts nothing: it only reads, with a cursor or without one."""
    view.only_resumes = True  # type: ignore[attr-defined]
    return view


async def identify(parts: Services, credential: str) -> Caller:
    """The owner of a credential, with the address of the current request or WebSocket. Raises
    `Unauthenticated`, `KeyExpired`, `StoreUnavailable` when the keys cannot be read, and
    `RateLimited` after too many wrong keys from one address."""
    anonymous = caller()
    if parts.key_auth is None:
        return anonymous
    key_cache, address = parts.key_auth.cache, anonymous.address
    if key_cache.knows(credential):
        return replace(await key_cache.caller(credential), address=address)
    async with parts.guesses.lookup(address):
        return replace(await _look_up(parts.guesses, key_cache, credential), address=address)


async def _look_up(guesses: Guesses, key_cache: "KeyCache", credential: str) -> Caller:
    """The owner of a key that was not in the cache. A request that waited for its turn to look the
    key up may find that another request has put it there."""
    address, name = caller().address, digest(credential)
    if not key_cache.knows(credential):
        await guesses.check(address, name)
    try:
        return await key_cache.caller(credential)
    except Unauthenticated:
        if not key_cache.knows(credential):
            await guesses.count(address, name)
        raise


def register(app: Quart) -> None:
    """Authenticate each request and WebSocket before any of its work is done."""
    app.before_request(_authenticate_request)
    app.before_websocket(_authenticate_socket)


async def _authenticate_request() -> Response | None:
    view = current_app.view_functions.get(request.endpoint or "")
    if view is None or request.method == "OPTIONS" or getattr(view, "open_to_all", False):
        return None  # no such path; a preflight, which carries no credential; or an open route
    try:
        g.caller = await _caller(services(), request)
    except (StoreUnavailable, RateLimited) as error:
        if not _reconnects(view, error):
            raise
        return ask_to_reconnect(error.retry_after)
    if scope := getattr(view, "needs", None):
        g.caller.check(scope)
    return None


def _reconnects(view: Any, error: StreamapiError) -> bool:
    """Whether the client may be an `EventSource` that reconnects: it gives up for good after any
    status but 200."""
    unavailable = isinstance(error, StoreUnavailable)
    return is_resumption(view) or (unavailable and getattr(view, "only_resumes", False))


async def _authenticate_socket() -> None:
    """A browser cannot set headers of a WebSocket, so a client without a credential may send `auth`
    as its first message."""
    if websocket.endpoint is None:
        return
    parts = services()
    has_credential = "Authorization" in websocket.headers or "ticket" in websocket.args
    if parts.key_auth is None or has_credential:
        g.caller = await _caller(parts, websocket)
    else:
        _refuse_key_in_url(websocket)


async def _caller(parts: Services, connection: Request | Websocket) -> Caller:
    if parts.key_auth is None:
        _check_local(connection)
        if "ticket" not in connection.args:
            return caller()
    _refuse_key_in_url(connection)
    if (ticket := connection.args.get("ticket")) is not None:
        return await _by_ticket(parts, connection, ticket)
    headers = connection.headers.getlist("Authorization")
    if len(headers) > 1:
        raise Unauthenticated(f"There are {len(headers)} Authorization headers. Send one.")
    bearer = _BEARER.fullmatch(headers[0]) if headers else None
    if bearer is None:
        problem = "The Authorization header is malformed. " if headers else ""
        raise Unauthenticated(f"{problem}{SEND}")
    found = await identify(parts, bearer[1])
    g.key_digest = digest(bearer[1])
    return found


async def _by_ticket(parts: Services, connection: Request | Websocket, text: str) -> Caller:
    """The owner of a ticket. Raises as `identify` does, `Forbidden` for a ticket of another path,
    and `OriginNotAllowed` for a ticket of another page."""
    found, name = caller(), digest(text)
    view = current_app.view_functions.get(connection.endpoint or "")
    if not getattr(view, "takes_tickets", False):
        raise Unauthenticated(f"This path does not accept tickets. {SEND}")
    ticket = await parts.tickets.find(name)  # as cheap as a count, and a good ticket always passes
    if ticket is None:
        await parts.guesses.count(found.address, name)
        raise Unauthenticated(
            "This ticket is unknown, or older than a minute. Get another from `POST /v1/tickets`."
        )
    if parts.key_auth is not None:
        owner = await parts.key_auth.cache.caller_by_digest(ticket.key)
        found = replace(owner, address=found.address)
    if ticket.path != connection.path:
        raise Forbidden("This ticket is for another path.")
    if connection.headers.get("Origin", ticket.origin) != ticket.origin:
        raise OriginNotAllowed("This ticket belongs to a page of another origin.")
    g.ticket = ticket
    return replace(found, ticket=name)


def _refuse_key_in_url(connection: Request | Websocket) -> None:
    if connection.query_string and any(
        contains_key(text) for pair in connection.args.items(multi=True) for text in pair
    ):
        raise Unauthenticated(
            f"Do not put a key into an address: browsers, proxies and logs keep it. {SEND} Revoke "
            "this key if others may have seen it."
        )


def _check_local(connection: Request | Websocket) -> None:
    address = (connection.scope.get("server") or ("localhost",))[0]  # none: a Unix socket
    if not is_loopback(address) and "/" not in address:  # a path is that of a Unix socket
        raise Unauthenticated(
            "This server has no keys, so it answers requests from its own machine only. The "
            "operator can set STREAMAPI_AUTH."
        )
