"""quart-rate-limiter's place in the request and its decorators, over one atomic `take`.

Its own two steps (look, then update) let every request pass that comes between them; here both
are one. Its headers are the older `RateLimit-*`; these are the IETF's `RateLimit` and
`RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers). A resumption starts nothing, so it
is not counted.
"""

import math
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

from quart import Quart, Response, current_app, g, request
from quart_rate_limiter import RateLimit, RateLimiter

from streamapi.access.limits import Limit, Taken
from streamapi.api import sse
from streamapi.api.services import caller, services
from streamapi.errors import RateLimited
from streamapi.settings import Settings

V = TypeVar("V", bound=Callable[..., Any])


class AtomicRateLimiter(RateLimiter):
    """`RateLimiter` whose check and update are one step."""

    def init_app(self, app: Quart, enabled: bool = True) -> None:
        app.before_request(self._before_request)
        app.after_request(self._after_request)

    async def _before_request(self) -> None:
        view = current_app.view_functions.get(request.endpoint or "")
        if view is None or request.method == "OPTIONS":
            return  # a preflight asks for nothing yet
        if getattr(view, "resumes", False) and sse.cursor() is not None:
            return
        blueprint = current_app.blueprints.get(request.blueprint or "")
        for limit in self._get_limits_for_view_function(view, blueprint):
            await take(request.endpoint or "", _limit(limit))

    async def _after_request(self, response: Response) -> Response:
        taken: tuple[Limit, Taken] | None = g.get("taken")
        if taken is not None:
            limit, state = taken
            response.headers["RateLimit-Policy"] = f'"default";q={limit.count};w={limit.period:g}'
            reset = math.ceil(state.retry_after or state.reset)
            response.headers["RateLimit"] = f'"default";r={state.remaining};t={reset}'
        return response


def resumable(view: V) -> V:
    """Mark a route on which a cursor resumes, and so starts nothing."""
    view.resumes = True  # type: ignore[attr-defined]
    return view


async def take(what: str, limit: Limit) -> None:
    """Count one request of the current caller for `what`. Raises `RateLimited`."""
    taken = await services().limits.take(f"{what} {caller().address}", limit)
    g.taken = (limit, taken)
    if not taken.allowed:
        raise RateLimited(
            f"{limit.count} requests in {limit.period:g} s are allowed here.",
            retry_after=taken.retry_after,
        )


async def take_message(what: str) -> None:
    """Count one message of a socket as if it were a request."""
    rate = services().settings.rate()
    if rate is not None:
        await take(what, Limit(*rate))


def register(app: Quart, settings: Settings) -> None:
    """Limit every route but those marked with `rate_exempt`."""
    rate = settings.rate()
    limits = [RateLimit(rate[0], timedelta(seconds=rate[1]))] if rate else []
    AtomicRateLimiter(app, default_limits=limits)


def _limit(limit: RateLimit) -> Limit:
    return Limit(limit.count, limit.period.total_seconds())
