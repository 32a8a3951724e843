"""One frozen object with every setting: each bound has a name, a unit and a reason.

    server.py       the process: its address, its connections, its end
    access.py       who may ask
    upstream.py     the models: which answer, how long they are waited for
    streams.py      readers: how they are kept, and when they are let go
    storage.py      logs and generations: where they are, how many, for how long
    limits.py       how much one caller may use
    values.py       what a setting may be: kinds of values, each with its check
    environment.py  variables that look like settings and are none

Settings come from the environment (`STREAMAPI_...`, and `GOOGLE_API_KEY`) once, at start-up;
nothing reads the environment after that. Times are in seconds, fractions allowed. Combinations
that would be unsafe do not start.
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


class Settings(
    LimitSettings, StorageSettings, StreamSettings, UpstreamSettings, AccessSettings,
    ServerSettings, BaseSettings,
):  # fmt: skip
    """Every setting. `Settings()` reads the environment; keyword arguments beat it. The fields of
    the last section come first."""

    model_config = SettingsConfigDict(
        env_prefix="STREAMAPI_", frozen=True, extra="forbid", populate_by_name=True
    )

    @model_validator(mode="after")
    def _workers_share(self) -> "Settings":
        if self.workers > 1 and not self.redis_url:
            raise ValueError(
                f"{self.workers} workers cannot see each other's logs in memory: set "
                "STREAMAPI_REDIS_URL, or STREAMAPI_WORKERS=1"
            )
        return self

    @property
    def keys_remembered(self) -> float:
        """How long an idempotency key stands for what it began, and a ticket after each use for
        what it began or follows: as long as the log lives, and at least an hour."""
        return max(3600.0, self.log_ttl) + self.total_timeout


WHO_MAY_ASK = ("auth", "allowed_hosts", "cors_origins", "trusted_hops", "key_ttl", "key_grace",
               "failures_per_minute")  # fmt: skip
"""Settings that decide who may ask. With a typing error in one of these names nothing starts: the
server would be more open than its operator wanted."""


class UnsafeSettings(Exception):
    """A sentence that says what to set."""


def read_settings(**overrides: Any) -> Settings:
    """The settings of the environment; raises `UnsafeSettings` with a sentence per mistake."""
    guarding = {environment_name(name) for name in WHO_MAY_ASK}
    unread = environment.unread(os.environ, Settings.model_fields)
    if typos := [sentence for sentence, nearest in unread if nearest in guarding]:
        raise UnsafeSettings("\n".join(typos))
    try:
        return Settings(**overrides)
    except ValidationError as error:
        raise UnsafeSettings("\n".join(_sentence(item) for item in error.errors())) from None


def unread_variables() -> list[str]:
    """A sentence for each variable of the environment that looks like a setting and is not read."""
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
