"""The form of a key: how it is made, checked without a look-up, and stored.

    sk-streamapi-<43 characters: 256 random bits in base 62><6 characters: their CRC32 in base 62>

Scanners of repositories and logs find a leaked key by its prefix. A double click selects all of
it, because it has letters, digits and hyphens only. The checksum is no secret: with it a typing
error is refused without asking the database.

The database stores a SHA-256 without salt or stretching. Those make a password expensive to
guess; 256 random bits cannot be guessed at any price, and a slow hash would slow every request.
"""

import hashlib
import hmac
import re
import secrets
from zlib import crc32

PREFIX = "sk-streamapi-"
DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
SECRET_DIGITS, CHECKSUM_DIGITS = 43, 6
"""Digits of base 62 that hold 256 bits, and 32 bits."""

KEY_PATTERN = re.compile(rf"{PREFIX}[{DIGITS}]{{{SECRET_DIGITS + CHECKSUM_DIGITS}}}")
"""Text in the form of a key; its checksum may be wrong."""


def make() -> str:
    """A new key."""
    secret = _digits(secrets.randbits(256), SECRET_DIGITS)
    return PREFIX + secret + _checksum(secret)


def well_formed(text: str) -> bool:
    """Whether the text has the form of a key and the right checksum."""
    if not KEY_PATTERN.fullmatch(text):
        return False
    secret = text[len(PREFIX) : -CHECKSUM_DIGITS]
    return _checksum(secret) == text[-CHECKSUM_DIGITS:]


def digest(credential: str) -> str:
    """The SHA-256 of a key or a ticket, in hex: it is stored in place of the credential."""
    return hashlib.sha256(credential.encode("utf-8", "replace")).hexdigest()


def digests_equal(one: str, other: str) -> bool:
    """Compare two digests in constant time. The look-up by an index takes no constant time, but
    its timing tells about a hash only, and nobody can choose the hash of a key."""
    return hmac.compare_digest(one, other)


def make_id() -> str:
    """A new id for a key, which lists and logs show."""
    return f"key_{secrets.token_hex(8)}"


def contains_key(text: str) -> bool:
    """Whether the text contains a well-formed key."""
    return PREFIX in text and any(well_formed(found) for found in KEY_PATTERN.findall(text))


def _checksum(secret: str) -> str:
    return _digits(crc32((PREFIX + secret).encode()), CHECKSUM_DIGITS)


def _digits(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, len(DIGITS))
        digits.append(DIGITS[digit])
    return "".join(reversed(digits))
