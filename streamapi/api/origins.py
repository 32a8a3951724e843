"""Which pages may send requests: a browser sends them on behalf of any page that it shows.

Programs send neither `Origin` nor `Sec-Fetch-Site`, and are always allowed. A page must be ours or
of an allowed origin. The same rules apply to WebSockets: browsers do not apply CORS to them, so the
server must check (RFC 6455, section 10.2). quart-cors would refuse every program that opens one.
"""

from functools import lru_cache
from urllib.parse import urlsplit

from werkzeug.datastructures import Headers

from streamapi.errors import HostNotAllowed, OriginNotAllowed
from streamapi.settings import Settings
from streamapi.settings.values import host_of, is_loopback

NOT_EMBEDDED = ("empty", "document", "websocket")
"""Destinations (`Sec-Fetch-Dest`) of requests by `fetch`, `EventSource`, `WebSocket`, and of pages
that a person opens. All other destinations are parts that a page embeds, such as images."""


def check(settings: Settings, headers: Headers) -> None:
    """Raise `OriginNotAllowed` for a page of another origin, and `HostNotAllowed` for a host name
    that is not this server's."""
    _check_host(settings, headers.get("Host", ""))
    origin, site = headers.get("Origin"), headers.get("Sec-Fetch-Site")
    # A request for an image has no Origin, but has its destination (W3C Fetch Metadata).
    if headers.get("Sec-Fetch-Dest", "empty") not in NOT_EMBEDDED:
        raise OriginNotAllowed(
            "A page cannot embed this path. Request it with `fetch`, `EventSource` or `WebSocket`."
        )
    if site in ("same-origin", "none") or (origin is None and site is None):
        return
    if origin is not None and ("*" in settings.cors_origins or origin in settings.cors_origins):
        return
    ours = [f"{scheme}://{headers.get('Host')}" for scheme in ("http", "https")]
    if origin not in ours or site is not None:
        raise OriginNotAllowed(
            "Pages of this origin may not use this server. The operator can add the origin to "
            "STREAMAPI_CORS_ORIGINS."
        )


def _check_host(settings: Settings, host: str) -> None:
    """Raise `HostNotAllowed` for a host name that is not this server's.

    An attacker's page can let its own host name resolve to this machine (DNS rebinding), and is
    then of the same origin. A server on loopback accepts only the names of loopback, unless the
    settings allow others."""
    if not _is_ours(host, settings.allowed_hosts, settings.bind):
        raise HostNotAllowed(
            "The host name of this request is not one of this server's. The operator can add the "
            "name to STREAMAPI_ALLOWED_HOSTS."
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
