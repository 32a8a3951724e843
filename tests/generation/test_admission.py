"""Turns: calls in flight are bounded, no key takes all of them, and every key gets its turn."""

import asyncio
import random

import pytest

from streamapi.errors import Overloaded
from streamapi.generation.admission import AdmissionBounds, FairQueue


def turns(calls: int, queue: int = 1000, queue_per_key: int = 1000) -> FairQueue:
    return FairQueue(AdmissionBounds(calls, queue, queue_per_key))


async def settled() -> None:
    """Let every task that can take a step take it."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_free_call_is_had_at_once() -> None:
    """Nobody waits without a reason."""
    model = turns(4)
    await model.take("a")
    await model.take("b")
    assert not model.idle
    model.release("a")
    model.release("b")
    assert model.idle


async def test_a_key_may_have_as_many_as_are_free() -> None:
    """Alone it gets half; with another, each gets a third; and the next one finds a call."""
    model = turns(12)
    for _ in range(6):
        assert model.free("a")
        await model.take("a")
    assert not model.free("a")
    for _ in range(3):
        assert model.free("b")
        await model.take("b")
    assert not model.free("b")
    assert model.free("c")


async def test_one_call_is_enough_for_all() -> None:
    """With a bound of one, keys take turns."""
    model, order = turns(1), list[str]()

    async def call(who: str) -> None:
        await model.take(who)
        order.append(who)
        model.release(who)

    await model.take("z")
    waiting = [asyncio.create_task(call(who)) for who in "aaabbc"]
    await settled()
    model.release("z")
    await asyncio.gather(*waiting)
    assert "".join(order) == "abcaba"
    assert model.idle


async def test_who_waits_long_does_not_hold_up_others() -> None:
    """A key with all its calls stalled and a thousand requests waiting is its own problem."""
    model = turns(600)
    for _ in range(300):
        await model.take("busy")
    waiting = [asyncio.create_task(model.take("busy")) for _ in range(1000)]
    await settled()
    async with asyncio.timeout(1):
        for _ in range(100):
            await model.take("other")
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    for who, count in (("busy", 300), ("other", 100)):
        for _ in range(count):
            model.release(who)
    assert model.idle


async def test_queues_are_bounded() -> None:
    """Of one key, and of all; who may call at once is not refused by a full queue."""
    model = turns(2, queue=3, queue_per_key=2)
    await model.take("a")
    waiting = [asyncio.create_task(model.take("a")) for _ in range(2)]
    await settled()
    with pytest.raises(Overloaded):
        await model.take("a")
    with pytest.raises(Overloaded):
        model.check("a")
    model.check("b")
    await model.take("b")
    waiting.append(asyncio.create_task(model.take("b")))
    await settled()
    with pytest.raises(Overloaded):
        await model.take("b")
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    model.check("a")


async def test_a_turn_that_comes_to_a_leaver_goes_on_to_the_next() -> None:
    """Cancelled in the very moment in which its turn comes: the turn is not lost."""
    model = turns(1)
    await model.take("z")
    leaver, next_one = (asyncio.create_task(model.take(who)) for who in "ab")
    await settled()
    model.release("z")
    leaver.cancel()
    async with asyncio.timeout(1):
        await next_one
    model.release("b")
    assert model.idle


async def test_a_leaver_is_passed_over() -> None:
    """Cancelled, and not yet gone from its queue when a call is released."""
    model = turns(1)
    await model.take("z")
    leaver, next_one = (asyncio.create_task(model.take(who)) for who in "ab")
    await settled()
    leaver.cancel()
    model.release("z")
    async with asyncio.timeout(1):
        await next_one
    await settled()
    model.release("b")
    assert model.idle


@pytest.mark.parametrize("seed", range(10))
async def test_whatever_comes_and_goes_nothing_is_lost(seed: int) -> None:
    """Many keys call, wait and leave at random: never too many calls, never one too many of a
    key, nobody waits for ever, and in the end nothing is held."""
    chance = random.Random(seed)
    calls = chance.choice((1, 2, 3, 8))
    model, held = turns(calls), dict[str, int]()

    async def call(who: str) -> None:
        await model.take(who)
        held[who] = held.get(who, 0) + 1
        assert sum(held.values()) <= calls
        try:
            for _ in range(chance.randint(0, 4)):
                await asyncio.sleep(0)
        finally:
            held[who] -= 1
            model.release(who)

    async def come(who: str) -> None:
        for _ in range(chance.randint(0, 30)):
            await asyncio.sleep(0)
        task = asyncio.create_task(call(who))
        for _ in range(chance.randint(0, 60)):
            await asyncio.sleep(0)
        if chance.random() < 0.3:
            task.cancel()
        await asyncio.wait({task})
        assert task.cancelled() or task.exception() is None

    async with asyncio.timeout(10):
        await asyncio.gather(*(come(chance.choice("abcde")) for _ in range(200)))
    assert model.idle
