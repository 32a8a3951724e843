"""Which pages may ask: a browser asks for whoever's page it shows.

Programs send no `Origin` and no `Sec-Fetch-Site` and may always ask. A page must be ours or of an
allowed origin. Sockets are looked at as requests are: browsers do not hold them to CORS, so the
server must (RFC 6455, section 10.2); quart-cors would refuse every program that opens one.
"""

from functools import lru_cache
from urllib.parse import urlsplit

from werkzeug.datastructures import Headers

from streamapi.errors import HostNotAllowed, OriginNotAllowed
from streamapi.settings import Settings
from streamapi.settings.values import host_of, is_loopback

ASKING = ("empty", "document", "websocket")
"""Destinations of a browser's requests that are made to be answered: by `fetch`, `EventSource` and
`WebSocket`, and by whoever types an address. All others are parts that a page embeds."""


def check(settings: Settings, headers: Headers) -> None:
    """Raise `OriginNotAllowed` for a page of another site, and `HostNotAllowed` for a name that is
    not ours."""
    _check_host(settings, headers.get("Host", ""))
    origin, site = headers.get("Origin"), headers.get("Sec-Fetch-Site")
    # An image tag sends no Origin, but for what and from which site (W3C Fetch Metadata).
    if headers.get("Sec-Fetch-Dest", "empty") not in ASKING:
        raise OriginNotAllowed("What a page embeds may not ask here.")
    if site in ("same-origin", "none") or (origin is None and site is None):
        return
    if origin is not None and ("*" in settings.cors_origins or origin in settings.cors_origins):
        return
    ours = [f"{scheme}://{headers.get('Host')}" for scheme in ("http", "https")]
    if origin not in ours or site is not None:
        raise OriginNotAllowed(
            "A page of this origin may not ask here. The operator can add the origin to "
            "STREAMAPI_CORS_ORIGINS."
        )


def _check_host(settings: Settings, host: str) -> None:
    """A page can give its own name the address of this machine (DNS rebinding), and is then of
    the same origin. On loopback only loopback's names are ours, unless the settings say more."""
    if not _is_ours(host, settings.allowed_hosts, settings.bind):
        raise HostNotAllowed(
            "This server does not answer to the host name of this request. The operator can add "
            "the name to STREAMAPI_ALLOWED_HOSTS."
        )


@lru_cache(maxsize=256)
def _is_ours(host: str, allowed: tuple[str, ...], bind: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    on_loopback = is_loopback(host_of(bind))
    if "*" in allowed or name in allowed or (not allowed and not on_loopback):
        return True
    return on_loopback and (name == "" or is_loopback(name))
