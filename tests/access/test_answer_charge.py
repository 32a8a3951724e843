"""The charge for an answer: whose limits apply, the estimate, and what an ending settles."""

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
from streamapi.generation.ended import Ended
from streamapi.generation.event import Cancelled, Ending, Failed, Usage
from streamapi.generation.generation import Generation
from streamapi.generation.model import Message, Prompt
from streamapi.generation.request import Allowance, Caller, GenerationRequest
from streamapi.settings import Settings
from tests.access.conftest import Clock

REPORTED = Usage(10, 32, 5)


def ask(output: int | None, text: str = "abc") -> GenerationRequest:
    prompt = Prompt((Message("user", text),), max_output_tokens=output)
    return GenerationRequest(
        task="text", model="m", models=[], prompt=prompt, parser=SimpleNamespace
    )


def failed(error: StreamapiError, usage: Usage | None = None) -> Failed:
    return Failed(error.problem(), usage or Usage())


def ended(ending: Ending) -> Ended:
    generation = Generation(id="gen_1", log="log_1", owner="o", task="text", model="m", created=0.0)
    return Ended.of(generation, ending)


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        (Cancelled("caller", REPORTED), 42),
        (Cancelled("disconnect"), 7),
        (failed(UpstreamInterrupted("cut"), REPORTED), 42),
        (failed(UpstreamInterrupted("cut")), 7),
        (failed(ProducerLost("gone")), 7),
        (failed(UpstreamUnavailable("away")), 0),
        (failed(UpstreamUnavailable("away"), REPORTED), 42),
    ],
)
def test_an_ending_costs_the_reported_usage(ending: Ending, expected: int) -> None:
    """Without a usage it costs the prompt, or nothing if no model accepted the prompt."""
    assert cost(ended(ending), prompt=7) == expected


@pytest.mark.parametrize(("text", "tokens"), [("", 1), ("a" * 400, 101), ("水" * 400, 301)])
def test_a_prompt_is_estimated_by_its_bytes(text: str, tokens: int) -> None:
    """A token for each four bytes; the system text counts too."""
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
    """The allowance of a key replaces the default, at any address; another key has the default."""
    limits, settings = MemoryLimits(Clock()), Settings()
    mine = Caller(key="mine", address="192.0.2.1", allowance=allowance)
    charges = [AnswerCharge(limits, settings, mine, ask(400)) for _ in range(2)]
    await charges[0].reserve()
    with pytest.raises(error):
        await charges[1].reserve()
    other = Caller(key="other", address="192.0.2.1")
    await AnswerCharge(limits, settings, other, ask(400)).reserve()
    charges[0].settle(ended(failed(UpstreamUnavailable("away"))))
    await charges[1].reserve()


async def test_without_limits_nothing_is_counted() -> None:
    """A limit of 0 in the settings is no limit."""
    settings = Settings(tokens_per_minute=0, tokens_per_day=0, max_streams=0)
    limits = MemoryLimits(Clock())
    charge = AnswerCharge(limits, settings, Caller(), ask(None))
    await charge.reserve()
    charge.settle(ended(Cancelled("caller", REPORTED)))
    assert not limits._arrivals
    assert not charge.states


async def test_more_than_the_estimate_is_taken_as_well() -> None:
    """The difference is taken even beyond the limit, and the next request waits for it."""
    limits, caller = MemoryLimits(Clock()), Caller(key="k", allowance=Allowance(None, 100, 0, 0))
    charge = AnswerCharge(limits, Settings(), caller, ask(10))
    await charge.reserve()
    charge.settle(ended(Cancelled("caller", Usage(50, 100))))
    [state] = await limits.take(Want("tokens/key/k", Limit(100, 60.0)))
    assert state.retry_after == pytest.approx((150 + 1 - 100) * 0.6)
