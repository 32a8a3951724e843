"""A key: what it looks like, how it is checked without a look-up, how it is remembered.

    sk-streamapi-<43 characters: 256 random bits in base 62><6 characters: their CRC32 in base 62>

The prefix lets scanners of repositories and logs find a key that has leaked, the letters and
digits let a double click take it whole. The checksum is no secret: it tells a typing error, and
what was never a key, from an unknown key, without asking the database.

Stored is a SHA-256, without salt or stretching: those make guessing a password dear, and 256
random bits cannot be guessed at any price. A slow hash would only make every request slow.
"""

import hashlib
import hmac
import re
import secrets
from zlib import crc32

PREFIX = "sk-streamapi-"
DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
SECRET, CHECK = 43, 6
"""Digits of base 62 that hold 256 bits, and 32."""

ANY_KEY = re.compile(rf"{PREFIX}[{DIGITS}]{{{SECRET + CHECK}}}")
"""What has the form of a key, wherever it stands."""


def make() -> str:
    """A new key."""
    secret = _digits(secrets.randbits(256), SECRET)
    return PREFIX + secret + _checksum(secret)


def well_formed(shown: str) -> bool:
    """Whether it can be a key at all."""
    if not ANY_KEY.fullmatch(shown):
        return False
    secret = shown[len(PREFIX) : -CHECK]
    return _checksum(secret) == shown[-CHECK:]


def digest(key: str) -> str:
    """What is stored of a key, and what it is looked up by."""
    return hashlib.sha256(key.encode()).hexdigest()


def same(digest: str, other: str) -> bool:
    """Whether two digests are equal, in a time that does not tell how far they are. The look-up
    by an index is not so careful, and need not be: its timing tells of a hash that nobody can
    steer."""
    return hmac.compare_digest(digest, other)


def make_id() -> str:
    """The public name of a new key: it stands in lists and logs."""
    return f"key_{secrets.token_hex(8)}"


def contains_key(text: str) -> bool:
    """Whether a key stands somewhere in the text."""
    return PREFIX in text and any(well_formed(found) for found in ANY_KEY.findall(text))


def _checksum(secret: str) -> str:
    return _digits(crc32((PREFIX + secret).encode()), CHECK)


def _digits(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, len(DIGITS))
        digits.append(DIGITS[digit])
    return "".join(reversed(digits))
