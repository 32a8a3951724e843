"""The name under which a caller is counted, by every limit and by the queue for a model."""

import ipaddress
from functools import lru_cache

from streamapi.generation.request import Caller


def limit_key(caller: Caller) -> str:
    """The caller's key where it has one, else its network."""
    return f"key/{caller.key}" if caller.key else f"address/{network(caller.address)}"


@lru_cache(maxsize=4096)
def network(address: str | None) -> str:
    """An IPv4 address itself; of an IPv6 address its /64, because one customer has all of it.
    Anything else is `unknown`."""
    try:
        found = ipaddress.ip_address(address or "")
    except ValueError:
        return "unknown"
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return f"{ipaddress.IPv6Address(int(found) >> 64 << 64)}/64"
