"""A chain of models at the default settings: what one model cannot, the next one can, and soon.

Where a time-out is awaited, all times are divided by the same factor.
"""

import asyncio
import time
from typing import Any

import pytest

from streamapi.emulator import Emulator
from tests.api.wire import TRANSPORTS, by_get, by_json, calls, unique
from tests.conftest import at_defaults, until

FIRST, SECOND = "gemini-3.5-flash", "gemini-3.8-flash"
TROUBLES = [
    "401",
    "403",
    "404",
    "429",
    "429_delay delay=10",
    "500",
    "503",
    "html",
    "empty",
    "reset",
]


def failing(fault: str) -> str:
    """A prompt to which the first model answers with a fault, and the second one in short."""
    return unique(f"[[fault:{fault} model={FIRST}]] [[words:3]]")


async def models_called(emulator: Emulator, *prompts: str) -> list[str]:
    """The models that got a request for the prompts."""
    return [call["model"] for prompt in prompts for call in await calls(emulator, prompt)]


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("fault", ["401", "429_delay delay=10", "503", "404"])
async def test_the_fallback_answers_at_once(emulator: Emulator, fault: str, transport: str) -> None:
    """One request to the model that cannot, no wait, and the next one's answer."""
    async with at_defaults(emulator, fallback_models=SECOND) as server:
        prompt = failing(fault)
        answer = await TRANSPORTS[transport](server, prompt, model=FIRST)
        assert answer.code == "done" if answer.events else answer.status == 200
        body = answer.ending.data if answer.events else answer.body
        assert await models_called(emulator, prompt) == [FIRST, SECOND]
    assert body["model"]["served"] == SECOND
    assert body["timings"]["first_token_ms"] < 5000  # nobody waited for the 10 s, or for a retry
    for wait in answer.waits:
        assert {"reason": "fallback", "attempt": 1, "delay": 0.0, "model": SECOND}.items() <= (
            wait.items()
        )
    assert len(answer.waits) == bool(answer.events)


@pytest.mark.parametrize(("factor", "share"), [(20, 20 / 20), (20, 45 / 3 / 20)])
async def test_the_fallback_of_a_model_that_hangs(
    emulator: Emulator, factor: float, share: float
) -> None:
    """`ATTEMPT_TIMEOUT`, or its share of the budget where that is less, and then the next one."""
    others = [SECOND] if share == 1 else [SECOND, "gemini-3.5-flash-lite"]
    async with at_defaults(emulator, factor, fallback_models=",".join(others)) as server:
        prompt = failing("hang")
        answer = await by_get(server, prompt, model=FIRST)
        assert await models_called(emulator, prompt) == [FIRST, SECOND]
    assert answer.code == "done"
    first = answer.ending.data["timings"]["first_token_ms"]
    assert share * 1000 - 50 <= first < 45 / factor * 1000  # its share, and never all of it
    assert [wait["reason"] for wait in answer.waits] == ["fallback"]


@pytest.mark.parametrize("fault", ["400", "blocked_prompt"])
async def test_what_the_caller_must_mend_is_not_passed_on(emulator: Emulator, fault: str) -> None:
    """Another model would be asked for what the first one refused."""
    async with at_defaults(emulator, fallback_models=SECOND) as server:
        prompt = failing(fault)
        assert (await by_json(server, prompt, model=FIRST)).status in (422, 502)
        assert await models_called(emulator, prompt) == [FIRST]


async def test_a_chain_that_is_refused(emulator: Emulator) -> None:
    """No model lets us in: 502, and the log has said why. One of them is only away: 503."""
    async with at_defaults(emulator, fallback_models=SECOND) as server:
        assert (await by_json(server, unique("[[fault:401]]"), model=FIRST)).status == 502
        both = unique(f"[[fault:503 model={FIRST}]] [[fault:401 model={SECOND}]]")
        answer = await by_json(server, both, model=FIRST)
    assert (answer.status, answer.body["code"]) == (503, "upstream_unavailable")


@pytest.mark.parametrize("fault", TROUBLES)
async def test_sixty_requests_beside_a_dead_model(emulator: Emulator, fault: str) -> None:
    """They ask it at most twenty times; `bench.fallback` measures what the others notice."""
    async with at_defaults(emulator, 10, fallback_models=SECOND) as server:
        prompts = [failing(fault) for _ in range(60)]
        answers: list[dict[str, Any]] = []
        for prompt in prompts:
            answers.append((await by_json(server, prompt, model=FIRST)).body)
        models = await models_called(emulator, *prompts)
    assert {answer["status"] for answer in answers} == {"done"}
    assert 1 <= models.count(FIRST) <= 20
    assert models.count(SECOND) == 60


async def test_sixty_requests_beside_a_model_that_hangs(emulator: Emulator) -> None:
    """The same of a model that says nothing at all: only five, and the probes, wait for it."""
    async with at_defaults(emulator, 100, fallback_models=SECOND) as server:
        prompts = [failing("hang") for _ in range(60)]
        answers = [(await by_json(server, prompt, model=FIRST)).body for prompt in prompts]
        models = await models_called(emulator, *prompts)
    assert {answer["status"] for answer in answers} == {"done"}
    assert models.count(FIRST) <= 20


async def test_fifty_requests_send_one_probe(emulator: Emulator) -> None:
    """Behind the cool-down one of fifty asks the model that failed; when it answers again, the
    next one goes to it. The probe hangs for longer than the others need on a busy machine."""
    slow = {"attempt_timeout": 6.0, "first_content_timeout": 15.0}
    async with at_defaults(emulator, 10, fallback_models=SECOND, **slow) as server:
        circuit = server.parts.generations.circuits.of(FIRST)
        for _ in range(5):
            await by_json(server, failing("503"), model=FIRST)
        assert circuit.until is not None
        await until(lambda: circuit.ready(time.monotonic()), "the cool-down is over")
        prompts = [failing("hang_after_text after=0 times=1") for _ in range(50)]
        answers = await asyncio.gather(*(by_json(server, it, model=FIRST) for it in prompts))
        assert [answer.status for answer in answers] == [200] * 50
        assert (await models_called(emulator, *prompts)).count(FIRST) == 1
        await until(lambda: circuit.ready(time.monotonic()), "the next cool-down is over")
        prompts = [unique("[[words:3]]") for _ in range(2)]
        for prompt in prompts:
            await by_json(server, prompt, model=FIRST)
        assert await models_called(emulator, *prompts) == [FIRST, FIRST]
    assert circuit.until is None
