"""Who asks, and for what: what a door hands to the heart."""

from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from streamapi.generation.log import OnDisconnect
from streamapi.generation.model import Model, Parser, Prompt


class Caller(msgspec.Struct, frozen=True):
    """Who asks. Owners never share; `address` is where the request came from."""

    owner: str = "anonymous"
    key: str | None = None
    address: str | None = None


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller asks for: a prompt for the first of `models` that can answer it, and how
    the answer is read (`parser` makes a fresh parser per attempt). `digest` tells whether two
    requests under one idempotency key are the same, `cache_key` stands for what an answer
    depends on."""

    task: str
    model: str
    models: Sequence[Model]
    prompt: Prompt
    parser: Callable[[], Parser]
    metadata: dict[str, str] = {}
    on_disconnect: OnDisconnect = "grace"
    idempotency_key: str | None = None
    digest: str = ""
    cache: Literal["use", "refresh", "off"] = "off"
    cache_key: str = ""
