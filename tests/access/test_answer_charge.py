"""What an answer costs: whose limits hold, what is estimated, and what an ending settles."""

from types import SimpleNamespace

import pytest

from streamapi.access.answer_charge import AnswerCharge, cost, prompt_tokens
from streamapi.access.limits import Limit, MemoryLimits, Want
from streamapi.errors import (
    ProducerLost,
    QuotaExceeded,
    RateLimited,
    StreamapiError,
    TooManyStreams,
    UpstreamInterrupted,
    UpstreamUnavailable,
)
from streamapi.generation.event import Cancelled, Ending, Failed, Usage
from streamapi.generation.model import Message, Prompt
from streamapi.generation.request import Allowance, Caller, GenerationRequest
from streamapi.settings import Settings
from tests.access.test_limits_contract import Clock

TOLD = Usage(10, 32, 5)


def ask(output: int | None, text: str = "abc") -> GenerationRequest:
    prompt = Prompt((Message("user", text),), max_output_tokens=output)
    return GenerationRequest(
        task="text", model="m", models=[], prompt=prompt, parser=SimpleNamespace
    )


def failed(error: StreamapiError, usage: Usage | None = None) -> Failed:
    return Failed(error.problem(), usage or Usage())


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        (Cancelled("caller", TOLD), 42),
        (Cancelled("disconnect"), 7),
        (failed(UpstreamInterrupted("cut"), TOLD), 42),
        (failed(UpstreamInterrupted("cut")), 7),
        (failed(ProducerLost("gone")), 7),
        (failed(UpstreamUnavailable("away")), 0),
        (failed(UpstreamUnavailable("away"), TOLD), 42),
    ],
)
def test_an_ending_costs_what_the_model_told(ending: Ending, expected: int) -> None:
    """Else its prompt, unless no model had taken it."""
    assert cost(ending, prompt=7) == expected


@pytest.mark.parametrize(("text", "tokens"), [("", 1), ("a" * 400, 101), ("水" * 400, 301)])
def test_a_prompt_is_estimated_by_its_bytes(text: str, tokens: int) -> None:
    """Which is about right in every script; the system text counts too."""
    assert prompt_tokens(Prompt((Message("user", text),))) == tokens
    assert prompt_tokens(Prompt((), system=text)) == tokens


@pytest.mark.parametrize(
    ("allowance", "error"),
    [
        (Allowance(tokens_per_minute=500), RateLimited),
        (Allowance(tokens_per_day=500), QuotaExceeded),
        (Allowance(streams=1), TooManyStreams),
    ],
)
async def test_a_key_has_its_own_limits(allowance: Allowance, error: type[Exception]) -> None:
    """What its allowance says, wherever it comes from; another key has the default."""
    limits, settings = MemoryLimits(Clock()), Settings()
    mine = Caller(key="mine", address="192.0.2.1", allowance=allowance)
    fares = [AnswerCharge(limits, settings, mine, ask(400)) for _ in range(2)]
    await fares[0].pay()
    with pytest.raises(error):
        await fares[1].pay()
    other = Caller(key="other", address="192.0.2.1")
    await AnswerCharge(limits, settings, other, ask(400)).pay()
    fares[0].settle(failed(UpstreamUnavailable("away")))
    await fares[1].pay()


async def test_without_limits_nothing_is_asked() -> None:
    """Off is off."""
    settings = Settings(tokens_per_minute=0, tokens_per_day=0, max_streams=0)
    limits = MemoryLimits(Clock())
    fare = AnswerCharge(limits, settings, Caller(), ask(None))
    await fare.pay()
    fare.settle(Cancelled("caller", TOLD))
    assert not limits._arrivals
    assert not fare.states


async def test_more_than_the_estimate_is_taken_as_well() -> None:
    """Even beyond the limit: whoever asks next waits for it."""
    limits, caller = MemoryLimits(Clock()), Caller(key="k", allowance=Allowance(None, 100, 0, 0))
    fare = AnswerCharge(limits, Settings(), caller, ask(10))
    await fare.pay()
    fare.settle(Cancelled("caller", Usage(50, 100)))
    [state] = await limits.take(Want("tokens/key/k", Limit(100, 60.0)))
    assert state.retry_after == pytest.approx((150 + 1 - 100) * 0.6)
