"""Settings of logs and generations: where they are kept, how many, and for how long."""

from pydantic import BaseModel, Field

from streamapi.settings.values import RedisPrefix, RedisUrl, Seconds


class StorageSettings(BaseModel):
    """The section of `Settings` for logs and generations."""

    redis_url: RedisUrl = Field(
        "",
        description="The address of the Redis or Valkey where several processes share their "
        "logs, such as redis://localhost:6379. Empty: one process keeps its logs in its own "
        "memory.",
    )
    redis_prefix: RedisPrefix = Field(
        "streamapi:",
        description="The prefix of every key in Redis. Give each deployment that shares a Redis "
        "its own prefix.",
    )
    redis_timeout: float = Field(
        0.3,
        gt=0,
        le=2,  # far below the lease (`generation.redis.logs.LEASE`), which must be renewed in time
        description="Seconds that a request waits for Redis. Then Redis counts as unavailable, and "
        "requests that need it get 503 (`store_unavailable`).",
    )
    log_ttl: Seconds = Field(
        3600.0,
        description="Seconds for which a log can be read after its ending. After that it answers "
        "410 (`generation_expired`).",
    )
    cache_ttl: Seconds = Field(
        3600.0,
        description="Seconds for which the cache may reuse an answer. An answer is never reused "
        "after its log has gone.",
    )
    expired_ttl: Seconds = Field(
        86_400.0,
        description="Seconds for which an expired generation answers 410. After that it answers "
        "404.",
    )
    log_max_bytes: int = Field(
        2_000_000,
        ge=1000,
        description="Bytes of one log in memory. A larger answer ends with `output_too_large`.",
    )
    log_max_events: int = Field(
        100_000,
        ge=10,
        le=100_000_000,  # far below `generation.log.LOST_AT`
        description="Events of one log. A longer answer ends with `output_too_large`.",
    )
    max_logs: int = Field(
        10_000,
        ge=1,
        description="Logs kept at once, per process. Beyond this the oldest finished log is "
        "removed, of the owner who has most. While none is finished, a new request gets 503 "
        "(`overloaded`).",
    )
    logs_max_bytes: int = Field(
        512_000_000,
        ge=10_000,
        description="Bytes of all logs in the memory of a process. Beyond this the oldest "
        "finished log is removed, of the owner who has most. While none is finished, a new "
        "request gets 503 (`overloaded`).",
    )
    max_generations: int = Field(
        200_000,
        ge=1,
        description="Generations kept in the memory of a process, about 1 kB each. They outlive "
        "their logs, so that a repeated `Idempotency-Key` finds its generation. Beyond this the "
        "oldest one without such a key is removed; if every one has a key, a new request gets "
        "503 (`overloaded`). The keys of one owner may use as much of the room as is still free, "
        "so one owner alone gets half.",
    )
