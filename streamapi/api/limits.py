"""quart-rate-limiter's place in the request and its decorators, over one atomic `take`.

Its own two steps (look, then update) let every request pass that comes between them; here both
are one. Its headers are the older `RateLimit-*`; these are the IETF's `RateLimit` and
`RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers). A resumption starts nothing, so it
is not counted here, but in `replays.py`.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Any, TypeVar

from quart import Quart, Response, current_app, g, request
from quart_rate_limiter import (
    QUART_RATE_LIMITER_EXEMPT_ATTRIBUTE,
    RateLimit,
    RateLimiter,
    rate_exempt,
)

from streamapi.access.answer_charge import State
from streamapi.access.limit_key import limit_key
from streamapi.access.limits import Limit, Slots, Want
from streamapi.api.context import caller, services
from streamapi.api.cursor import is_resumption
from streamapi.errors import RateLimited, StreamapiError
from streamapi.settings import Settings

V = TypeVar("V", bound=Callable[..., Any])

CHEAP = "a file, or as cheap as a file: it starts nothing"
"""Why pages and documents have no request limit."""


class AtomicRateLimiter(RateLimiter):
    """`RateLimiter` whose check and update are one step."""

    def init_app(self, app: Quart, enabled: bool = True) -> None:
        app.before_request(self._before_request)
        app.after_request(self._after_request)

    async def _before_request(self) -> None:
        view = current_app.view_functions.get(request.endpoint or "")
        if view is None or request.method == "OPTIONS":
            return  # a preflight asks for nothing yet
        if getattr(view, QUART_RATE_LIMITER_EXEMPT_ATTRIBUTE, False):
            return
        if is_resumption(view):
            return  # where there is nothing to resume, it counts after all (see `replays`)
        blueprint = current_app.blueprints.get(request.blueprint or "")
        limits = self._get_limits_for_view_function(view, blueprint)
        await take(request.endpoint or "", [_limit(limit) for limit in limits])

    async def _after_request(self, response: Response) -> Response:
        states: dict[str, State] = g.get("limits", {})
        if states:
            told = states.values()
            response.headers["RateLimit-Policy"] = ", ".join(_policy(*it) for it in told)
            response.headers["RateLimit"] = ", ".join(_state(*it) for it in told)
        return response


def unlimited(why: str) -> Callable[[V], V]:
    """Mark a route that has no request limit, with the reason."""

    def mark(view: V) -> V:
        view.unlimited = why  # type: ignore[attr-defined]
        return rate_exempt(view)

    return mark


def resumable(view: V) -> V:
    """Mark a route on which a cursor resumes, and so starts nothing."""
    view.resumes = True  # type: ignore[attr-defined]
    return view


async def take(what: str, limits: Sequence[Limit]) -> None:
    """Count one request of the current caller for `what`. Raises `RateLimited`."""
    who = caller()
    limits = _own(limits, who.allowance.requests_per_minute)
    if not limits:
        return
    wants = [Want(f"requests/{what}/{it.period:g}/{limit_key(who)}", it) for it in limits]
    taken = await services().limits.take(*wants)
    names = ["requests", *(f"requests-{limit.period:g}" for limit in limits[1:])]
    states = list(zip(names, limits, taken, strict=True))
    refused = [state for state in states if not state[2].allowed]
    tell(refused or states)
    if refused:
        _, limit, worst = max(refused, key=lambda state: state[2].retry_after)
        raise RateLimited(
            f"{limit.count} requests in {limit.period:g} s are allowed here.",
            retry_after=worst.retry_after,
        )


async def take_message(what: str) -> None:
    """Count one message of a socket, or a cursor that resumes nothing, as a request. Raises
    `RateLimited`."""
    rate = services().settings.rate()
    await take(what, [] if rate is None else [Limit(*rate)])


def tell(states: Iterable[State]) -> None:
    """Let the response say what is left."""
    told: dict[str, State] = g.setdefault("limits", {})
    told.update({state[0]: state for state in states})


def wait_longer(error: StreamapiError) -> None:
    """Whoever waits for tokens must find a request left then, or `Retry-After` would not be
    true."""
    for name, limit, taken in g.get("limits", {}).values():
        if name.startswith("requests") and error.retry_after is not None:
            error.retry_after = max(error.retry_after, limit.wait(taken.reset))


def register(app: Quart, settings: Settings) -> None:
    """Limit every route but those marked with `unlimited`."""
    rate = settings.rate()
    limits = [RateLimit(rate[0], timedelta(seconds=rate[1]))] if rate else []
    AtomicRateLimiter(app, default_limits=limits)


def _own(limits: Sequence[Limit], own: int | None) -> Sequence[Limit]:
    """A route's limits, with a key's own in place of the default; 0 is none."""
    if own is None:
        return limits
    rate = services().settings.rate()
    declared = [limit for limit in limits if rate is None or limit != Limit(*rate)]
    return [*([Limit(own, 60.0)] if own else []), *declared]


def _limit(limit: RateLimit) -> Limit:
    return Limit(limit.count, limit.period.total_seconds())


def _policy(name: str, limit: Limit | Slots, taken: object) -> str:
    window = f"w={limit.period:g}" if isinstance(limit, Limit) else 'qu="concurrent-requests"'
    return f'"{name}";q={limit.count};{window}'


def _state(name: str, limit: Limit | Slots, taken: Any) -> str:
    if isinstance(limit, Slots):
        return f'"{name}";r={taken.remaining}'
    reset = math.ceil(taken.retry_after or taken.reset)
    return f'"{name}";r={taken.remaining};t={reset}'
