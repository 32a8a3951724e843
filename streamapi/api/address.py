"""The address of a client: the one place that decides whether to trust `X-Forwarded-For`.

Each proxy adds the address of its own client at the right end of that header. With `hops` trusted
proxies in front of the server, the client's address is at that place from the right. Anyone can
have written the addresses to the left of it. Text there that is not an address is ignored.
"""

import ipaddress
from typing import Any

MOST = 4000
"""Characters of the header that are read, from the right."""


def find(connection: Any, hops: int) -> str | None:
    """The address of the client of a request or a WebSocket, behind `hops` trusted proxies."""
    peer: str | None = connection.remote_addr
    if not hops or not peer:
        return peer
    forwarded = ",".join(connection.headers.getlist("X-Forwarded-For"))[-MOST:].split(",")
    return (_address(forwarded[-hops].strip()) if len(forwarded) >= hops else None) or peer


def _address(text: str) -> str | None:
    """The address in a proxy's entry, which may have a port; None if there is no address."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return str(ipaddress.ip_address(text.partition("%")[0]))
    except ValueError:
        return None


def of(connection: Any) -> str | None:
    """The address of the client of a request or a WebSocket, after `headers.py` has stored it."""
    found: str | None = connection.scope.get("streamapi.address", connection.remote_addr)
    return found
