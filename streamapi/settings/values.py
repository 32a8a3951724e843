"""Types of settings. Each has a check, and a sentence for a value that fails it."""

import ipaddress
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AnyHttpUrl,
    AnyUrl,
    BeforeValidator,
    Field,
    RedisDsn,
    TypeAdapter,
    UrlConstraints,
    ValidationError,
)
from pydantic_settings import NoDecode

LONGEST_TIME = 7 * 86_400
"""Seconds that a setting of time may have: a week. Longer ones are likely to be milliseconds."""

PERIODS = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86_400.0}
"""Seconds of each period that a rate can name."""

_HTTP = TypeAdapter(AnyHttpUrl)
_REDIS = TypeAdapter(RedisDsn)
_SQLITE = TypeAdapter(Annotated[AnyUrl, UrlConstraints(allowed_schemes=["sqlite"])])

_WHAT_HTTP = "an http or https address, such as https://example.com"
_WHAT_SQLITE = "the address of a file, such as sqlite:///streamapi.db"
_WHAT_REDIS = (
    "an address such as redis://localhost:6379. In a password, write special characters as codes: "
    "%23 for #, %2F for /, %40 for @"
)


def _like(pattern: str, what: str) -> AfterValidator:
    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"must be {what}")
        return value

    return AfterValidator(check)


def _http(value: str) -> str:
    with _refused(_WHAT_HTTP):
        return str(_HTTP.validate_python(value)).rstrip("/")


def _http_or_empty(value: str) -> str:
    return _http(value) if value else value


def _redis(value: str) -> str:
    # The value itself stays as it is: redis has forms of its own, such as unix://name@/path.
    if value and not re.fullmatch(r"unix://\S+", value):
        with _refused(_WHAT_REDIS):
            _REDIS.validate_python(value)
    return value


def _sqlite(value: str) -> str:
    with _refused(_WHAT_SQLITE):
        url = _SQLITE.validate_python(value)
    if url.host or len(url.path or "") < 2:
        raise ValueError(f"must be {_WHAT_SQLITE}")
    return value


@contextmanager
def _refused(what: str) -> Iterator[None]:
    """pydantic's messages name the grammar of an address. Ours gives an example."""
    try:
        yield
    except ValidationError:
        raise ValueError(f"must be {what}") from None


def _split(value: Any) -> Any:
    if isinstance(value, str):
        return tuple(item.strip() for item in value.split(",") if item.strip())
    return value


def _bind(value: str) -> str:
    _, colon, port = value.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65_535:
        raise ValueError("must be an address and a port, such as 127.0.0.1:8000")
    return value


def _origins(value: tuple[str, ...]) -> tuple[str, ...]:
    for origin in value:
        if origin != "*" and not re.fullmatch(r"https?://[^/\s*]+", origin):
            raise ValueError(f"{origin!r} is not an origin, such as https://example.com")
    return value


Seconds = Annotated[float, Field(gt=0, le=LONGEST_TIME, allow_inf_nan=False)]
Commas = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
Origins = Annotated[Commas, AfterValidator(_origins)]
Bind = Annotated[str, AfterValidator(_bind)]
HttpUrl = Annotated[str, AfterValidator(_http)]
ProxyUrl = Annotated[str, AfterValidator(_http_or_empty)]
RedisUrl = Annotated[str, AfterValidator(_redis)]
RedisPrefix = Annotated[
    str, _like(r"[A-Za-z0-9._:-]{1,64}", "1 to 64 letters, digits and characters of ._:-")
]
DatabaseUrl = Annotated[str, AfterValidator(_sqlite)]


def rate(text: str, name: str) -> tuple[int, float] | None:
    """A rate such as 120/minute, as a number and seconds. None when it is `off`. Raises
    `ValueError` with a sentence that has the name of the setting."""
    if text == "off":
        return None
    found = re.fullmatch(r"(\d{1,9})/(second|minute|hour|day)", text)
    if not found or int(found[1]) < 1:
        raise ValueError(f"{name} must be a rate such as 120/minute, or off")
    return int(found[1]), PERIODS[found[2]]


def host_of(bind: str) -> str:
    """The address part of a setting such as 127.0.0.1:8000, without brackets."""
    return bind.rpartition(":")[0].strip("[]") or "0.0.0.0"  # noqa: S104


@lru_cache(maxsize=1024)
def is_loopback(name: str) -> bool:
    """Whether this address or name is one that only this machine can reach."""
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
