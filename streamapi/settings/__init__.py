"""Every setting, in one frozen object that is composed of sections.

    server.py       the server process: its address, its connections, how it shuts down
    access.py       who may call the API, and where the keys are
    upstream.py     the models: which model answers, and how long the server waits for it
    streams.py      streams and sockets: how long they stay open
    storage.py      logs and generations: where they are kept, how many, for how long
    limits.py       how much one caller may use
    values.py       types of settings, each with its check
    environment.py  variables with our prefix that are not settings

The server reads its settings once, at the start, from environment variables (`STREAMAPI_...` and
`GOOGLE_API_KEY`). Nothing reads the environment after that. Times are in seconds, and fractions
are allowed. The server does not start with settings that are unsafe together.

`Settings` inherits its sections, so each setting is one attribute (`settings.log_ttl`), one keyword
argument and one variable. Code that needs one section can ask for that type, as `StorageSettings`.

A bound that is not a setting is a constant beside the code that it bounds. Its docstring says the
unit and the reason.
"""

import os
from typing import Any

from pydantic import ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from streamapi.settings import environment
from streamapi.settings.access import AccessSettings
from streamapi.settings.limits import LimitSettings
from streamapi.settings.server import ServerSettings
from streamapi.settings.storage import StorageSettings
from streamapi.settings.streams import StreamSettings
from streamapi.settings.upstream import UpstreamSettings

KEYS_REMEMBERED_AT_LEAST = 3600.0
"""Seconds for which an idempotency key is remembered, even when logs are removed earlier: a client
may retry for that long without paying twice."""


class Settings(
    LimitSettings, StorageSettings, StreamSettings, UpstreamSettings, AccessSettings,
    ServerSettings, BaseSettings,
):  # fmt: skip
    """Every setting. `Settings()` reads the environment, and keyword arguments override it. The
    fields of the last base class come first."""

    model_config = SettingsConfigDict(
        env_prefix="STREAMAPI_", frozen=True, extra="forbid", populate_by_name=True
    )

    @model_validator(mode="after")
    def _workers_need_redis(self) -> "Settings":
        if self.workers > 1 and not self.redis_url:
            raise ValueError(
                f"{self.workers} workers cannot read each other's logs in memory: set "
                "STREAMAPI_REDIS_URL, or STREAMAPI_WORKERS=1"
            )
        return self

    @property
    def keys_remembered(self) -> float:
        """Seconds for which an idempotency key, or a used ticket, keeps naming its generation."""
        return max(KEYS_REMEMBERED_AT_LEAST, self.log_ttl) + self.total_timeout


RESTRICTING = ("auth", "allowed_hosts", "cors_origins", "trusted_hops", "key_ttl", "key_grace",
               "failures_per_minute")  # fmt: skip
"""Settings that restrict access. The server does not start when a variable looks like a misspelt
one of these: without it, the server would be more open than its operator wanted."""


class UnsafeSettings(Exception):
    """Settings with which the server does not start. The message says what to set."""


def read_settings(**overrides: Any) -> Settings:
    """The settings of the environment. Raises `UnsafeSettings` with a sentence for each mistake."""
    restricting = {environment_name(name) for name in RESTRICTING}
    unread = environment.unread(os.environ, Settings.model_fields)
    if typos := [sentence for sentence, nearest in unread if nearest in restricting]:
        raise UnsafeSettings("\n".join(typos))
    try:
        return Settings(**overrides)
    except ValidationError as error:
        raise UnsafeSettings("\n".join(_sentence(item) for item in error.errors())) from None


def unread_variables() -> list[str]:
    """A sentence for each environment variable that looks like a setting and is not one."""
    return [sentence for sentence, _ in environment.unread(os.environ, Settings.model_fields)]


def environment_name(field: str) -> str:
    """The environment variable of a setting."""
    alias = Settings.model_fields[field].validation_alias
    return alias if isinstance(alias, str) else f"STREAMAPI_{field.upper()}"


def _sentence(error: Any) -> str:
    message = str(error["msg"]).removeprefix("Value error, ")
    field = str(error["loc"][0]) if error["loc"] else ""
    name = environment_name(field) if field in Settings.model_fields else field
    return f"{name}: {message}" if name else message
