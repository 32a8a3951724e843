"""Generations: holds on logs, and what becomes of a log when its holders and readers go."""

import asyncio
import re
from contextlib import aclosing
from typing import Any

import pytest

from streamapi.errors import (
    GenerationExpired,
    IdempotencyKeyReused,
    NotFound,
    Overloaded,
    ShuttingDown,
    UpstreamUnavailable,
)
from streamapi.generation.event import Cancelled, Done, Event, Failed
from streamapi.generation.generation import Generation
from streamapi.generation.generations import Generations
from streamapi.generation.log_bounds import LogBounds
from streamapi.generation.memory_log import MemoryLogs
from streamapi.generation.model import Prompt
from streamapi.generation.request import Caller, GenerationRequest
from streamapi.tasks.text import TextParser
from tests.conftest import until
from tests.generation import scripted
from tests.generation.defaults import log_bounds, retry_policy
from tests.generation.scripted import END, Pause, Scripted, say

ME, YOU = Caller("me"), Caller("you")
GRACE = 0.15


def generations(bounds: LogBounds | None = None, grace: float = GRACE) -> Generations:
    return scripted.generations(MemoryLogs(bounds or log_bounds()), grace=grace)


def ask(*models: Scripted, **more: Any) -> GenerationRequest:
    return GenerationRequest(
        task="text", model="m", models=models, prompt=Prompt(()), parser=TextParser, **more
    )


def hanging() -> Scripted:
    """A model that says a word and then nothing more."""
    return Scripted([*say("a"), Pause(0.25), *say("b"), Pause(0.25), END])


def quick() -> Scripted:
    return Scripted([*say("a", "b"), END])


async def all_of(held: Generations, generation: Generation, after: int = 0) -> list[Event]:
    async with asyncio.timeout(5), aclosing(held.read(generation, after)) as batches:
        return [entry.event async for batch in batches for entry in batch]


async def read_first_content(held: Generations, generation: Generation) -> None:
    """Read until the first content, and leave."""
    async with asyncio.timeout(5), aclosing(held.read(generation)) as batches:
        async for batch in batches:
            if batch[-1].n > 1:
                return


async def ended(held: Generations, generation: Generation) -> Event:
    return (await all_of(held, generation))[-1]


# Start and find.


async def test_a_generation_is_answered() -> None:
    """Start, read to the end: the answer."""
    held = generations()
    generation = await held.start(ME, ask(quick()))
    assert isinstance(await ended(held, generation), Done)


async def test_ids_cannot_be_guessed() -> None:
    """An id has at least 128 random bits, and fits a URL and an SSE id."""
    held = generations()
    ids = {(await held.start(ME, ask(quick()))).id for _ in range(50)}
    assert len(ids) == 50
    assert not [one for one in ids if not re.fullmatch(r"gen_[A-Za-z0-9_-]{22,60}", one)]


async def test_another_owners_generation_is_not_found() -> None:
    """A generation of another owner and an unknown one give the same error."""
    held = generations()
    theirs = await held.start(YOU, ask(quick()))
    with pytest.raises(NotFound) as another:
        await held.find(ME, theirs.id)
    with pytest.raises(NotFound) as never:
        await held.find(ME, "gen_never-was")
    assert another.value.problem() == never.value.problem()
    assert await held.find(YOU, theirs.id) == theirs


async def test_a_log_outlives_the_request_that_began_it() -> None:
    """Cancelling the task that started a generation does not end it."""
    held = generations()
    started: list[Generation] = []

    async def request() -> None:
        started.append(await held.start(ME, ask(hanging())))
        await asyncio.sleep(60)

    task = asyncio.create_task(request())
    await until(lambda: started, "it has started")
    task.cancel()
    assert isinstance(await ended(held, started[0]), Done)


async def test_an_expired_generation_says_so() -> None:
    """A log that was forgotten after its time is `GenerationExpired`, from every verb."""
    now = [0.0]
    held = scripted.generations(MemoryLogs(log_bounds(ttl=10), lambda: now[0]))
    generation = await held.start(ME, ask(quick()))
    await ended(held, generation)
    now[0] = 11.0
    for verb in (held.tail, held.events, held.cancel, held.forget, lambda g: all_of(held, g)):
        with pytest.raises(GenerationExpired):
            await verb(generation)  # type: ignore[operator]


# Readers that leave.


async def test_cancel_on_disconnect_stops_at_once() -> None:
    """With `cancel` the last reader that leaves ends the log."""
    held, model = generations(), hanging()
    generation = await held.start(ME, ask(model, on_disconnect="cancel"))
    await read_first_content(held, generation)
    await until(lambda: model.closed, "the model's stream is closed", 0.1)
    assert await ended(held, generation) == Cancelled("disconnect")


async def test_cancel_on_disconnect_waits_for_the_last_reader() -> None:
    """Of two readers one may leave."""
    held, model = generations(), hanging()
    generation = await held.start(ME, ask(model, on_disconnect="cancel"))
    staying = asyncio.create_task(all_of(held, generation))
    await asyncio.sleep(0)
    await read_first_content(held, generation)
    assert isinstance((await staying)[-1], Done)


async def test_a_reader_that_is_cancelled_has_left() -> None:
    """A reader whose task is cancelled while it waits counts as one that left."""
    held, model = generations(), Scripted([Pause()])
    generation = await held.start(ME, ask(model, on_disconnect="cancel"))
    reading = asyncio.create_task(all_of(held, generation))
    await until(lambda: model.open, "the model is asked")
    reading.cancel()
    await until(lambda: model.closed, "the model's stream is closed", 0.2)


async def test_a_log_without_a_reader_ends_after_the_grace() -> None:
    """With `grace` the log goes on for a while, and is then let go."""
    held, model = generations(), Scripted([*say("a"), Pause()])
    generation = await held.start(ME, ask(model))
    loop = asyncio.get_running_loop()
    await read_first_content(held, generation)
    left = loop.time()
    await until(lambda: model.closed, "the model's stream is closed", 2)
    assert loop.time() - left >= GRACE * 0.9
    assert await ended(held, generation) == Cancelled("disconnect")


async def test_a_reader_that_returns_within_the_grace_saves_the_log() -> None:
    """A reader that comes back in time reads the log to its end."""
    held = generations()
    generation = await held.start(ME, ask(hanging()))
    await read_first_content(held, generation)
    assert isinstance(await ended(held, generation), Done)


async def test_each_departure_has_its_own_grace() -> None:
    """The grace of an earlier leaving does not cut short that of a later one."""
    held, model = generations(grace=0.1), Scripted([*say("a"), Pause()])
    generation = await held.start(ME, ask(model))
    loop = asyncio.get_running_loop()
    await read_first_content(held, generation)
    async with aclosing(held.read(generation, 2, silence=0.07)) as batches:
        await anext(batches)  # back for 0.07 s, and away again
    left = loop.time()
    await until(lambda: model.closed, "the model's stream is closed", 2)
    assert loop.time() - left >= 0.09


async def test_continue_needs_no_reader() -> None:
    """With `continue` the log is written to its end without a reader."""
    held, model = generations(grace=0), hanging()
    generation = await held.start(ME, ask(model, on_disconnect="continue"))
    await read_first_content(held, generation)
    assert isinstance(await ended(held, generation), Done)


@pytest.mark.parametrize("policy", ["grace", "cancel", "continue"])
async def test_a_reader_that_reads_to_the_end_has_not_left(policy: Any) -> None:
    """Leaving after the ending cancels nothing."""
    held = generations(grace=0)
    generation = await held.start(ME, ask(quick(), on_disconnect=policy))
    assert isinstance(await ended(held, generation), Done)
    await asyncio.sleep(0)
    assert isinstance(await ended(held, generation), Done)


async def test_five_hundred_readers_leave_one_by_one() -> None:
    """The count of readers is right however they come and go."""
    held, model = generations(), Scripted([*say("a"), Pause()])
    generation = await held.start(ME, ask(model, on_disconnect="cancel"))
    readers = [asyncio.create_task(all_of(held, generation)) for _ in range(500)]
    await until(lambda: model.open, "the model is asked")
    for reader in readers[:-1]:
        reader.cancel()
    await asyncio.wait(readers[:-1])
    await asyncio.sleep(0)
    assert model.open == 1
    readers[-1].cancel()
    await until(lambda: model.closed, "the model's stream is closed", 1)


# Cancel and forget.


async def test_cancel_waits_for_the_ending() -> None:
    """When `cancel` returns, the log has ended and the model was hung up on."""
    held, model = generations(), hanging()
    generation = await held.start(ME, ask(model))
    await read_first_content(held, generation)
    await held.cancel(generation)
    assert model.open == 0
    assert (await held.events(generation))[-1] == Cancelled("caller")


async def test_a_second_cancel_changes_nothing() -> None:
    """Also at the same time, and after the end."""
    held = generations()
    generation = await held.start(ME, ask(hanging()))
    await asyncio.gather(*(held.cancel(generation) for _ in range(5)))
    await held.cancel(generation)
    assert await ended(held, generation) == Cancelled("caller")


async def test_a_cancel_after_the_ending_changes_nothing() -> None:
    """An answer that was had stays had."""
    held = generations()
    generation = await held.start(ME, ask(quick()))
    before = await all_of(held, generation)
    await held.cancel(generation)
    assert await all_of(held, generation) == before


async def test_forgetting_a_running_generation_ends_it() -> None:
    """Its readers learn that it ended; then it cannot be found."""
    held, model = generations(), hanging()
    generation = await held.start(ME, ask(model))
    reading = asyncio.create_task(all_of(held, generation))
    await until(lambda: model.open, "the model is asked")
    await held.forget(generation)
    assert (await reading)[-1] == Cancelled("caller")
    with pytest.raises(NotFound):
        await held.find(ME, generation.id)


async def test_the_events_so_far_do_not_wait() -> None:
    """`events` of a running log returns at once."""
    held = generations()
    generation = await held.start(ME, ask(hanging()))
    await read_first_content(held, generation)
    async with asyncio.timeout(0.1):
        assert [event.type for event in await held.events(generation)] == ["start", "delta"]


# Idempotency.


def keyed(model: Scripted, digest: str = "d", key: str = "k") -> GenerationRequest:
    return ask(model, idempotency_key=key, digest=digest, on_disconnect="continue")


async def test_the_same_key_is_the_same_generation() -> None:
    """While it runs and after it: one generation, one request upstream."""
    held, model = generations(), hanging()
    first = await held.start(ME, keyed(model))
    again = await held.start(ME, keyed(model))
    await ended(held, first)
    after = await held.start(ME, keyed(model))
    assert first.id == again.id == after.id
    assert model.requests == 1


async def test_fifty_with_one_key_are_one_generation() -> None:
    """The same, when they all come at once."""
    held, model = generations(), hanging()
    started = await asyncio.gather(*(held.start(ME, keyed(model)) for _ in range(50)))
    assert len({generation.id for generation in started}) == 1
    await ended(held, started[0])
    assert model.requests == 1
    await until(lambda: held.running == 0, "nothing is being written")


async def test_another_request_under_a_key_is_refused() -> None:
    """A key stands for one request."""
    held, model = generations(), quick()
    await held.start(ME, keyed(model))
    with pytest.raises(IdempotencyKeyReused):
        await held.start(ME, keyed(model, digest="other"))


async def test_a_refused_request_leaves_no_log() -> None:
    """Refusals do not fill the logs: a client that repeats one cannot overload the server."""
    held = generations(log_bounds(max_logs=5))
    generation = await held.start(ME, keyed(quick()))
    await ended(held, generation)
    for _ in range(20):
        with pytest.raises(IdempotencyKeyReused):
            await held.start(ME, keyed(quick(), digest="other"))
    assert await held.start(ME, ask(quick()))
    assert await held.start(ME, keyed(quick())) == generation


async def test_a_log_that_cannot_be_held_is_not_written() -> None:
    """Its caller never learns of it, so it could not be read or cancelled."""

    class Unheld(MemoryLogs):
        async def hold(self, generation: Generation) -> None:
            raise Overloaded("There is no room.")

    lasting = retry_policy(attempt=60.0, idle=60.0)
    held = scripted.generations(Unheld(log_bounds()), lasting)
    model = Scripted([*say("a"), Pause()])
    with pytest.raises(Overloaded):
        await held.start(ME, ask(model, cache="off"))
    await until(lambda: not held.running, "nothing is written")
    assert not model.open


async def test_owners_do_not_share_keys() -> None:
    """The same key of another owner is another key."""
    held, model = generations(), quick()
    mine, yours = await held.start(ME, keyed(model)), await held.start(YOU, keyed(model))
    assert mine.id != yours.id
    assert yours.owner == "you"


@pytest.mark.parametrize("how", ["failed", "cancelled"])
async def test_a_failure_is_not_remembered(how: str) -> None:
    """A repeat of a request that failed or was cancelled is asked again."""
    held = generations()
    away = [UpstreamUnavailable("away", retry_after=60.0)]
    model = Scripted(away if how == "failed" else [Pause()], [*say("a"), END])
    first = await held.start(ME, keyed(model))
    if how == "cancelled":
        await until(lambda: model.open, "the model is asked")
        await held.cancel(first)
    assert (await ended(held, first)).type == how
    second = await held.start(ME, keyed(model))
    assert second.id != first.id
    assert isinstance(await ended(held, second), Done)
    assert await held.start(ME, keyed(model)) == second


async def test_fifty_that_repeat_a_failure_are_one_generation() -> None:
    """When many repeat a failed request at once, one is asked again and the others join it."""
    held = generations()
    model = Scripted([UpstreamUnavailable("away", retry_after=60.0)], [*say("a"), END])
    await ended(held, await held.start(ME, keyed(model)))
    started = await asyncio.gather(*(held.start(ME, keyed(model)) for _ in range(50)))
    assert len({generation.id for generation in started}) == 1
    await ended(held, started[0])
    assert model.requests == 2


async def test_a_forgotten_generation_frees_its_key() -> None:
    """After `forget` the key begins anew."""
    held, model = generations(), quick()
    first = await held.start(ME, keyed(model))
    await ended(held, first)
    await held.forget(first)
    assert (await held.start(ME, keyed(model))).id != first.id


# Bounds, and the end of the process.


async def test_one_generation_too_many_is_overloaded() -> None:
    """A start that is refused begins nothing; one that ends makes room."""
    held = generations(log_bounds(max_logs=2))
    models = [hanging() for _ in range(3)]
    first = await held.start(ME, ask(models[0]))
    await held.start(ME, ask(models[1]))
    with pytest.raises(Overloaded):
        await held.start(ME, ask(models[2]))
    await held.cancel(first)
    assert await held.start(ME, ask(models[2]))
    await held.close(0)


async def test_a_repeated_request_needs_no_room() -> None:
    """A full server answers a repeat, and lets an equal request join: neither opens a log."""
    held, model = generations(log_bounds(max_logs=2)), hanging()
    first = await held.start(ME, keyed(model))
    leader = await held.start(ME, ask(model, cache="use", cache_key="c"))
    assert await held.start(ME, keyed(model)) == first
    joined = await held.start(ME, ask(model, cache="use", cache_key="c"))
    assert (joined.log, joined.cache) == (leader.log, "collapsed")
    await ended(held, first)
    assert (await held.start(ME, ask(model, cache="use", cache_key="c"))).log == leader.log
    assert isinstance(await ended(held, first), Done)  # its log did not give way
    await held.close(0)


async def test_a_closing_process_takes_no_new_work() -> None:
    """`close` refuses what comes, and lets what runs come to its end."""
    held = generations()
    generation = await held.start(ME, ask(hanging()))
    closing = asyncio.create_task(held.close(5.0))
    await asyncio.sleep(0)
    with pytest.raises(ShuttingDown):
        await held.start(ME, ask(quick()))
    await closing
    assert isinstance((await held.events(generation))[-1], Done)


async def test_closing_ends_what_does_not_end_in_time() -> None:
    """At the bound every running log gets its ending, and the model is hung up on."""
    held, model = generations(), Scripted([*say("a"), Pause()])
    started = [await held.start(ME, ask(model, on_disconnect="continue")) for _ in range(20)]
    readers = [asyncio.create_task(ended(held, generation)) for generation in started]
    await until(lambda: model.open == 20, "all are asked")
    async with asyncio.timeout(1):
        await held.close(0.05)
    for ending in await asyncio.gather(*readers):
        assert isinstance(ending, Failed)
        assert ending.problem.code == "shutting_down"
    assert model.open == 0
    assert held.running == 0


async def test_a_second_close_changes_nothing() -> None:
    """The drain closes, and so does the end of the server."""
    held = generations()
    await held.start(ME, ask(Scripted([Pause()])))
    await held.close(0.01)
    await held.close(0.01)
    assert held.running == 0


async def test_ended_generations_leave_nothing_behind() -> None:
    """Three hundred answers later there are no tasks, readers or timers of theirs."""
    held = generations(grace=0.0)
    for _ in range(300):
        generation = await held.start(ME, ask(quick()))
        await read_first_content(held, generation)
        await held.forget(generation)
    await until(lambda: held.running == 0, "nothing is being written")
    await until(lambda: held.idle, "nobody reads, and nothing is being released")
    logs: Any = held._logs
    assert logs._logs == {}
    assert logs._size == 0
