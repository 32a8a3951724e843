"""The parts of a running server, and how they are made from its settings.

Redis, the database and the providers are imported only when the settings ask for them.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from msgspec import structs

from streamapi.access.guesses import Guesses
from streamapi.access.limits import Limits, MemoryLimits
from streamapi.access.tickets import MemoryTickets, Tickets
from streamapi.generation.admission import Admission, AdmissionBounds
from streamapi.generation.chain import RetryPolicy
from streamapi.generation.generations import Generations
from streamapi.generation.log import Logs
from streamapi.generation.log_bounds import LogBounds
from streamapi.generation.memory_log import MemoryLogs
from streamapi.providers.catalogue import Catalogue
from streamapi.providers.registry import Providers
from streamapi.settings import Settings, UnsafeSettings
from streamapi.settings.storage import StorageSettings
from streamapi.settings.upstream import UpstreamSettings
from streamapi.tasks import code, every_task
from streamapi.tasks.syntax.pool import SyntaxPool
from streamapi.tasks.task import Task
from streamapi.telemetry.metrics import Metrics

if TYPE_CHECKING:  # it imports the database, which an open server does not need
    from streamapi.access.key_auth import KeyAuth


@dataclass
class Services:
    """The parts of a running server.

    `emulated`: the emulator answers in place of the providers. `key_auth`: None when callers need
    no keys. `draining`: the process is shutting down. `leaving`: it asks its readers to reconnect
    to another process, which serves them from the shared logs. `closed`: all parts are closed.
    `sockets` and `streams` have a callback for each open reader, which closes that reader."""

    settings: Settings
    tasks: dict[str, Task[Any]]
    catalogue: Catalogue
    providers: Providers
    logs: Logs
    generations: Generations
    metrics: Metrics
    limits: Limits
    guesses: Guesses
    tickets: Tickets
    syntax: SyntaxPool
    emulated: bool
    key_auth: "KeyAuth | None" = None
    draining: bool = False
    leaving: bool = False
    closed: bool = False
    sockets: set[Callable[[], None]] = field(default_factory=set)
    streams: set[Callable[[], None]] = field(default_factory=set)


def build(settings: Settings, emulated: bool) -> Services:
    """The parts for these settings. Raises `UnsafeSettings` when a server cannot run with them."""
    if settings.lacks_google_key and not emulated:
        raise UnsafeSettings(
            "GOOGLE_API_KEY is not set, and STREAMAPI_GEMINI_BASE_URL is Google's own address. "
            "Set the key, or run `streamapi serve` on a loopback address: it starts the emulator."
        )
    logs, metrics = _logs(settings), Metrics()
    generations = _generations(settings, logs, metrics)
    metrics.read(lambda: generations.running, lambda: logs.available)
    limits, tickets = _limits_and_tickets(settings)
    syntax = SyntaxPool(settings.syntax_processes, metrics.syntax_checked)
    return Services(
        settings=settings,
        tasks={**every_task(), "code": code.task(syntax.check)},
        catalogue=Catalogue.of(settings),
        providers=Providers(settings),
        logs=logs,
        generations=generations,
        metrics=metrics,
        limits=limits,
        guesses=Guesses(limits, settings.failures_per_minute),
        tickets=tickets,
        syntax=syntax,
        emulated=emulated,
        key_auth=_key_auth(settings, generations),
    )


def retry_policy(settings: UpstreamSettings, max_output: int) -> RetryPolicy:
    """How often and how long a producer tries. `max_output` is in characters."""
    return RetryPolicy(
        attempts=settings.retry_attempts,
        output=max_output,
        backoff=settings.retry_backoff,
        attempt=settings.attempt_timeout,
        first_content=settings.first_content_timeout,
        fallback_after=settings.fallback_after,
        idle=settings.idle_timeout,
        total=settings.total_timeout,
    )


def admission_bounds(settings: UpstreamSettings) -> AdmissionBounds:
    """How many requests may call a model, and wait to call it."""
    return AdmissionBounds(
        calls=settings.upstream_calls,
        queue=settings.upstream_queue,
        queue_per_account=settings.upstream_queue_per_key,
    )


def log_bounds(settings: StorageSettings) -> LogBounds:
    """How much the logs may hold, and for how long."""
    return LogBounds(
        ttl=settings.log_ttl,
        expired_ttl=settings.expired_ttl,
        max_bytes=settings.log_max_bytes,
        max_events=settings.log_max_events,
        max_logs=settings.max_logs,
        max_total_bytes=settings.logs_max_bytes,
        max_generations=settings.max_generations,
    )


def _generations(settings: Settings, logs: Logs, metrics: Metrics) -> Generations:
    return Generations(
        logs,
        retry_policy(settings, settings.log_max_bytes),
        Admission(admission_bounds(settings)),
        grace=settings.disconnect_grace,
        idempotency_ttl=settings.keys_remembered,
        cache_ttl=settings.cache_ttl,
        observers=[metrics.ended],
    )


def _key_auth(settings: Settings, generations: Generations) -> "KeyAuth | None":
    if settings.auth == "open":
        return None
    from streamapi.access.key_auth import KeyAuth

    return KeyAuth.of(settings, generations)


def _logs(settings: Settings) -> Logs:
    bounds = log_bounds(settings)
    if not settings.redis_url:
        return MemoryLogs(bounds)
    from streamapi.generation.redis.logs import RedisLogs

    # In Redis a generation expires with its key there, so the key must outlive the generation's
    # idempotency key.
    longest = max(settings.expired_ttl, settings.keys_remembered)
    bounds = structs.replace(bounds, expired_ttl=longest)
    return RedisLogs(
        settings.redis_url, bounds, prefix=settings.redis_prefix, timeout=settings.redis_timeout
    )


def _limits_and_tickets(settings: Settings) -> tuple[Limits, Tickets]:
    if not settings.redis_url:
        return MemoryLimits(), MemoryTickets()
    from streamapi.access import redis_limits, redis_limits_scripts, redis_tickets

    scripts = (*redis_limits_scripts.SCRIPTS, *redis_tickets.SCRIPTS)
    limits = redis_limits.RedisLimits(
        settings.redis_url,
        settings.redis_timeout,
        settings.workers,
        prefix=settings.redis_prefix,
        scripts=scripts,
    )
    return limits, redis_tickets.RedisTickets(limits.connection)
