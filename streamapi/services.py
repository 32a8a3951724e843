"""Settings become parts: everything that a running server is made of, put together in one place."""

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
from streamapi.generation.memory_log import LogBounds, MemoryLogs
from streamapi.providers.catalogue import Catalogue
from streamapi.providers.gemini.models import Gemini
from streamapi.settings import Settings, UnsafeSettings, environment_name
from streamapi.tasks import code, every_task
from streamapi.tasks.syntax.pool import SyntaxPool
from streamapi.tasks.task import Task
from streamapi.telemetry.metrics import Metrics

if TYPE_CHECKING:  # an open server never imports it
    from streamapi.access.key_auth import KeyAuth


@dataclass
class Services:
    """The parts of the running server. `emulated` says that no real model answers; without an
    `key_auth` no keys are asked for.

    `draining` says that the process is about to end; `leaving`, that it sends its readers to
    another one, which can serve them from the shared logs; `closed`, that it is done. `sockets`
    and `streams` are the goodbyes of those who read now."""

    settings: Settings
    tasks: dict[str, Task[Any]]
    catalogue: Catalogue
    gemini: Gemini
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
    """The parts that these settings ask for. Raises `UnsafeSettings` when they cannot serve."""
    key = settings.google_api_key
    if needs_key(settings) and not emulated:
        raise UnsafeSettings(
            "GOOGLE_API_KEY is not set, and STREAMAPI_GEMINI_BASE_URL is Google's own address. "
            "Set the key; or let `streamapi serve` start the emulator, on a loopback address."
        )
    logs, metrics = _logs(settings), Metrics()
    generations = _generations(settings, logs, metrics)
    metrics.read(lambda: generations.running, lambda: logs.available)
    limits, tickets = _shared(settings)
    syntax = SyntaxPool(settings.syntax_processes, metrics.syntax_checked)
    return Services(
        settings=settings,
        tasks={**every_task(), "code": code.task(syntax.check)},
        catalogue=models_of(settings),
        gemini=Gemini(
            settings.gemini_base_url,
            key.get_secret_value() if key else "none",
            settings.gemini_reader,
            settings.gemini_proxy or None,
            settings.connect_timeout,
        ),
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


def models_of(settings: Settings) -> Catalogue:
    """The models that there are. Raises `UnsafeSettings` when a setting names another."""
    catalogue = Catalogue()
    names = {
        "default_model": (settings.default_model,),
        "fast_model": (settings.fast_model,),
        "fallback_models": settings.fallback_models,
    }
    for setting, named in names.items():
        for name in named:
            if name not in catalogue.cards:
                known = ", ".join(catalogue.cards)
                raise UnsafeSettings(
                    f"{environment_name(setting)} names the model {name!r}; the catalogue has "
                    f"{known}."
                )
    return catalogue


def _generations(settings: Settings, logs: Logs, metrics: Metrics) -> Generations:
    retry_policy = RetryPolicy(
        attempts=settings.retry_attempts,
        output=settings.log_max_bytes,
        backoff=settings.retry_backoff,
        attempt=settings.attempt_timeout,
        first_content=settings.first_content_timeout,
        fallback_after=settings.fallback_after,
        idle=settings.idle_timeout,
        total=settings.total_timeout,
    )
    turns = AdmissionBounds(
        settings.upstream_calls, settings.upstream_queue, settings.upstream_queue_per_key
    )
    return Generations(
        logs,
        retry_policy,
        settings.disconnect_grace,
        key_ttl=settings.keys_remembered,
        cache_ttl=settings.cache_ttl,
        turns=Admission(turns),
        observers=[metrics.ended],
    )


def _key_auth(settings: Settings, generations: Generations) -> "KeyAuth | None":
    if settings.auth == "open":
        return None
    from streamapi.access.key_auth import KeyAuth

    return KeyAuth.of(settings, generations)


def _logs(settings: Settings) -> Logs:
    bounds = LogBounds(
        ttl=settings.log_ttl,
        expired_ttl=settings.expired_ttl,
        max_bytes=settings.log_max_bytes,
        max_events=settings.log_max_events,
        max_logs=settings.max_logs,
        max_total_bytes=settings.logs_max_bytes,
        max_generations=settings.max_generations,
    )
    if not settings.redis_url:
        return MemoryLogs(bounds)
    from streamapi.generation.redis.logs import RedisLogs

    # There a generation goes with its key in Redis, also while an idempotency key stands for it.
    longest = max(settings.expired_ttl, settings.keys_remembered)
    bounds = structs.replace(bounds, expired_ttl=longest)
    return RedisLogs(settings.redis_url, bounds, prefix=settings.redis_prefix)


def _shared(settings: Settings) -> tuple[Limits, Tickets]:
    if not settings.redis_url:
        return MemoryLimits(), MemoryTickets()
    from streamapi.access import redis_limits, redis_limits_scripts, redis_tickets

    scripts = (*redis_limits_scripts.SCRIPTS, *redis_tickets.SCRIPTS)
    limits = redis_limits.RedisLimits(
        settings.redis_url, settings.workers, prefix=settings.redis_prefix, scripts=scripts
    )
    return limits, redis_tickets.RedisTickets(limits.connection)


def needs_key(settings: Settings) -> bool:
    """Whether Google itself is to answer, and there is no key for it."""
    googles = settings.gemini_base_url.endswith("googleapis.com")
    return googles and settings.google_api_key is None
