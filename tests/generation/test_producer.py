"""The producer: whatever a model does, the log gets the truth and exactly one ending.

`ScriptedProducer.events` checks in every test that there is one ending, that it is last, and that
the producer's task did not fail.
"""

import asyncio
import gc
import time
from contextlib import aclosing
from typing import Any

import msgspec
import pytest

from streamapi.errors import (
    AccessRefused,
    ContentBlocked,
    ContextTooLong,
    ModelGone,
    ModelOutputInvalid,
    StreamapiError,
    UpstreamLimited,
    UpstreamRejected,
    UpstreamUnavailable,
)
from streamapi.generation.event import Cancelled, Delta, Event, Failed, Served, Usage, Wait
from streamapi.generation.health import CircuitBounds, Circuits
from streamapi.generation.model import Chunk, Prompt
from streamapi.tasks.code import CodeParser, CodeRequest
from tests.conftest import until
from tests.generation.defaults import admission, log_bounds
from tests.generation.scripted import (
    END,
    LOG,
    QUICK,
    Pause,
    Scripted,
    ScriptedProducer,
    done,
    eventually_closed,
    produce,
    say,
    text_of,
)

AWAY = UpstreamUnavailable("away")


def is_wait(event: Event) -> bool:
    return isinstance(event, Wait)


def is_delta(event: Event) -> bool:
    return isinstance(event, Delta)


# The way of a good answer.


async def test_an_answer_is_written_as_it_comes() -> None:
    """Each chunk is a delta; the ending has the whole text, and the usage."""
    model = Scripted([*say("Hel", "lo"), END])
    events = await produce(model)
    assert [event.type for event in events] == ["start", "delta", "delta", "done"]
    ending = done(events[-1])
    assert ending.result == {"text": "Hello"}
    assert ending.usage == Usage(3, 7, 1)
    assert ending.finish_reason == "stop"
    assert ending.served == Served("scripted-001", ())
    assert model.requests == 1


async def test_chunks_that_come_together_are_written_together() -> None:
    """All chunks of a slow moment are one append after the first content, so one write."""
    model = Scripted([(*say("He"), *say("l", "l", "o")), (*say(" ", "you"), END)])
    produced = await ScriptedProducer(model).begin()
    batches: list[int] = []
    async with aclosing(produced.logs.read(LOG)) as reading:
        async for batch in reading:
            batches.append(len(batch))
            await asyncio.sleep(0)
    assert text_of(await produced.events()) == "Hello you"
    assert sum(batches) == 8
    assert max(batches) >= 3


@pytest.mark.parametrize("first", [(), say("so ")], ids=["opening", "later"])
async def test_content_before_a_block_stands(first: list[Chunk]) -> None:
    """A batch that fails in its middle has said what stood before."""
    together = (*say("so " if not first else "", "far"), Chunk(blocked=True), *say("no more"))
    produced = await ScriptedProducer(Scripted([*first, together])).begin()
    assert await produced.code() == "content_blocked"
    assert text_of(await produced.events()) == "so far"


async def test_text_beside_the_finish_reason_is_content() -> None:
    """The last chunk may carry text and the finish reason at once, also the only one."""
    events = await produce(Scripted([Chunk("all of it", finish="length")]))
    assert text_of(events) == "all of it"
    assert done(events[-1]).finish_reason == "length"


async def test_parameters_that_a_model_does_not_take_are_named() -> None:
    """The answer lists what was dropped."""
    events = await produce(
        Scripted([*say("a"), END]), prompt=msgspec.structs.replace(Prompt(()), temperature=0.5)
    )
    assert done(events[-1]).served.dropped == ("temperature",)


async def test_thoughts_are_hidden() -> None:
    """A thought that the caller did not ask for is neither content nor an opening of the gate."""
    model = Scripted([Chunk(thought="hm"), AWAY], [Chunk(thought="ah"), *say("a"), END])
    events = await produce(model)
    assert [event.type for event in events] == ["start", "wait", "delta", "done"]
    assert model.requests == 2


async def test_a_wanted_thought_is_content() -> None:
    """A thought that the caller asked to see opens the gate: nothing is retried after it."""
    model = Scripted([Chunk(thought="hm"), AWAY])
    produced = ScriptedProducer(model, prompt=Prompt((), include_thoughts=True))
    assert await (await produced.begin()).code() == "upstream_interrupted"
    assert model.requests == 1


async def test_the_connection_is_closed_when_the_answer_is_over() -> None:
    """Nothing of a stream stays open after the ending."""
    model = Scripted([*say("a"), END])
    await produce(model)
    await eventually_closed(model)


async def test_chunks_after_the_finish_are_read() -> None:
    """Usage that comes after the finish reason counts."""
    events = await produce(Scripted([*say("a"), Chunk(finish="stop"), Chunk(usage=Usage(9, 9))]))
    assert done(events[-1]).usage == Usage(9, 9)


@pytest.mark.parametrize("script", [[*say("a"), END], [(*say("a"), END)]], ids=["apart", "at once"])
async def test_a_stream_that_stays_open_after_its_finish_is_closed(script: Any) -> None:
    """An answer that was finished is done, though its stream is not closed: much sooner than a
    silence in its middle would be given up."""
    model = Scripted([*script, Pause()])
    began = time.monotonic()
    retry_policy = msgspec.structs.replace(QUICK, idle=20.0, total=30.0)
    assert done((await produce(model, retry_policy=retry_policy))[-1]).result == {"text": "a"}
    assert time.monotonic() - began < 5
    await eventually_closed(model)


async def test_an_error_after_the_finish_changes_nothing() -> None:
    """What breaks after the model said that it had finished cost the caller nothing."""
    assert done((await produce(Scripted([*say("a"), END, AWAY])))[-1]).result == {"text": "a"}


# The gate, and retries before it.


RETRIED = [
    pytest.param([AWAY], "upstream_unavailable", id="an error"),
    pytest.param([Chunk(usage=Usage(1)), AWAY], "upstream_unavailable", id="an error in a stream"),
    pytest.param([], "upstream_unavailable", id="an end without a word"),
    pytest.param([END], "upstream_unavailable", id="an empty answer"),
    pytest.param([Chunk(""), Chunk(""), END], "upstream_unavailable", id="empty chunks"),
    pytest.param([Pause()], "upstream_timeout", id="silence"),
    pytest.param([Chunk(thought="hm"), Pause()], "upstream_timeout", id="silence after a thought"),
]


@pytest.mark.parametrize(("script", "code"), RETRIED)
@pytest.mark.parametrize("attempts", [1, 2, 4])
async def test_a_failure_before_content_is_retried_up_to_the_bound(
    script: Any, code: str, attempts: int
) -> None:
    """`attempts` requests, a `wait` between them, and then the failure of the last."""
    model = Scripted(script)
    retry_policy = msgspec.structs.replace(QUICK, attempts=attempts, attempt=0.02)
    events = await produce(model, retry_policy=retry_policy)
    assert model.requests == attempts
    assert [event.type for event in events] == ["start", *["wait"] * (attempts - 1), "failed"]
    failed = events[-1]
    assert isinstance(failed, Failed)
    assert failed.problem.code == code
    assert failed.problem.retryable
    await eventually_closed(model)


@pytest.mark.parametrize(("script", "code"), RETRIED)
async def test_a_passing_failure_leaves_only_wait_events(script: Any, code: str) -> None:
    """After two failures the third attempt's answer is whole and alone."""
    model = Scripted(script, script, [*say("a", "b"), END])
    events = await produce(model, retry_policy=msgspec.structs.replace(QUICK, attempt=0.05))
    assert [event.type for event in events] == ["start", "wait", "wait", "delta", "delta", "done"]
    waits = [event for event in events if isinstance(event, Wait)]
    assert [(wait.reason, wait.attempt, wait.model) for wait in waits] == [
        ("retry", 2, "scripted"),
        ("retry", 3, "scripted"),
    ]
    assert model.requests == 3


REJECTED = [
    UpstreamRejected("no"),
    ContextTooLong("long"),
    ContentBlocked("unsafe"),
]


@pytest.mark.parametrize("error", REJECTED, ids=lambda error: error.code)
async def test_a_refusal_is_not_retried(error: StreamapiError) -> None:
    """What the provider refuses, it would refuse again: one request, no fallback."""
    model, other = Scripted([error]), Scripted([*say("a"), END], name="other")
    assert await (await ScriptedProducer(model, other).begin()).code() == error.code
    assert (model.requests, other.requests) == (1, 0)


AFTER_CONTENT = [
    pytest.param(AWAY, "upstream_interrupted", id="away"),
    pytest.param(UpstreamRejected("no"), "upstream_interrupted", id="rejected"),
    pytest.param(ModelGone("gone"), "upstream_interrupted", id="gone"),
    pytest.param(ContextTooLong("long"), "upstream_interrupted", id="too long"),
    pytest.param(ContentBlocked("unsafe"), "content_blocked", id="blocked"),
    pytest.param(Pause(), "upstream_timeout", id="silence"),
    pytest.param(RuntimeError("a bug"), "internal", id="a bug"),
]


@pytest.mark.parametrize(("trouble", "code"), AFTER_CONTENT)
async def test_nothing_is_retried_after_the_first_content(trouble: Any, code: str) -> None:
    """After it a failure is the ending: one request, the text stands, no fallback."""
    model = Scripted([*say("so ", "far"), Chunk(usage=Usage(2, 2)), trouble])
    other = Scripted([*say("b"), END], name="other")
    produced = await ScriptedProducer(model, other).begin()
    assert await produced.code() == code
    events = await produced.events()
    assert text_of(events) == "so far"
    assert (model.requests, other.requests) == (1, 0)
    failed = events[-1]
    assert isinstance(failed, Failed)
    assert failed.usage == Usage(2, 2)
    await eventually_closed(model)


async def test_an_end_without_a_finish_reason_is_no_end() -> None:
    """A stream that stops in the middle is `upstream_truncated`, with what came."""
    produced = await ScriptedProducer(Scripted(say("so ", "far"))).begin()
    assert await produced.code() == "upstream_truncated"
    assert text_of(await produced.events()) == "so far"


# Waits.


async def test_the_providers_wait_is_honoured() -> None:
    """The next attempt waits as long as the provider asks for, and the `wait` event says so."""
    model = Scripted([UpstreamUnavailable("later", retry_after=0.12)], [*say("a"), END])
    events = await produce(model)
    wait = events[1]
    assert isinstance(wait, Wait)
    assert wait.delay == 0.12
    assert model.requested[1] - model.closed[0] >= 0.115


async def test_a_back_off_holds_no_slot() -> None:
    """While one waits before it asks again, another may call."""
    limits = admission(calls=1)
    later = UpstreamUnavailable("later", retry_after=0.2)
    model = Scripted([later], [*say("a"), END])
    produced = await ScriptedProducer(model, admission=limits).begin()
    await produced.come_to(is_wait)
    assert limits.of(model.name).free("another")
    await produced.task
    assert limits.of(model.name).idle


async def test_the_slot_is_released_however_a_call_ends() -> None:
    """An answer, a failure, a fallback, a bug, a stop: nothing is held afterwards."""
    limits = admission(calls=2)
    for script in (
        [*say("a"), END], [*say("a"), AWAY], [RuntimeError("a bug")], [AWAY], [Pause()],
        [*say("a"), Pause()],
    ):  # fmt: skip
        fallback = Scripted([END], name="b")
        produced = await ScriptedProducer(Scripted(script), fallback, admission=limits).begin()
        await produced.task
    for script in ([Pause()], [*say("a"), Pause()]):
        produced = await ScriptedProducer(Scripted(script), admission=limits).begin()
        await asyncio.sleep(0.01)
        produced.producer.stop("caller")
        await produced.task
    assert limits.of("scripted").idle
    assert limits.of("b").idle


async def test_the_backoff_doubles_and_is_jittered() -> None:
    """Without a wait of the provider's: at most b, 2b, 4b ..., somewhere between."""
    retry_policy = msgspec.structs.replace(QUICK, attempts=5, backoff=0.01)
    delays: list[list[float]] = []
    for _ in range(6):
        events = await produce(Scripted([AWAY]), retry_policy=retry_policy)
        delays.append([event.delay for event in events if isinstance(event, Wait)])
    for row in delays:
        assert all(0 <= delay <= 0.01 * 2**n + 0.001 for n, delay in enumerate(row))
    assert len({tuple(row) for row in delays}) == 6


async def test_a_wait_beyond_the_budget_fails_at_once() -> None:
    """A provider asks for a minute when there are two seconds left: the failure comes at once."""
    model = Scripted([UpstreamUnavailable("later", retry_after=60.0)])
    began = time.monotonic()
    events = await produce(model)
    assert time.monotonic() - began < 0.5
    failed = events[-1]
    assert isinstance(failed, Failed)
    assert (failed.problem.code, failed.problem.retry_after) == ("upstream_unavailable", 60.0)
    assert [event.type for event in events] == ["start", "failed"]
    assert model.requests == 1


async def test_all_attempts_share_one_budget() -> None:
    """However many attempts are allowed, together they end at the budget."""
    retry_policy = msgspec.structs.replace(QUICK, attempts=20, attempt=0.1, first_content=0.25)
    model = Scripted([Pause()])
    began = time.monotonic()
    assert (
        await (await ScriptedProducer(model, retry_policy=retry_policy).begin()).code()
        == "upstream_timeout"
    )
    assert 0.2 < time.monotonic() - began < 0.6
    assert model.requests in (2, 3)
    await eventually_closed(model)


# Deadlines after the gate.


async def test_the_answer_has_a_bound_in_total() -> None:
    """A model that never stops talking is stopped at `total`."""
    retry_policy = msgspec.structs.replace(QUICK, total=0.15, first_content=0.1)
    model = Scripted([step for _ in range(100) for step in (Chunk("x"), Pause(0.02))])
    began = time.monotonic()
    produced = await ScriptedProducer(model, retry_policy=retry_policy).begin()
    assert await produced.code() == "upstream_timeout"
    assert time.monotonic() - began < 0.5
    await eventually_closed(model)


async def test_a_slow_answer_is_not_a_silent_one() -> None:
    """Pauses shorter than `idle` may add up to more."""
    retry_policy = msgspec.structs.replace(QUICK, idle=0.1)
    model = Scripted([*[step for _ in range(8) for step in (Chunk("x"), Pause(0.03))], END])
    assert done((await produce(model, retry_policy=retry_policy))[-1]).result == {"text": "x" * 8}


async def test_the_first_content_ends_the_budget_for_it() -> None:
    """Once content has come, the attempt's own time-out is over."""
    retry_policy = msgspec.structs.replace(QUICK, attempt=0.05, first_content=0.06, idle=1.0)
    model = Scripted([*say("a"), Pause(0.15), *say("b"), END])
    assert done((await produce(model, retry_policy=retry_policy))[-1]).result == {"text": "ab"}


# The chain of models.


async def test_the_next_model_is_asked_when_the_first_cannot() -> None:
    """While another model stands ready a model has one attempt; the last one has them all."""
    first = Scripted([AWAY], name="first")
    second = Scripted([AWAY], [AWAY], [*say("a"), END], name="second")
    events = await produce(first, second)
    assert (first.requests, second.requests) == (1, 3)
    waits = [(w.reason, w.attempt, w.model) for w in events if isinstance(w, Wait)]
    assert waits == [("fallback", 1, "second"), ("retry", 2, "second"), ("retry", 3, "second")]
    assert done(events[-1]).served.model == "scripted-001"


PASSED_ON = [
    AWAY,
    UpstreamUnavailable("later", retry_after=1.5),
    UpstreamLimited("limited"),
    ModelGone("?"),
    AccessRefused("no access"),
    Pause(),
]


@pytest.mark.parametrize("trouble", PASSED_ON, ids=repr)
async def test_an_error_that_another_model_may_mend_is_passed_on_at_once(trouble: Any) -> None:
    """One request, no wait, however the first model fails; a model that hangs has its attempt."""
    retry_policy = msgspec.structs.replace(QUICK, attempt=0.05)
    first, second = Scripted([trouble], name="first"), Scripted([*say("a"), END], name="second")
    began = time.monotonic()
    events = await produce(first, second, retry_policy=retry_policy)
    assert time.monotonic() - began < 1.4
    assert (first.requests, second.requests) == (1, 1)
    assert [event.type for event in events] == ["start", "wait", "delta", "done"]
    assert events[1] == Wait("fallback", 1, 0.0, "second")
    await eventually_closed(first)


async def test_models_that_hang_share_the_budget() -> None:
    """Each gets what is left divided by the models that are left: none is left out."""
    retry_policy = msgspec.structs.replace(QUICK, attempt=5.0, first_content=0.3)
    models = [Scripted([Pause()], name=str(n)) for n in range(2)]
    models.append(Scripted([*say("a"), END], name="last"))
    events = await produce(*models, retry_policy=retry_policy)
    assert done(events[-1])
    assert [model.requests for model in models] == [1, 1, 1]
    delays = [model.requested[0] - models[0].requested[0] for model in models]
    assert delays[1] >= 0.09
    assert delays[2] >= 0.19


@pytest.mark.parametrize("queue", [0, 5], ids=["full", "slow"])
async def test_a_busy_model_passes_on(queue: int) -> None:
    """A full queue passes on at once, and one that is not passes on after `fallback_after`."""
    limits = admission(calls=1, queue=queue)
    await limits.of("first").acquire("someone")
    retry_policy = msgspec.structs.replace(QUICK, fallback_after=0.02)
    first, second = Scripted(name="first"), Scripted([*say("a"), END], name="second")
    events = await produce(first, second, admission=limits, retry_policy=retry_policy)
    assert (first.requests, second.requests) == (0, 1)
    waits = [(w.reason, w.model) for w in events if isinstance(w, Wait)]
    assert waits == [("queued", "first")] * bool(queue) + [("fallback", "second")]
    assert done(events[-1])


@pytest.mark.parametrize("order", [1, -1])
async def test_a_chain_fails_with_a_retryable_error(order: int) -> None:
    """When one model refuses us and another is away, asking again later may help: it is said."""
    models = [Scripted([AWAY], name="a"), Scripted([AccessRefused("no access")], name="b")][::order]
    assert await (await ScriptedProducer(*models).begin()).code() == "upstream_unavailable"


async def test_a_chain_that_is_refused_is_rejected() -> None:
    """A wrong key of the server is no error of the caller, who sees a refusal only."""
    models = [Scripted([AccessRefused("no access")], name=name) for name in "ab"]
    produced = await ScriptedProducer(*models).begin()
    assert await produced.code() == "upstream_rejected"
    assert [model.requests for model in models] == [1, 1]


# The circuits of the models.


async def test_a_model_that_fails_is_left_out() -> None:
    """After five failures in a row the next model is asked first; there is no `wait` event."""
    circuits = Circuits()
    first, second = Scripted([AWAY], name="first"), Scripted([*say("a"), END], name="second")
    for _ in range(20):
        events = await produce(first, second, circuits=circuits)
        assert done(events[-1])
    assert (first.requests, second.requests) == (5, 20)
    assert [event.type for event in events] == ["start", "delta", "done"]


async def test_a_chain_of_models_that_fail_is_asked_anyway() -> None:
    """The circuit makes no error of its own: one request fails and the next one asks again."""
    circuits = Circuits()
    model = Scripted([UpstreamLimited("limited", retry_after=60.0)])
    for _ in range(3):
        produced = await ScriptedProducer(model, circuits=circuits).begin()
        assert await produced.code() == "upstream_unavailable"
    assert model.requests == 3


OUTS: dict[str, Any] = {
    "an answer": [*say("a"), Pause()],
    "a failure": [AWAY],
    "a refusal": [UpstreamLimited("limited", retry_after=0.0)],
    "a bad request": [UpstreamRejected("no")],
    "blocked content": [ContentBlocked("unsafe")],
    "a bug": [KeyError("bug")],
    "a stop": [Pause()],
}


@pytest.mark.parametrize("out", OUTS)
async def test_the_slot_of_the_probe_is_freed(out: str) -> None:
    """However the request ends that probes a model, the next one may probe it."""
    circuits = Circuits(CircuitBounds(in_a_row=1, cool_down=1e-9, longest=1e-9))
    await produce(Scripted([AWAY], name="first"), circuits=circuits)
    circuit = circuits.of("first")
    assert circuit.until is not None
    model = Scripted(OUTS[out], name="first")
    retry_policy = msgspec.structs.replace(QUICK, attempts=1)
    produced = await ScriptedProducer(model, circuits=circuits, retry_policy=retry_policy).begin()
    if out == "a stop":
        while not model.open:
            await asyncio.sleep(0)
        assert not circuit.ready(time.monotonic())
    if out == "an answer":
        await produced.come_to(is_delta)
        assert circuit.until is None
    if model.open:
        produced.producer.stop("caller")
    await produced.task
    assert circuit.ready(time.monotonic() + 0.001)


async def test_fifty_at_once_send_one_probe() -> None:
    """After the cool-down one request asks the model; the others ask the next one."""
    circuits = Circuits(CircuitBounds(in_a_row=1, cool_down=1e-9, longest=1e-9))
    second = Scripted([*say("a"), END], name="second")
    await produce(Scripted([AWAY], name="first"), second, circuits=circuits)
    first = Scripted([Pause(0.05), *say("a"), END], name="first")
    together = await asyncio.gather(*(produce(first, second, circuits=circuits) for _ in range(50)))
    assert all(done(events[-1]) for events in together)
    assert (first.requests, second.requests) == (1, 50)
    await produce(first, second, circuits=circuits)
    assert first.requests == 2


# What the log of the server says.


LINES = [
    (AWAY, "upstream_unavailable: away"),
    (AccessRefused("refused", reason="status 401"), "upstream_rejected: status 401"),
    (Pause(), "upstream_timeout: The model had not begun"),
    (ContentBlocked("blocked"), "content_blocked: blocked"),
]


@pytest.mark.parametrize(("trouble", "line"), LINES, ids=lambda it: str(it)[:20])
@pytest.mark.parametrize("after", [False, True], ids=["before content", "after content"])
async def test_a_failed_attempt_logs_one_line(
    trouble: Any, line: str, after: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The model, the attempt, the code and the cause; and no word of the answer."""
    retry_policy = msgspec.structs.replace(QUICK, attempts=1, attempt=0.02, idle=0.02)
    with caplog.at_level("INFO", "streamapi.generation"):
        await produce(Scripted([*say("secret")] * after + [trouble]), retry_policy=retry_policy)
    [logged] = [r.getMessage() for r in caplog.records if "attempt" in r.getMessage()]
    assert logged.startswith("scripted, attempt 1: ")
    assert after or line in logged
    assert "secret" not in logged


async def test_the_cause_of_an_error_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The network's error has the reason why; its message may have what was sent, its kind not."""
    error = UpstreamUnavailable("The connection broke.")
    error.__cause__ = ConnectionRefusedError(111, "Connection refused", "secret")
    retry_policy = msgspec.structs.replace(QUICK, attempts=1)
    await produce(Scripted([error]), retry_policy=retry_policy)
    [line] = [r.getMessage() for r in caplog.records if "attempt" in r.getMessage()]
    assert line.endswith("The connection broke.; ConnectionRefusedError: Connection refused")


# A model that writes is alive.


class Silent:
    """A parser that shows nothing until the answer is over."""

    def __init__(self) -> None:
        self.held = ""

    def feed(self, text: str) -> list[Event]:
        self.held += text
        return []

    def flush(self) -> list[Event]:
        return [Delta(self.held, "text")] if self.held else []

    def result(self) -> dict[str, Any]:
        return {}


SIGNS = {"hidden thoughts": Chunk(thought="hm "), "held back text": Chunk("hm ")}


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize("models", [1, 2])
async def test_a_model_that_writes_is_alive(sign: str, models: int) -> None:
    """What no reader sees yet still says that the model works: no deadline but the total ends it,
    not the attempt's, not the budget of the first content, not the share of it."""
    retry_policy = msgspec.structs.replace(QUICK, attempt=0.3, first_content=0.5, idle=0.3)
    steps = [step for _ in range(14) for step in (SIGNS[sign], Pause(0.05))]
    model = Scripted([*steps, *say("a"), END])
    others = [Scripted([*say("b"), END], name="other")] * (models - 1)
    events = await produce(model, *others, retry_policy=retry_policy, parser=Silent)
    assert text_of(events).endswith("a")
    assert [event.type for event in events] == ["start", "delta", "done"]
    assert model.requests == 1


@pytest.mark.parametrize("language", [None, "python", "bash"])
async def test_a_code_answer_that_begins_with_prose(language: str | None) -> None:
    """It takes much longer than an attempt may, and is not asked for again: prose that cannot be
    code is shown as it comes, and what may be code still waits for its fence in peace."""
    retry_policy = msgspec.structs.replace(QUICK, attempt=0.05, first_content=0.1, idle=0.15)
    prose = ["Here ", "is ", "a ", "script: ", *["it ", "merges "] * 4, "\n"]
    steps = [step for word in prose for step in (Chunk(word), Pause(0.03))]
    model = Scripted([*steps, *say("```\na=1\n```\n"), END])
    request = CodeRequest(prompt="p", language=language)
    events = await produce(model, retry_policy=retry_policy, parser=lambda: CodeParser(request))
    assert done(events[-1]).result["code"] == "a=1\n"
    assert "wait" not in [event.type for event in events]
    assert model.requests == 1
    shown = [event for event in events if is_delta(event)]
    assert len(shown) >= (2 if language == "bash" else 9)


@pytest.mark.parametrize("sign", SIGNS)
async def test_a_model_that_falls_silent_before_content_is_asked_again(sign: str) -> None:
    """A model that writes is alive: after `idle` seconds of silence the attempt has failed."""
    retry_policy = msgspec.structs.replace(QUICK, attempt=0.02, idle=0.05)
    model = Scripted([SIGNS[sign], Pause()], [*say("a"), END])
    events = await produce(model, retry_policy=retry_policy, parser=Silent)
    assert [event.type for event in events] == ["start", "wait", "delta", "done"]
    await eventually_closed(model)


@pytest.mark.parametrize("sign", SIGNS)
async def test_after_the_budget_no_other_model_is_asked(sign: str) -> None:
    """A model that wrote may outlive the budget of the first content. The next one would have no
    time, and its circuit would take it for a failure."""
    retry_policy = msgspec.structs.replace(QUICK, attempt=0.02, first_content=0.05, idle=0.1)
    circuits = Circuits(CircuitBounds(in_a_row=1))
    second = Scripted([*say("a"), END], name="second")
    first = Scripted([SIGNS[sign], Pause()], name="first")
    produced = ScriptedProducer(
        first, second, retry_policy=retry_policy, parser=Silent, circuits=circuits
    )
    assert await (await produced.begin()).code() == "upstream_timeout"
    assert second.requests == 0
    assert circuits.of("second").until is None


@pytest.mark.parametrize("sign", SIGNS)
async def test_a_model_without_content_ends_at_the_total(sign: str) -> None:
    """A model that thinks for ever is stopped where every answer is."""
    retry_policy = msgspec.structs.replace(QUICK, attempt=0.05, first_content=0.1, total=0.3)
    model = Scripted([step for _ in range(100) for step in (SIGNS[sign], Pause(0.02))])
    began = time.monotonic()
    produced = await ScriptedProducer(model, retry_policy=retry_policy, parser=Silent).begin()
    assert await produced.code() == "upstream_timeout"
    assert 0.25 < time.monotonic() - began < 1.0
    assert model.requests == 1
    await eventually_closed(model)


async def test_an_error_before_content_is_retried() -> None:
    """The gate is the first content event, not the first word of the model."""
    model = Scripted([*say("hm"), AWAY], [*say("a"), END])
    events = await produce(model, parser=Silent)
    assert text_of(events) == "a"
    assert model.requests == 2


async def test_a_model_that_is_gone_is_asked_once() -> None:
    """A model that the provider does not know is not asked again; the next one is."""
    first, second = Scripted([ModelGone("?")], name="first"), Scripted([*say("a"), END])
    events = await produce(first, second)
    assert (first.requests, second.requests) == (1, 1)
    assert [event.type for event in events] == ["start", "wait", "delta", "done"]


async def test_a_chain_of_models_that_are_gone_is_rejected() -> None:
    """When no model of the chain exists, that is `upstream_rejected`, after one request each."""
    models = [Scripted([ModelGone("?")], name=str(n)) for n in range(3)]
    assert await (await ScriptedProducer(*models).begin()).code() == "upstream_rejected"
    assert [model.requests for model in models] == [1, 1, 1]


async def test_a_wait_that_does_not_fit_goes_to_the_next_model() -> None:
    """Rather than fail, a chain asks its next model when the first wants too long a wait."""
    first = Scripted([UpstreamUnavailable("later", retry_after=60.0)])
    second = Scripted([*say("a"), END], name="second")
    events = await produce(first, second)
    assert (first.requests, second.requests) == (1, 1)
    assert done(events[-1])


async def test_each_model_has_its_name_in_the_answer() -> None:
    """A model that does not name itself is named as the catalogue names it."""
    second = Scripted([*say("a"), Chunk(finish="stop")], name="second")
    events = await produce(Scripted([ModelGone("?")]), second)
    assert done(events[-1]).served.model == "second"


# Stopping.


async def stopped(produced: ScriptedProducer, why: Any = "caller") -> Event:
    produced.producer.stop(why)
    began = time.monotonic()
    ending = await produced.ending()
    assert time.monotonic() - began < 0.2
    return ending


async def test_stopped_before_its_first_step() -> None:
    """A producer that is stopped at once asks no model, and still ends its log."""
    model = Scripted([*say("a"), END])
    ending = await stopped(await ScriptedProducer(model).begin())
    assert ending == Cancelled("caller")
    await eventually_closed(model)


async def test_stopped_while_the_model_is_silent_before_content() -> None:
    """The connection to a model that hangs is closed at once."""
    model = Scripted([Pause()])
    produced = await ScriptedProducer(model).begin()
    while not model.open:
        await asyncio.sleep(0)
    assert await stopped(produced, "disconnect") == Cancelled("disconnect")
    assert model.open == 0
    assert model.requests == 1


async def test_stopped_in_the_middle() -> None:
    """What came stands, with what it cost; the connection is closed."""
    model = Scripted([Chunk("a", usage=Usage(4, 1)), Pause()])
    produced = await ScriptedProducer(model).begin()
    await produced.come_to(is_delta)
    assert await stopped(produced) == Cancelled("caller", Usage(4, 1))
    assert text_of(await produced.events()) == "a"
    assert model.open == 0


async def test_stopped_while_backing_off() -> None:
    """A wait for the next attempt ends at once, and there is no next attempt."""
    model = Scripted([UpstreamUnavailable("later", retry_after=1.5)])
    produced = await ScriptedProducer(model).begin()
    await produced.come_to(is_wait)
    assert await stopped(produced) == Cancelled("caller")
    assert model.requests == 1


async def test_stopped_after_the_end() -> None:
    """Stopping what is over changes nothing."""
    produced = await ScriptedProducer(Scripted([*say("a"), END])).begin()
    ending = await produced.ending()
    produced.producer.stop("caller")
    produced.producer.stop("shutdown")
    assert await produced.ending() == ending


async def test_stopped_twice_the_first_reason_counts() -> None:
    """Two stops of one log do not make two endings."""
    model = Scripted([*say("a"), Pause()])
    produced = await ScriptedProducer(model).begin()
    await produced.come_to(is_delta)
    produced.producer.stop("caller")
    produced.producer.stop("shutdown")
    assert await produced.ending() == Cancelled("caller")


async def test_a_shutdown_is_a_retryable_failure() -> None:
    """The caller did not want it to end: it is `shutting_down`, not `cancelled`."""
    produced = await ScriptedProducer(Scripted([*say("a"), Pause()])).begin()
    await produced.come_to(is_delta)
    ending = await stopped(produced, "shutdown")
    assert isinstance(ending, Failed)
    assert (ending.problem.code, ending.problem.retryable) == ("shutting_down", True)


async def test_a_task_that_is_cancelled_from_outside_ends_its_log() -> None:
    """Even a bare cancellation of the task, which nothing in the program does, leaves an ending."""
    produced = await ScriptedProducer(Scripted([*say("a"), Pause()])).begin()
    await produced.come_to(is_delta)
    produced.task.cancel()
    ending = await produced.ending()
    assert isinstance(ending, Failed)
    assert ending.problem.code == "shutting_down"


@pytest.mark.parametrize("passes", range(30))
async def test_stopped_at_any_moment_there_is_one_ending(passes: int) -> None:
    """In whichever pass of the loop a stop comes: one ending, nothing open."""
    script = [*say("a", "b", "c"), END]
    model = Scripted([AWAY], script)
    retry_policy = msgspec.structs.replace(QUICK, backoff=1e-9)
    produced = await ScriptedProducer(model, retry_policy=retry_policy).begin()
    for _ in range(passes):
        await asyncio.sleep(0)
    produced.producer.stop("caller")
    ending = await produced.ending()
    assert ending.type in ("cancelled", "done")
    await eventually_closed(model)


# Bugs, and bounds.


class Broken:
    """A parser with a bug in one of its methods."""

    def __init__(self, where: str, error: Exception) -> None:
        self.where, self.error = where, error

    def _break(self, here: str) -> None:
        if here == self.where:
            raise self.error

    def feed(self, text: str) -> list[Event]:
        self._break("feed")
        if text == "b":
            self._break("feed later")
        return [Delta(text, "text")]

    def flush(self) -> list[Event]:
        self._break("flush")
        return []

    def result(self) -> dict[str, Any]:
        self._break("result")
        return {}


@pytest.mark.parametrize("where", ["feed", "feed later", "flush", "result"])
async def test_a_bug_in_a_parser_is_an_ending(where: str) -> None:
    """Wherever a task's parser breaks, the log ends as `internal`, and is not tried again."""
    model = Scripted([*say("a", "b"), END])
    produced = ScriptedProducer(model, parser=lambda: Broken(where, ZeroDivisionError("secret")))
    assert await (await produced.begin()).code() == "internal"
    assert model.requests == 1
    assert "secret" not in str(await produced.ending())
    await eventually_closed(model)


@pytest.mark.parametrize("trouble", [AWAY, Pause(), RuntimeError("another")])
async def test_a_parser_that_breaks_at_a_failure_does_not_swallow_it(trouble: Any) -> None:
    """A bug in `flush`, while another failure is the ending, still leaves that ending."""
    model = Scripted([*say("a"), trouble])
    produced = ScriptedProducer(model, parser=lambda: Broken("flush", ZeroDivisionError("bug")))
    assert (await (await produced.begin()).ending()).type == "failed"


class Unencodable(Broken):
    """A parser whose last text, or whose result, cannot be written as UTF-8."""

    def flush(self) -> list[Event]:
        return [Delta("\ud800", "text")] if self.where == "flush" else []

    def result(self) -> dict[str, Any]:
        return {"text": "\ud800"}


@pytest.mark.parametrize("last", [END, AWAY, Pause()])
@pytest.mark.parametrize("where", ["flush", "result"])
async def test_what_cannot_be_encoded_does_not_cost_the_ending(where: str, last: Any) -> None:
    """The log ends all the same: as `internal`, or with the failure that was to be its ending."""
    model = Scripted([*say("a"), last])
    produced = ScriptedProducer(model, parser=lambda: Unencodable(where, ValueError()))
    assert (await (await produced.begin()).ending()).type == "failed"


async def test_a_parser_that_breaks_at_a_stop_does_not_swallow_it() -> None:
    """The same while the log is being stopped."""
    model = Scripted([*say("a"), Pause()])
    produced = ScriptedProducer(model, parser=lambda: Broken("flush", ZeroDivisionError("bug")))
    await (await produced.begin()).come_to(is_delta)
    assert (await stopped(produced)).type in ("cancelled", "failed")


async def test_a_bug_in_a_model_is_an_ending() -> None:
    """An exception that no contract knows is `internal`, without a second request."""
    model = Scripted([KeyError("secret")])
    produced = await ScriptedProducer(model).begin()
    assert await produced.code() == "internal"
    assert model.requests == 1


async def test_invalid_output_before_content_is_retried() -> None:
    """An answer in the wrong form, before any content, may come right the next time."""
    model = Scripted([*say("a"), END])
    tries = iter(["feed", "feed", "nowhere"])
    wrong = ModelOutputInvalid("wrong")
    produced = ScriptedProducer(model, parser=lambda: Broken(next(tries), wrong))
    assert await (await produced.begin()).code() == "done"
    assert model.requests == 3


@pytest.mark.parametrize("where", ["feed later", "result"])
async def test_invalid_output_after_content_is_the_ending(where: str) -> None:
    """After content there is no second try."""
    model = Scripted([*say("a", "b"), END])
    produced = ScriptedProducer(model, parser=lambda: Broken(where, ModelOutputInvalid("wrong")))
    assert await (await produced.begin()).code() == "model_output_invalid"
    assert model.requests == 1


async def test_an_endless_answer_is_cut_and_its_connection_closed() -> None:
    """An answer beyond the bounds of a log ends as `output_too_large`; the model is hung up on."""
    model = Scripted([Chunk("x" * 100)] * 1000)
    produced = await ScriptedProducer(model, bounds=log_bounds(max_bytes=5000)).begin()
    assert await produced.code() == "output_too_large"
    assert model.open == 0
    assert len(text_of(await produced.events())) < 5000


async def test_a_first_chunk_can_be_too_large() -> None:
    """The first content may be beyond the bound by itself; the connection is closed then too."""
    model = Scripted([Chunk("x" * 10_000), Pause()])
    produced = await ScriptedProducer(model, bounds=log_bounds(max_bytes=5000)).begin()
    assert await produced.code() == "output_too_large"
    assert model.open == 0


class HoldsBack:
    """A parser that gives a first word and holds all else back."""

    def __init__(self) -> None:
        self.held = ""

    def feed(self, text: str) -> list[Event]:
        if text == "first ":
            return [Delta(text, "text")]
        self.held += text
        return []

    def flush(self) -> list[Event]:
        return [Delta(self.held, "text")] if self.held else []

    def result(self) -> dict[str, Any]:
        return {}


@pytest.mark.parametrize("trouble", [AWAY, Pause(), None, ContentBlocked("unsafe"), END])
async def test_held_back_text_comes_before_any_ending(trouble: Any) -> None:
    """Whatever ends an answer, the text that its parser held back comes first, once."""
    script = [*say("first ", "held"), *([trouble] if trouble else [])]
    assert text_of(await produce(Scripted(script), parser=HoldsBack)) == "first held"


async def test_held_back_text_comes_before_a_stop() -> None:
    """The same when the log is stopped."""
    model = Scripted([*say("first ", "held"), Pause()])
    produced = await ScriptedProducer(model, parser=HoldsBack).begin()
    await produced.come_to(is_delta)
    await asyncio.sleep(0.01)  # until the model has said the rest: no event shows it
    produced.producer.stop("caller")
    assert text_of(await produced.events()) == "first held"


class LooksUp(HoldsBack):
    """A parser that gives what it holds only when it has looked something up."""

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__()
        self.seconds = seconds
        self.known = ""
        self.finished: list[bool] = []

    @property
    def waits(self) -> bool:
        return bool(self.held)

    async def look_up(self, finished: bool) -> None:
        self.finished.append(finished)
        await asyncio.sleep(self.seconds)
        self.known, self.held = self.known + self.held, ""

    def feed(self, text: str) -> list[Event]:
        known, self.known = self.known, ""
        return [Delta(known, "text")] if known else super().feed(text) if text else []


async def test_a_parser_may_look_things_up() -> None:
    """It looks up when it waits, and once when the model has finished; not in between."""
    parser = LooksUp()
    model = Scripted([*say("a", "first ", "b", "c"), END])
    events = await produce(model, parser=lambda: parser)
    assert [event.text for event in events if isinstance(event, Delta)] == ["a", "first ", "b", "c"]
    assert events[-1].type == "done"
    assert parser.finished == [False, False, False, True]


async def test_a_stop_does_not_wait_for_a_look_up() -> None:
    """It comes at once, after the text that was held back."""
    model = Scripted([*say("first ", "held"), Pause()])
    parser = LooksUp(60)
    produced = await ScriptedProducer(model, parser=lambda: parser).begin()
    await produced.come_to(is_delta)
    await until(lambda: parser.finished, "it looks something up")
    assert await stopped(produced) == Cancelled("caller")
    assert text_of(await produced.events()) == "first held"
    await eventually_closed(model)


async def test_the_ending_of_another_process_stops_the_writer() -> None:
    """A writer whose log was ended by another process gives up, and closes its connection."""
    model = Scripted([*say("a"), Pause(0.02), *say("b"), Pause()])
    produced = await ScriptedProducer(model).begin()
    await produced.come_to(is_delta)
    await produced.logs.append("log_produced", 3, [Cancelled("caller")])
    assert await produced.ending() == Cancelled("caller")
    await eventually_closed(model)


async def test_nothing_is_left_of_a_thousand_answers() -> None:
    """Producers, streams and timers are gone when their logs have ended."""
    model = Scripted([*say("a"), END])
    await asyncio.gather(*(produce(model) for _ in range(300)))
    gc.collect()
    assert model.open == 0
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("produce ")]
