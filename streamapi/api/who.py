"""Who asks: a credential that is shown becomes a `Caller`, for requests and sockets alike.

Every route asks, but for those marked `open_to_all`. A credential is sent in a header, or by the
first message of a socket; never in an address, which is kept by browsers, proxies and logs.
Without keys everybody is the same caller, as long as they are on this machine: the app cannot
know what a server binds, but it sees where each request arrived.
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


def open_to_all(view: V) -> V:
    """Mark a route that asks nobody who they are."""
    view.open_to_all = True  # type: ignore[attr-defined]
    return view


def needs(scope: str) -> Callable[[V], V]:
    """Mark a route that needs a scope. Tasks check theirs where a generation begins."""

    def mark(view: V) -> V:
        view.needs = scope  # type: ignore[attr-defined]
        return view

    return mark


def takes_tickets(view: V) -> V:
    """Mark a door at which a ticket stands for a key."""
    view.takes_tickets = True  # type: ignore[attr-defined]
    return view


def only_resumes(view: V) -> V:
    """Mark a route that begins nothing: whoever asks reads on, with a cursor or without."""
    view.only_resumes = True  # type: ignore[attr-defined]
    return view


async def identify(parts: Services, shown: str) -> Caller:
    """Whose credential this is, from where the current request or socket came. Raises
    `Unauthenticated`, `KeyExpired`, `StoreUnavailable` where nobody can say, and `RateLimited`
    where too many bad ones came from."""
    nobody = caller()
    if parts.key_auth is None:
        return nobody
    key_cache = parts.key_auth.cache
    if key_cache.knows(shown):
        return replace(await key_cache.caller(shown), address=nobody.address)
    async with parts.guesses.lookup(nobody.address):
        return replace(await _look_up(parts.guesses, key_cache, shown), address=nobody.address)


async def _look_up(guesses: Guesses, key_cache: "KeyCache", shown: str) -> Caller:
    """Whose key this is, if nobody has seen it here yet. Who waited for a look-up may find that
    another has made it."""
    address, name = caller().address, digest(shown)
    if not key_cache.knows(shown):
        await guesses.check(address, name)
    try:
        return await key_cache.caller(shown)
    except Unauthenticated:
        if not key_cache.knows(shown):
            await guesses.count(address, name)
        raise


def register(app: Quart) -> None:
    """Ask who it is, before anything else is done for them."""
    app.before_request(_ask_request)
    app.before_websocket(_ask_socket)


async def _ask_request() -> Response | None:
    view = current_app.view_functions.get(request.endpoint or "")
    if view is None or request.method == "OPTIONS" or getattr(view, "open_to_all", False):
        return None  # nothing is there; a preflight cannot show anything; or nothing is asked
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
    """Whether an `EventSource` may have come back, to which every refusal but one is final."""
    away = isinstance(error, StoreUnavailable)
    return is_resumption(view) or (away and getattr(view, "only_resumes", False))


async def _ask_socket() -> None:
    """Browsers cannot set headers here: who shows nothing has a moment to send `auth`."""
    if websocket.endpoint is None:
        return
    parts = services()
    shows = "Authorization" in websocket.headers or "ticket" in websocket.args
    if parts.key_auth is None or shows:
        g.caller = await _caller(parts, websocket)
    else:
        _refuse_address(websocket)


async def _caller(parts: Services, connection: Request | Websocket) -> Caller:
    if parts.key_auth is None:
        _check_local(connection)
        if "ticket" not in connection.args:
            return caller()
    _refuse_address(connection)
    if (ticket := connection.args.get("ticket")) is not None:
        return await _by_ticket(parts, connection, ticket)
    shown = connection.headers.getlist("Authorization")
    if len(shown) != 1:
        raise Unauthenticated(SEND if not shown else f"{SEND} Once, not {len(shown)} times.")
    found = _BEARER.fullmatch(shown[0])
    if found is None:
        raise Unauthenticated(f"The Authorization header cannot be understood. {SEND}")
    known = await identify(parts, found[1])
    g.key_digest = digest(found[1])
    return known


async def _by_ticket(parts: Services, connection: Request | Websocket, shown: str) -> Caller:
    """Whose ticket this is. Raises as `identify` does, and `Forbidden` and `OriginNotAllowed`
    for a ticket that is good elsewhere."""
    nobody, name = caller(), digest(shown)
    view = current_app.view_functions.get(connection.endpoint or "")
    if not getattr(view, "takes_tickets", False):
        raise Unauthenticated(f"A ticket is not for this address. {SEND}")
    ticket = await parts.tickets.find(name)  # as cheap as a count; one that is good always passes
    if ticket is None:
        await parts.guesses.count(nobody.address, name)
        raise Unauthenticated("This ticket is unknown, or its minute is over. Get another.")
    if parts.key_auth is not None:
        known = await parts.key_auth.cache.caller_by_digest(ticket.key)
        nobody = replace(known, address=nobody.address)
    if ticket.path != connection.path:
        raise Forbidden("This ticket is for another path.")
    if connection.headers.get("Origin", ticket.origin) != ticket.origin:
        raise OriginNotAllowed("This ticket was given to another page.")
    g.ticket = ticket
    return replace(nobody, ticket=name)


def _refuse_address(connection: Request | Websocket) -> None:
    if connection.query_string and any(
        contains_key(text) for pair in connection.args.items(multi=True) for text in pair
    ):
        raise Unauthenticated(
            f"A key does not belong into an address, where it is kept by others. {SEND} Revoke "
            "this one if others may have seen it."
        )


def _check_local(connection: Request | Websocket) -> None:
    arrived = (connection.scope.get("server") or ("localhost",))[0]  # none: a Unix socket
    if not is_loopback(arrived) and "/" not in arrived:  # the path of a Unix socket is ours
        raise Unauthenticated(
            "This server asks for no keys, so it serves its own machine only: set STREAMAPI_AUTH."
        )
