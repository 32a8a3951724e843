"""A caller and a request, as every way in hands them to `Generations`."""

from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from streamapi.errors import Forbidden
from streamapi.generation.generation import OnDisconnect
from streamapi.generation.model import Model, Parser, Prompt


class Allowance(msgspec.Struct, frozen=True):
    """How much a key may use. None is what the settings give to every key; 0 is no limit."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    tokens_per_day: int | None = None
    streams: int | None = None


class Caller(msgspec.Struct, frozen=True):
    """The sender of a request, and what it may ask for.

    Owners never share. `key` is the id of the key that was shown (None: no key is asked for),
    `address` where the request came from. `scopes` are what the key may do, `models` what it may
    ask; None is everything. With a `ticket` the caller may begin one generation."""

    owner: str = "anonymous"
    key: str | None = None
    address: str | None = None
    scopes: frozenset[str] | None = None
    models: frozenset[str] | None = None
    ticket: str | None = None
    allowance: Allowance = Allowance()

    def check(self, scope: str) -> None:
        """Raise `Forbidden` unless the caller may do this: a task's name, or another scope."""
        if self.scopes is not None and scope not in self.scopes:
            raise Forbidden(f"This key does not have the scope {scope}.")

    def may_ask(self, *names: str) -> bool:
        """Whether the caller may ask the model with these names."""
        return self.models is None or not self.models.isdisjoint(names)


class GenerationRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller asks for: a prompt for the first of `models` that can answer it.

    `parser` makes a fresh parser for each attempt. `account` shares the calls to a model with
    other accounts (see `admission`). `digest` tells whether two requests with the same idempotency
    key are the same; with `once` the key never begins a second generation, however the first one
    ended. `cache_key` stands for everything that an answer depends on."""

    task: str
    model: str
    account: str = ""
    models: Sequence[Model]
    prompt: Prompt
    parser: Callable[[], Parser]
    metadata: dict[str, str] = {}
    on_disconnect: OnDisconnect = "grace"
    idempotency_key: str | None = None
    once: bool = False
    digest: str = ""
    cache: Literal["use", "refresh", "off"] = "off"
    cache_key: str = ""
