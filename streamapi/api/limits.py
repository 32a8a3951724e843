"""Request limits: quart-rate-limiter's hooks and decorators, over one atomic `take`.

quart-rate-limiter reads a count and updates it in two steps, so that every request between the two
passes. Here both are one step. Its headers are the older `RateLimit-*`; these are `RateLimit` and
`RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers). A request that resumes a stream starts
nothing, so it is counted in `replays.py` and not here.
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
            return  # a preflight: the request itself comes later
        if getattr(view, QUART_RATE_LIMITER_EXEMPT_ATTRIBUTE, False):
            return
        if is_resumption(view):
            return  # counted later if there is nothing to resume (see `replays`)
        blueprint = current_app.blueprints.get(request.blueprint or "")
        limits = self._get_limits_for_view_function(view, blueprint)
        await take(request.endpoint or "", [_limit(limit) for limit in limits])

    async def _after_request(self, response: Response) -> Response:
        states: dict[str, State] = g.get("limits", {})
        if states:
            shown = states.values()
            response.headers["RateLimit-Policy"] = ", ".join(_policy(*it) for it in shown)
            response.headers["RateLimit"] = ", ".join(_state(*it) for it in shown)
        return response


def unlimited(why: str) -> Callable[[V], V]:
    """Mark a route that has no request limit, with the reason."""

    def mark(view: V) -> V:
        view.unlimited = why  # type: ignore[attr-defined]
        return rate_exempt(view)

    return mark


def resumable(view: V) -> V:
    """Mark a route that only resumes a stream if the request has a cursor."""
    view.resumes = True  # type: ignore[attr-defined]
    return view


async def take(what: str, limits: Sequence[Limit]) -> None:
    """Count one request of the current caller for `what`. Raises `RateLimited`."""
    current = caller()
    limits = _own(limits, current.allowance.requests_per_minute)
    if not limits:
        return
    wants = [Want(f"requests/{what}/{it.period:g}/{limit_key(current)}", it) for it in limits]
    taken = await services().limits.take(*wants)
    names = ["requests", *(f"requests-{limit.period:g}" for limit in limits[1:])]
    states = list(zip(names, limits, taken, strict=True))
    refused = [state for state in states if not state[2].allowed]
    report(refused or states)
    if refused:
        _, limit, worst = max(refused, key=lambda state: state[2].retry_after)
        raise RateLimited(
            f"The limit is {limit.count} requests in {limit.period:g} s. Wait for `Retry-After` "
            "seconds.",
            retry_after=worst.retry_after,
        )


async def take_message(what: str) -> None:
    """Count a message of a WebSocket, or a cursor that resumes nothing, as one request. Raises
    `RateLimited`."""
    rate = services().settings.rate()
    await take(what, [] if rate is None else [Limit(*rate)])


def report(states: Iterable[State]) -> None:
    """Show what is left of these limits in the headers of the response."""
    shown: dict[str, State] = g.setdefault("limits", {})
    shown.update({state[0]: state for state in states})


def wait_longer(error: StreamapiError) -> None:
    """Raise the `Retry-After` of an error to the time at which the request limit allows another
    request: a client that waits for tokens alone could be refused again."""
    for name, limit, taken in g.get("limits", {}).values():
        if name.startswith("requests") and error.retry_after is not None:
            error.retry_after = max(error.retry_after, limit.wait(taken.reset))


def register(app: Quart, settings: Settings) -> None:
    """Limit every route except those marked with `unlimited`."""
    rate = settings.rate()
    limits = [RateLimit(rate[0], timedelta(seconds=rate[1]))] if rate else []
    AtomicRateLimiter(app, default_limits=limits)


def _own(limits: Sequence[Limit], own: int | None) -> Sequence[Limit]:
    """The limits of a route, with the limit of a key (0: none) in place of the default."""
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
