"""Settings of logs and generations: where they are, how many, for how long."""

from pydantic import BaseModel, Field

from streamapi.settings.values import RedisUrl, Seconds


class StorageSettings(BaseModel):
    """A section of `Settings`."""

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
