"""Which heads of requests are valid (RFC 9112, RFC 9110, RFC 6455): rules for their parts.

h11 checks the characters of a target, a `Host` and a method, and no more. The rules here refuse
what two servers can read in two ways, so that a proxy and this server never see different requests.
"""

import binascii
import re
from base64 import b64decode
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from streamapi.errors import MalformedRequest

MAX_HOST = 300
"""Bytes of a `Host`: a name has up to 255 (RFC 1035), and a port with its colon up to 6."""

MAX_PORT = 65_535
"""The largest port number (RFC 9293)."""

_LABEL = rb"[A-Za-z0-9_-]{1,63}"
_HOST = re.compile(
    rb"(?:\[[0-9A-Fa-f:.]{2,45}\]|(?:%b\.)*%b\.?)?(?::([0-9]{0,5}))?" % (_LABEL, _LABEL)
)
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)([^#]*)", re.IGNORECASE)


def origin_form(method: bytes, target: bytes, host: bytes) -> bytes:
    """The request target as path and query (RFC 9112, section 3.2.1).

    An absolute target is accepted if its authority is the `Host` of the request. Raises
    `MalformedRequest` for any other target, method or host."""
    if method != method.upper():
        raise MalformedRequest("Write the method in capital letters, such as GET.")
    check_host(host)
    if target.startswith(b"/") or (target == b"*" and method == b"OPTIONS"):
        return target
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        raise MalformedRequest("The request target must begin with a slash.")
    if absolute[1].lower() != host.lower():
        raise MalformedRequest("The request target names another host than the Host header.")
    path = absolute[2]
    return path if path.startswith(b"/") else b"/" + path


def check_host(host: bytes) -> None:
    """Raise `MalformedRequest` for a `Host` that is not a name or an address, with or without a
    port."""
    if len(host) > MAX_HOST or not _is_host(host):
        raise MalformedRequest("The Host header is not a host name with an optional port.")


def check_query(query: bytes) -> None:
    """Raise `MalformedRequest` if the percent-encoded bytes are not UTF-8. A percent sign without
    two hexadecimal digits is a literal one, as in the URL standard."""
    if b"%" in query:
        try:
            unquote_to_bytes(query).decode()
        except UnicodeDecodeError:
            text = "The percent-encoding of the parameters is not UTF-8."
            raise MalformedRequest(text) from None


def is_websocket_key(key: bytes | None) -> bool:
    """Whether a `Sec-WebSocket-Key` is 16 bytes in base64 (RFC 6455, section 4.1)."""
    try:
        return key is not None and len(key) == 24 and len(b64decode(key, validate=True)) == 16
    except binascii.Error:
        return False


@lru_cache(maxsize=256)
def _is_host(host: bytes) -> bool:
    found = _HOST.fullmatch(host)
    return found is not None and int(found[1] or 0) <= MAX_PORT
