"""One frozen object with every setting: each bound has a name, a unit and a reason.

Settings come from the environment (`STREAMAPI_...`, and `GOOGLE_API_KEY`) once, at start-up;
nothing reads the environment after that. Times are in seconds, fractions allowed. Combinations
that would be unsafe do not start.
"""

import os
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from streamapi import environment, values
from streamapi.values import Bind, Commas, DatabaseUrl, HttpUrl, Origins, RedisUrl, Seconds


class Settings(BaseSettings):
    """Every setting. `Settings()` reads the environment; keyword arguments beat it."""

    model_config = SettingsConfigDict(
        env_prefix="STREAMAPI_", frozen=True, extra="forbid", populate_by_name=True
    )

    bind: Bind = Field("127.0.0.1:8000", description="Address and port to listen on.")
    workers: int = Field(
        1,
        ge=1,
        le=64,
        description="Processes that serve. More than one need `STREAMAPI_REDIS_URL`.",
    )
    redis_url: RedisUrl = Field(
        "",
        description="Where several processes share their logs: a Redis or Valkey, such as "
        "redis://localhost:6379. Empty: logs are in the memory of one process.",
    )
    redis_prefix: str = Field(
        "streamapi:",
        pattern=r"^[A-Za-z0-9._:-]{1,64}$",
        description="What the name of each key in Redis begins with. Give each deployment that "
        "shares a Redis with another one a prefix of its own.",
    )
    auth: Literal["open", "keys"] = Field(
        "open",
        description="Who may ask: `keys` asks for a key; `open` asks for none, and serves on a "
        "loopback address only.",
    )
    database_url: DatabaseUrl = Field(
        "sqlite:///streamapi.db",
        description="Where keys are kept: a SQLite file, here in the working directory. Not "
        "touched while `STREAMAPI_AUTH` is `open`.",
    )
    database_timeout: Seconds = Field(
        5.0, description="For one look into the database; beyond it: `store_unavailable`."
    )
    key_ttl: Seconds = Field(
        30.0,
        description="How long a key is taken as it was last seen in the database: a revoked one "
        "dies everywhere within this time.",
    )
    key_grace: float = Field(
        300.0,
        ge=0,
        le=86_400,
        description="How long after that a known key goes on working while the database is away.",
    )
    auth_timeout: Seconds = Field(
        10.0, description="For a WebSocket without a key in its handshake to send `auth` (4401)."
    )
    syntax_processes: int = Field(
        2,
        ge=0,
        le=16,
        description="Child processes that check the syntax of code, per process that serves; "
        "started when needed. 0: no checks, `syntax` is null.",
    )
    google_api_key: SecretStr | None = Field(
        None,
        validation_alias="GOOGLE_API_KEY",
        description="The key for Gemini. Without it, on loopback, the emulator answers.",
    )
    gemini_base_url: HttpUrl = Field(
        "https://generativelanguage.googleapis.com",
        description="Where Gemini's REST API is: Google's, a gateway's, or an emulator's.",
    )
    gemini_proxy: str = Field("", description="An HTTP proxy on the way to Gemini. Empty: none.")
    gemini_reader: Literal["wire", "langchain"] = Field(
        "wire",
        description="Who reads Gemini's stream: our own reader, or LangChain's (the reference, "
        "ten times as costly per token).",
    )
    default_model: str = Field("gemini-3.8-flash", description="Answers text and code.")
    fast_model: str = Field("gemini-3.5-flash-lite", description="Answers classification.")
    fallback_models: Commas = Field(
        (), description="Asked in this order when the model itself cannot answer. Commas between."
    )
    fallback_after: Seconds = Field(
        1.0,
        description="How long a request waits in a model's queue while a fallback stands ready.",
    )
    retry_attempts: int = Field(
        3,
        ge=1,
        le=20,
        description="Upstream requests per model before the first content; one while a fallback "
        "stands ready.",
    )
    retry_backoff: Seconds = Field(
        0.5, description="The first wait between attempts; it doubles, with full jitter."
    )
    attempt_timeout: Seconds = Field(
        20.0, description="For a model to write something, be it a hidden thought."
    )
    first_content_timeout: Seconds = Field(
        45.0,
        description="For all attempts and waits together, until the first content. Models share "
        "it; one that writes already may go on.",
    )
    idle_timeout: Seconds = Field(30.0, description="Between two chunks of the model's.")
    total_timeout: Seconds = Field(600.0, description="For a whole generation.")
    upstream_calls: int = Field(
        1000,
        ge=1,
        le=100_000,
        description="Calls in flight to one model, per process. A key (or an address, without "
        "keys) may hold as many as are still free: alone, half.",
    )
    upstream_queue: int = Field(
        2000, ge=0, le=1_000_000, description="Requests that wait for such a call, of all keys."
    )
    upstream_queue_per_key: int = Field(
        200, ge=0, le=1_000_000, description="The same of one key; beyond it: `overloaded`."
    )
    send_timeout: Seconds = Field(
        20.0, description="A reader that takes nothing for so long is dropped; it can resume."
    )
    ping_interval: Seconds = Field(
        15.0, description="A silent stream says that it lives; proxies cut silence after 30 to 60."
    )
    socket_idle_timeout: Seconds = Field(
        60.0, description="A WebSocket on which nothing runs and nothing is said is closed (4408)."
    )
    stream_open_after: float = Field(
        2.0,
        ge=0,
        le=60,
        description="How long a POSTed stream waits for content, so that an early failure has "
        "its true status.",
    )
    disconnect_grace: float = Field(
        5.0, ge=0, le=3600, description="How long a generation without a reader waits for one."
    )
    drain_delay: float = Field(
        0.0,
        ge=0,
        le=3600,
        description="How long after SIGTERM work is still taken while `/readyz` says 503, so that "
        "a load balancer notices.",
    )
    drain_timeout: float = Field(
        20.0, ge=0, le=3600, description="How long running streams may go on after that."
    )
    log_ttl: Seconds = Field(
        3600.0, description="How long a log can be read after its end (410 afterwards)."
    )
    cache_ttl: Seconds = Field(
        3600.0,
        description="How long an answer may be given again; never longer than its log lives.",
    )
    expired_ttl: Seconds = Field(
        86_400.0, description="How long an expired generation answers 410, before it is a 404."
    )
    log_max_bytes: int = Field(
        2_000_000, ge=1000, description="Of one log in memory; beyond it: `output_too_large`."
    )
    log_max_events: int = Field(
        100_000,
        ge=10,
        le=100_000_000,  # far below `LOST_AT`
        description="Of one log; beyond it: `output_too_large`.",
    )
    max_logs: int = Field(
        10_000,
        ge=1,
        description="Kept at once. Beyond it the oldest finished log gives way, of the owner who "
        "has most; while none is finished, a new one is `overloaded`.",
    )
    logs_max_bytes: int = Field(
        512_000_000,
        ge=10_000,
        description="Memory of all logs together; the same happens beyond it.",
    )
    max_generations: int = Field(
        200_000,
        ge=1,
        description="Remembered at once in memory, about 1 kB each, also when their logs have "
        "gone: a repeat of an `Idempotency-Key` must find its own. Beyond it the oldest without a "
        "key gives way, else a new one is `overloaded`; the keys of one owner may take as much as "
        "is still free: alone, half (24 new ones a second).",
    )
    max_body_bytes: int = Field(
        1_000_000, ge=1000, le=100_000_000, description="Of a request or WebSocket message."
    )
    body_timeout: Seconds = Field(15.0, description="For a request's body to arrive.")
    head_timeout: Seconds = Field(
        10.0,
        description="For the head of a request to arrive: from the start of a connection, and on a "
        "kept connection from the first byte (408).",
    )
    max_connections: int = Field(
        10_000,
        ge=1,
        description="Open connections, per process; beyond it a new one gets 503 and is closed. "
        "Never more than half of the descriptors that the process may have.",
    )
    max_connections_per_address: int = Field(
        2000,
        ge=0,
        description="The same from one address (of IPv6 one /64); 0: no limit. With "
        "`STREAMAPI_TRUSTED_HOPS` all come from the proxy, so there is no such limit.",
    )
    max_generations_per_socket: int = Field(
        32, ge=1, le=10_000, description="Followed at once on one WebSocket."
    )
    rate_limit: str = Field(
        "120/minute",
        description="Requests per key (or address) and endpoint: a number per second, minute, "
        "hour or day; or `off`.",
    )
    message_limit: int = Field(
        600,
        ge=0,
        description="Messages per minute on one WebSocket, of whatever kind; 0: no limit.",
    )
    replays_per_minute: int = Field(
        1200,
        ge=0,
        description="Reconnections and other readings of a log that has begun, per key (or "
        "address): 40 connections that break every two seconds make as many; 0: no limit.",
    )
    replay_bytes_per_minute: int = Field(
        200_000_000,
        ge=0,
        description="Bytes that those are sent again, per key (or address); what comes live is "
        "not counted; 0: no limit.",
    )
    failures_per_minute: int = Field(
        20,
        ge=1,
        description="Bad keys and tickets per address; beyond it no key that is new here is "
        "looked up.",
    )
    tokens_per_minute: int = Field(
        1_000_000, ge=0, description="Tokens per key (or address); 0: no limit."
    )
    tokens_per_day: int = Field(
        20_000_000, ge=0, description="The same in a day (`quota_exceeded`)."
    )
    answer_tokens: int = Field(
        2000,
        ge=1,
        description="What an answer is taken to cost until it has ended, where the request has no "
        "`max_output_tokens`.",
    )
    max_streams: int = Field(
        200,
        ge=0,
        description="Answers being written at once, per key (or address); 0: no limit.",
    )
    trusted_hops: int = Field(
        0,
        ge=0,
        le=10,
        description="Proxies of yours in front, each of which adds to `X-Forwarded-For`: the "
        "address is taken so many places from its right. 0: the header is not believed.",
    )
    cors_origins: Origins = Field(
        (), description="Origins whose pages may ask, besides our own. Commas between; `*` for all."
    )
    allowed_hosts: Commas = Field(
        (),
        description="Names that a request's `Host` may have. Empty: loopback's on a loopback "
        "address, else any; `*`: any.",
    )
    log_level: str = Field(
        "info", pattern="^(debug|info|warning|error)$", description="Of the log lines on stdout."
    )

    @field_validator("google_api_key")
    @classmethod
    def _empty_is_none(cls, value: SecretStr | None) -> SecretStr | None:
        return value if value is not None and value.get_secret_value().strip() else None

    @model_validator(mode="after")
    def _timeouts_nest(self) -> "Settings":
        self.rate()  # raises when it cannot be read
        if self.first_content_timeout > self.total_timeout:
            raise ValueError("FIRST_CONTENT_TIMEOUT must not be longer than TOTAL_TIMEOUT")
        return self

    @model_validator(mode="after")
    def _workers_share(self) -> "Settings":
        if self.workers > 1 and not self.redis_url:
            raise ValueError(
                f"{self.workers} workers cannot see each other's logs in memory: set "
                "STREAMAPI_REDIS_URL, or STREAMAPI_WORKERS=1"
            )
        return self

    def rate(self) -> tuple[int, float] | None:
        """The rate limit as requests and seconds; None when it is off."""
        return values.rate(self.rate_limit, "RATE_LIMIT")

    @property
    def keys_remembered(self) -> float:
        """How long an idempotency key stands for what it began, and a ticket after each use for
        what it began or follows: as long as the log lives, and at least an hour."""
        return max(3600.0, self.log_ttl) + self.total_timeout

    @property
    def host(self) -> str:
        """The address part of `bind`, without brackets."""
        return values.host_of(self.bind)

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        return values.is_loopback(self.host)


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
