"""What one answer costs its caller: tokens per minute, tokens per day, and a stream at once.

The tokens are an estimate until the model tells its usage: of the prompt, a token for each four
bytes; of the answer, all that it may have (`max_output_tokens`), or a setting's. All is taken in
one step. At the ending the difference is given back, or taken as well.
"""

import ipaddress
import secrets
import time
from collections.abc import Sequence
from functools import lru_cache

from streamapi.access.limits import Limit, Limits, Slots, Taken, Want, left_of
from streamapi.errors import QuotaExceeded, RateLimited, StreamapiError, TooManyStreams
from streamapi.generation.event import Ending, Failed
from streamapi.generation.model import Prompt
from streamapi.generation.request import Caller, GenerationRequest
from streamapi.settings import Settings

State = tuple[str, Limit | Slots, Taken]
"""The name of a policy, and what was taken of it."""

NAMES = {60.0: "tokens", 86_400.0: "tokens-day"}

UNASKED = ("upstream_unavailable", "upstream_rejected", "context_too_long", "overloaded")
"""Endings before which no model had answered."""


class AnswerCharge:
    """A `Charge`. `states` is what the caller is told of its limits."""

    __slots__ = ("_limits", "_prompt", "_since", "_taken", "_tokens", "_wants", "states")

    def __init__(
        self, limits: Limits, settings: Settings, caller: Caller, ask: GenerationRequest
    ) -> None:
        self._limits = limits
        self._prompt = prompt_tokens(ask.prompt)
        self._tokens = self._prompt + (ask.prompt.max_output_tokens or settings.answer_tokens)
        self._wants = _wants(settings, caller, self._tokens)
        self._taken: Sequence[Taken] = ()
        self._since = 0.0
        self.states: list[State] = []

    async def pay(self) -> None:
        """Raises `RateLimited`, `QuotaExceeded` and `TooManyStreams`."""
        if not self._wants:
            return
        self._since = time.monotonic()
        try:
            taken = await self._limits.take(*self._wants)
        except BaseException:
            self._release()  # it may have been taken
            raise
        states = [(_name(it), it.limit, told) for it, told in zip(self._wants, taken, strict=True)]
        refused = [state for state in states if not state[2].allowed]
        self.states = refused or states
        if refused:
            raise _refusal(*max(refused, key=lambda state: state[2].retry_after))
        self._taken = taken

    def settle(self, ending: Ending) -> None:
        self._release()
        real = cost(ending, self._prompt)
        elapsed = time.monotonic() - self._since
        for want, taken in zip(self._wants, self._taken, strict=False):
            if isinstance(want.limit, Limit):
                difference = real - min(want.cost, want.limit.count)
                left = left_of(want.cost, want.limit, taken, elapsed)
                self._limits.settle(want.key, want.limit, max(difference, -left), taken.local)

    def _release(self) -> None:
        for want in self._wants:
            if isinstance(want.limit, Slots):
                self._limits.release(want.key, want.name)


def payer(caller: Caller) -> str:
    """Who is counted, by every limit and by the queue for a model: the key, else the address; of
    IPv6 its /64, which is one customer's."""
    return f"key/{caller.key}" if caller.key else f"address/{network(caller.address)}"


@lru_cache(maxsize=4096)
def network(address: str | None) -> str:
    """What an address counts as."""
    try:
        found = ipaddress.ip_address(address or "")
    except ValueError:
        return "unknown"
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return f"{ipaddress.IPv6Address(int(found) >> 64 << 64)}/64"


def prompt_tokens(prompt: Prompt) -> int:
    """The estimate of a prompt: a token for each four bytes, in every script about right."""
    texts = (prompt.system or "", *(message.content for message in prompt.messages))
    return sum(len(text.encode("utf-8", "replace")) for text in texts) // 4 + 1


def cost(ending: Ending, prompt: int) -> int:
    """The tokens of an answer: what the model told until its end, however it ended. Where it told
    nothing: its prompt, as estimated, unless no model had taken it."""
    told = ending.usage.input_tokens + ending.usage.output_tokens
    if told or (isinstance(ending, Failed) and ending.problem.code in UNASKED):
        return told
    return prompt


def _wants(settings: Settings, caller: Caller, tokens: int) -> list[Want]:
    allowance, who = caller.allowance, payer(caller)
    minute = _either(allowance.tokens_per_minute, settings.tokens_per_minute)
    day = _either(allowance.tokens_per_day, settings.tokens_per_day)
    streams = _either(allowance.streams, settings.max_streams)
    wants = [
        Want(f"{NAMES[period]}/{who}", Limit(count, period), tokens)
        for count, period in ((minute, 60.0), (day, 86_400.0))
        if count
    ]
    if streams:
        wants.append(Want(f"streams/{who}", Slots(streams), name=secrets.token_hex(8)))
    return wants


def _either(own: int | None, default: int) -> int:
    return default if own is None else own


def _name(want: Want) -> str:
    return "streams" if isinstance(want.limit, Slots) else NAMES[want.limit.period]


def _refusal(name: str, limit: Limit | Slots, taken: Taken) -> StreamapiError:
    wait = taken.retry_after
    if isinstance(limit, Slots):
        return TooManyStreams(f"{limit.count} at once are allowed.", retry_after=wait)
    detail = (
        f"{limit.count:,} tokens in {limit.period:g} s are allowed, answers to come among them."
    )
    kind = QuotaExceeded if name == "tokens-day" else RateLimited
    return kind(detail, retry_after=wait)
