"""The charge for one answer: tokens per minute, tokens per day, and one of the open streams.

All three are reserved in one step, before a model is asked. The tokens are an estimate: the
prompt counts one token for each four bytes, the answer counts its `max_output_tokens` (or
`STREAMAPI_ANSWER_TOKENS`). When the answer has ended, `settle` takes or gives back the difference
to the usage that the model reported.
"""

import secrets
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from streamapi.access.limit_key import limit_key
from streamapi.access.limits import Decision, Limit, Limits, Slots, Want, refundable
from streamapi.errors import QuotaExceeded, RateLimited, StreamapiError, TooManyStreams
from streamapi.generation.ended import Ended
from streamapi.generation.model import Prompt
from streamapi.generation.request import Caller
from streamapi.settings import Settings

if TYPE_CHECKING:  # only `intake` makes one
    from streamapi.generation.request import GenerationRequest

State = tuple[str, Limit | Slots, Decision]
"""The name of a policy (`tokens`, `tokens-day`, `streams`), its limit, and what was decided."""

POLICY_NAMES = {60.0: "tokens", 86_400.0: "tokens-day"}
"""Token policies by the seconds of their period."""

NO_MODEL_ANSWERED = (
    "upstream_unavailable",
    "upstream_rejected",
    "context_too_long",
    "overloaded",
)
"""Codes of failures before which no model had accepted the prompt."""


class AnswerCharge:
    """A `Charge` on a caller's limits. After `reserve`, `states` holds each policy's state for
    the `RateLimit` headers; after a refusal it holds those that refused."""

    __slots__ = ("_decisions", "_limits", "_prompt", "_reserved_at", "_tokens", "_wants", "states")

    def __init__(
        self, limits: Limits, settings: Settings, caller: Caller, request: "GenerationRequest"
    ) -> None:
        self._limits = limits
        self._prompt = prompt_tokens(request.prompt)
        self._tokens = self._prompt + (request.prompt.max_output_tokens or settings.answer_tokens)
        self._wants = _wants(settings, caller, self._tokens)
        self._decisions: Sequence[Decision] = ()
        self._reserved_at = 0.0
        self.states: list[State] = []

    async def reserve(self) -> None:
        """Reserve the estimate and a stream, all or nothing. Raises `RateLimited`,
        `QuotaExceeded` and `TooManyStreams`."""
        if not self._wants:
            return
        self._reserved_at = time.monotonic()
        try:
            decisions = await self._limits.take(*self._wants)
        except BaseException:
            self._release_stream()  # the backend may have taken it
            raise
        states = [
            (_policy_name(want), want.limit, decision)
            for want, decision in zip(self._wants, decisions, strict=True)
        ]
        refused = [state for state in states if not state[2].allowed]
        self.states = refused or states
        if refused:
            raise _refusal(*max(refused, key=lambda state: state[2].retry_after))
        self._decisions = decisions

    def settle(self, ended: Ended) -> None:
        """Release the stream, and replace the estimate by what the answer did cost."""
        self._release_stream()
        used = cost(ended, self._prompt)
        elapsed = time.monotonic() - self._reserved_at
        for want, decision in zip(self._wants, self._decisions, strict=False):
            if isinstance(want.limit, Limit):
                difference = used - min(want.cost, want.limit.count)
                most = refundable(want.cost, want.limit, decision, elapsed)
                self._limits.settle(want.key, want.limit, max(difference, -most), decision.local)

    def _release_stream(self) -> None:
        for want in self._wants:
            if isinstance(want.limit, Slots):
                self._limits.release(want.key, want.name)


def prompt_tokens(prompt: Prompt) -> int:
    """The estimated tokens of a prompt: one for each four bytes, about right in every script."""
    texts = (prompt.system or "", *(message.content for message in prompt.messages))
    return sum(len(text.encode("utf-8", "replace")) for text in texts) // 4 + 1


def cost(ended: Ended, prompt: int) -> int:
    """The tokens that an answer cost: the usage that the model reported, however the answer ended.
    Without a usage it costs its estimated `prompt`, or nothing if no model accepted the prompt."""
    reported = ended.usage.input_tokens + ended.usage.output_tokens
    if reported or ended.outcome in NO_MODEL_ANSWERED:
        return reported
    return prompt


def _wants(settings: Settings, caller: Caller, tokens: int) -> list[Want]:
    allowance, key = caller.allowance, limit_key(caller)
    minute = _or_default(allowance.tokens_per_minute, settings.tokens_per_minute)
    day = _or_default(allowance.tokens_per_day, settings.tokens_per_day)
    streams = _or_default(allowance.streams, settings.max_streams)
    wants = [
        Want(f"{POLICY_NAMES[period]}/{key}", Limit(count, period), tokens)
        for count, period in ((minute, 60.0), (day, 86_400.0))
        if count
    ]
    if streams:
        wants.append(Want(f"streams/{key}", Slots(streams), name=secrets.token_hex(8)))
    return wants


def _or_default(own: int | None, default: int) -> int:
    return default if own is None else own


def _policy_name(want: Want) -> str:
    return "streams" if isinstance(want.limit, Slots) else POLICY_NAMES[want.limit.period]


def _refusal(name: str, limit: Limit | Slots, decision: Decision) -> StreamapiError:
    wait = decision.retry_after
    if isinstance(limit, Slots):
        detail = f"{limit.count} at once are allowed. Wait until one has ended, or cancel one."
        return TooManyStreams(detail, retry_after=wait)
    detail = (
        f"{limit.count:,} tokens in {limit.period:g} s are allowed, and an answer counts its "
        "`max_output_tokens` until it has ended. Wait, or lower that number."
    )
    kind = QuotaExceeded if name == "tokens-day" else RateLimited
    return kind(detail, retry_after=wait)
