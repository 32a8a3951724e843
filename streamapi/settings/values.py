"""What a setting may be: kinds of values, each with its check, and a sentence for what is wrong."""

import ipaddress
import re
from functools import lru_cache
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import NoDecode

_PERIODS = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86_400.0}


def _like(pattern: str, what: str) -> AfterValidator:
    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"must be {what}")
        return value

    return AfterValidator(check)


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


def _bare(value: str) -> str:
    return value.rstrip("/")


Seconds = Annotated[float, Field(gt=0, le=86_400 * 7, allow_inf_nan=False)]
Commas = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
Origins = Annotated[Commas, AfterValidator(_origins)]
Bind = Annotated[str, AfterValidator(_bind)]
HttpUrl = Annotated[
    str, _like(r"https?://[^/\s]+.*", "an http or https address"), AfterValidator(_bare)
]
RedisUrl = Annotated[
    str, _like(r"|(rediss?|unix)://\S+", "an address such as redis://localhost:6379")
]
DatabaseUrl = Annotated[str, _like(r"sqlite:///\S+", "an address such as sqlite:///streamapi.db")]


def rate(text: str, name: str) -> tuple[int, float] | None:
    """A rate such as 120/minute, as a number and seconds; None when it is `off`."""
    if text == "off":
        return None
    found = re.fullmatch(r"(\d{1,9})/(second|minute|hour|day)", text)
    if not found or int(found[1]) < 1:
        raise ValueError(f"{name} must be such as 120/minute, or off")
    return int(found[1]), _PERIODS[found[2]]


def host_of(bind: str) -> str:
    """The address part of what is bound, without brackets."""
    return bind.rpartition(":")[0].strip("[]") or "0.0.0.0"  # noqa: S104


@lru_cache(maxsize=1024)
def is_loopback(name: str) -> bool:
    """Whether this address, or name, is this machine's own."""
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
