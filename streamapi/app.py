"""The composition root: settings become parts, and parts become the Quart app.

Start-up and shut-down are here too: before the first request the provider is imported, and at
the end running generations get their bound, and then their ending.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING

from msgspec import structs
from quart import Quart

from streamapi.access.guesses import Guesses
from streamapi.access.limits import Limits, MemoryLimits
from streamapi.access.tickets import MemoryTickets, Tickets
from streamapi.api import (
    body,
    docs,
    generations,
    headers,
    health,
    keys,
    limits,
    metrics,
    models,
    pages,
    patches,
    problems,
    socket,
    tasks,
    tickets,
    who,
)
from streamapi.api.patches import connections, heads, websocket
from streamapi.api.services import Services
from streamapi.generation import background_tasks
from streamapi.generation.chain import Patience
from streamapi.generation.generations import Generations
from streamapi.generation.log import Logs
from streamapi.generation.memory_log import LogBounds, MemoryLogs
from streamapi.generation.turns import AllTurns, TurnBounds
from streamapi.providers.catalogue import Catalogue
from streamapi.providers.gemini import Gemini
from streamapi.settings import (
    Settings,
    UnsafeSettings,
    environment_name,
    read_settings,
    unread_variables,
)
from streamapi.tasks import code, every_task
from streamapi.tasks.syntax.pool import SyntaxPool
from streamapi.telemetry.metrics import Metrics

if TYPE_CHECKING:  # an open server never imports it
    from streamapi.access.entrance import Entrance

logger = logging.getLogger(__name__)

LATE = 0.1
"""Seconds between two looks for readers that came after the others were sent away."""

ENDINGS = 1.0
"""Seconds for the endings of what still runs at the end of the drain to be written."""

GOODBYE = 0.5
"""Seconds for the parts to close; a process that ends must not hang on that."""


def create_app(settings: Settings | None = None, *, emulated: bool = False) -> Quart:
    """The app, as any ASGI server takes it: `hypercorn "streamapi:create_app()"`.

    `emulated` says that `settings.gemini_base_url` is the emulator that `streamapi serve`
    started. Raises `UnsafeSettings` when the settings cannot serve."""
    if settings is None:  # nobody else has read the environment
        settings = read_settings()
        for sentence in unread_variables():
            logger.warning(sentence)
    parts = _parts(settings, emulated)
    app = Quart(__name__, static_folder=None)
    app.request_class = body.JsonRequest
    patches.apply()
    app.extensions[connections.EXTENSION] = connections.ConnectionBounds.of_settings(settings)
    app.asgi_websocket_class = websocket.BoundedSocket
    app.asgi_app = heads.only(app.asgi_app)  # type: ignore[method-assign, assignment]
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    app.config["BODY_TIMEOUT"] = settings.body_timeout
    app.extensions["streamapi"] = parts
    headers.register(app, settings)
    who.register(app)
    limits.register(app, settings)
    problems.register(app)
    for task in parts.tasks.values():
        app.register_blueprint(tasks.blueprint(task))
    app.register_blueprint(socket.routes(parts.tasks))
    for module in (generations, models, keys, tickets, health, metrics, pages):
        app.register_blueprint(module.routes)
    docs.register(app, parts)

    @app.before_serving
    async def open_up() -> None:
        if parts.entrance is not None:
            await parts.entrance.open()
        await parts.logs.start()
        await parts.limits.start()
        await parts.gemini.open(parts.catalogue.serving(settings.default_model))

    @app.after_serving
    async def close_down() -> None:
        await close(parts, 0.0)

    return app


async def close(parts: Services, within: float, delay: float = 0.0) -> None:
    """Drain: go on for `delay` seconds, so that whoever sends us work notices; then refuse it, let
    streams end `within` seconds, end the rest, and say goodbye. Where another process can serve
    them, readers are sent there at once, and what they read is written to its end here.

    Each part is closed, in its time, whatever the others raise."""
    if parts.closed:
        return
    parts.draining = True
    await asyncio.sleep(delay)
    told: set[Callable[[], None]] = set()
    sending: asyncio.Task[None] | None = None
    if parts.settings.redis_url:
        parts.leaving = True
        parts.generations.outlast_readers()
        sending = background_tasks.start("goodbyes", partial(_send_away, parts, told))
    await _let_go("the generations", parts.generations.close(within), within + ENDINGS)
    if sending is not None:
        sending.cancel()
        _say_goodbye(parts.streams, told)
    _say_goodbye(parts.sockets, told)
    await asyncio.gather(
        _let_go("the models", parts.gemini.aclose()),
        *([_let_go("the records", parts.entrance.aclose())] if parts.entrance else []),
        _let_go("the logs", parts.logs.aclose()),
        _let_go("the limits", parts.limits.aclose()),
        _let_go("the syntax checks", parts.syntax.aclose()),
    )
    parts.closed = True


async def _send_away(parts: Services, told: set[Callable[[], None]]) -> None:
    while True:  # some come late: a stream that was about to open, a socket that resumes
        _say_goodbye(parts.streams | parts.sockets, told)
        await asyncio.sleep(LATE)


def _say_goodbye(readers: set[Callable[[], None]], told: set[Callable[[], None]]) -> None:
    for goodbye in readers - told:
        told.add(goodbye)
        try:
            goodbye()
        except Exception:
            logger.exception("a reader could not be sent away")


async def _let_go(
    what: str, closing: Coroutine[None, None, None], seconds: float = GOODBYE
) -> None:
    try:
        async with asyncio.timeout(seconds):
            await closing
    except Exception as error:
        # Leases end by themselves, and the next request notes a key's use.
        logger.warning("%s could not be closed: %r", what, error)


def _parts(settings: Settings, emulated: bool) -> Services:
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
        ),
        logs=logs,
        generations=generations,
        metrics=metrics,
        limits=limits,
        guesses=Guesses(limits, settings.failures_per_minute),
        tickets=tickets,
        syntax=syntax,
        emulated=emulated,
        entrance=_entrance(settings, generations),
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
    patience = Patience(
        attempts=settings.retry_attempts,
        output=settings.log_max_bytes,
        backoff=settings.retry_backoff,
        attempt=settings.attempt_timeout,
        first_content=settings.first_content_timeout,
        fallback_after=settings.fallback_after,
        idle=settings.idle_timeout,
        total=settings.total_timeout,
    )
    turns = TurnBounds(
        settings.upstream_calls, settings.upstream_queue, settings.upstream_queue_per_key
    )
    return Generations(
        logs,
        patience,
        settings.disconnect_grace,
        key_ttl=settings.keys_remembered,
        cache_ttl=settings.cache_ttl,
        turns=AllTurns(turns),
        ended=metrics.ended,
    )


def _entrance(settings: Settings, generations: Generations) -> "Entrance | None":
    if settings.auth == "open":
        return None
    from streamapi.access.entrance import Entrance

    return Entrance.of(settings, generations)


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
    from streamapi.generation.redis_log import RedisLogs

    # There a generation goes with its key in Redis, also while an idempotency key stands for it.
    longest = max(settings.expired_ttl, settings.keys_remembered)
    bounds = structs.replace(bounds, expired_ttl=longest)
    return RedisLogs(settings.redis_url, bounds, prefix=settings.redis_prefix)


def _shared(settings: Settings) -> tuple[Limits, Tickets]:
    if not settings.redis_url:
        return MemoryLimits(), MemoryTickets()
    from streamapi.access import redis_limits, redis_limits_scripts, tickets

    scripts = (*redis_limits_scripts.SCRIPTS, *tickets.SCRIPTS)
    limits = redis_limits.RedisLimits(
        settings.redis_url, settings.workers, prefix=settings.redis_prefix, scripts=scripts
    )
    return limits, tickets.RedisTickets(limits.lane)


def needs_key(settings: Settings) -> bool:
    """Whether Google itself is to answer, and there is no key for it."""
    googles = settings.gemini_base_url.endswith("googleapis.com")
    return googles and settings.google_api_key is None
