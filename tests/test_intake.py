"""A generation starts from a caller, a task and a body alone: no request of Quart is needed."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from streamapi import drain, intake
from streamapi.access.answer_charge import State
from streamapi.emulator import Emulator
from streamapi.errors import Forbidden, InvalidRequest, ModelNotFound, RateLimited, StreamapiError
from streamapi.generation.event import Done, fold
from streamapi.generation.request import Allowance, Caller
from streamapi.services import Services, build
from streamapi.settings import Settings
from tests.api.wire import unique

CALLER = Caller("me", key="key_1")


@pytest.fixture
async def parts(emulator: Emulator) -> AsyncIterator[Services]:
    """The services of a server, without the server."""
    found = build(Settings(gemini_base_url=emulator.url), emulated=True)
    yield found
    await drain.close(found, 0.0)


async def test_a_body_becomes_a_generation(parts: Services) -> None:
    """Its log is read as any other is."""
    request = intake.prepare(parts, CALLER, parts.tasks["text"], {"prompt": unique()})
    generation = await intake.start(parts, CALLER, request)
    assert (generation.owner, generation.task, generation.on_disconnect) == ("me", "text", "grace")
    batches = parts.generations.read(generation)
    folded = fold([entry.event async for batch in batches for entry in batch])
    assert isinstance(folded.ending, Done)
    assert folded.result["text"]


@pytest.mark.parametrize(
    ("caller", "body", "error"),
    [
        (Caller("me", scopes=frozenset({"code"})), {"prompt": "a"}, Forbidden),
        (Caller("me", models=frozenset({"another"})), {"prompt": "a"}, Forbidden),
        (CALLER, {}, InvalidRequest),
        (CALLER, {"prompt": "a", "temperature": "1"}, InvalidRequest),
        (CALLER, {"prompt": "a", "model": "unknown"}, ModelNotFound),
    ],
)
async def test_a_bad_request_is_refused_before_it_starts(
    parts: Services, caller: Caller, body: dict[str, Any], error: type[StreamapiError]
) -> None:
    """`prepare` raises, so a batch can check all its items first."""
    with pytest.raises(error):
        intake.prepare(parts, caller, parts.tasks["text"], body)


async def test_values_may_be_text(parts: Services) -> None:
    """A query string has no numbers."""
    body = {"prompt": "a", "temperature": "1"}
    request = intake.prepare(parts, CALLER, parts.tasks["text"], body, text_values=True)
    assert request.prompt.temperature == 1


@pytest.mark.parametrize("options", [{"idempotency_key": "k"}, {"outlives_readers": True}])
async def test_an_answer_for_later_needs_no_reader(
    parts: Services, options: dict[str, Any]
) -> None:
    """It goes on without one, whatever the body says."""
    body = {"prompt": "a", "on_disconnect": "cancel"}
    request = intake.prepare(parts, CALLER, parts.tasks["text"], body, **options)
    assert request.on_disconnect == "continue"


async def test_the_state_of_the_limits_is_reported(parts: Services) -> None:
    """After a start, and after a refusal."""
    caller = Caller("me", key="key_2", allowance=Allowance(tokens_per_minute=500))
    reports: list[Sequence[State]] = []
    body = {"prompt": unique(), "max_output_tokens": 300}
    request = intake.prepare(parts, caller, parts.tasks["text"], body)
    await intake.start(parts, caller, request, reports.append)
    with pytest.raises(RateLimited):
        await intake.start(parts, caller, request, reports.append)
    first, second = [[state for state in report if state[0] == "tokens"] for report in reports]
    assert first[0][2].allowed
    assert not second[0][2].allowed
