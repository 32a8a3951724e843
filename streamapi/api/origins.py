"""Which pages may ask: a browser asks for whoever's page it shows.

Programs send no `Origin` and no `Sec-Fetch-Site` and may always ask. A page must be ours or of an
allowed origin. Sockets are looked at as requests are: browsers do not hold them to CORS, so the
server must (RFC 6455, section 10.2); quart-cors would refuse every program that opens one.
"""

import ipaddress
from urllib.parse import urlsplit

from werkzeug.datastructures import Headers

from streamapi.errors import OriginNotAllowed
from streamapi.settings import Settings


def check(settings: Settings, headers: Headers) -> None:
    """Raise `OriginNotAllowed` for a page of another site, or for a name that is not ours."""
    _check_host(settings, headers.get("Host", ""))
    origin, site = headers.get("Origin"), headers.get("Sec-Fetch-Site")
    # An image tag of another site sends no Origin, but the site (W3C Fetch Metadata).
    if site in ("same-origin", "none") or (origin is None and site is None):
        return
    if origin is not None and ("*" in settings.cors_origins or origin in settings.cors_origins):
        return
    if origin is None or site is not None or urlsplit(origin).netloc != headers.get("Host"):
        raise OriginNotAllowed("A page of this origin may not ask here.")


def _check_host(settings: Settings, host: str) -> None:
    """A page can give its own name the address of this machine (DNS rebinding), and is then of
    the same origin. On loopback only loopback's names are ours, unless the settings say more."""
    name = urlsplit(f"//{host}").hostname or ""
    allowed = settings.allowed_hosts
    if "*" in allowed or name in allowed or (not allowed and not settings.on_loopback):
        return
    if settings.on_loopback and (name in ("", "localhost") or _is_loopback(name)):
        return
    raise OriginNotAllowed("This server does not answer to this Host; see STREAMAPI_ALLOWED_HOSTS.")


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
