"""Where a request came from: the one place that believes `X-Forwarded-For`, or does not.

Each proxy writes the address of who asked it at the right end of that header. So with `hops`
proxies of ours in front, the address stands that many places from the right; what is left of it
anyone could have written. What cannot be an address there is not believed either.
"""

import ipaddress
from typing import Any

MOST = 4000
"""Characters of the header that are looked at, from the right."""


def find(connection: Any, hops: int) -> str | None:
    """The address of who asks, of a request or a socket."""
    peer: str | None = connection.remote_addr
    if not hops or not peer:
        return peer
    told = ",".join(connection.headers.getlist("X-Forwarded-For"))[-MOST:].split(",")
    return (_address(told[-hops].strip()) if len(told) >= hops else None) or peer


def _address(text: str) -> str | None:
    """What a proxy writes: an address, with a port or without."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return str(ipaddress.ip_address(text.partition("%")[0]))
    except ValueError:
        return None


def of(connection: Any) -> str | None:
    """The address of a request or a socket, once `headers.py` has found it."""
    found: str | None = connection.scope.get("streamapi.address", connection.remote_addr)
    return found
