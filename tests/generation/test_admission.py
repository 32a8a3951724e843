"""Admission: calls in flight are bounded, and every account gets its share of them."""

import asyncio
import random

import pytest

from streamapi.errors import Overloaded
from streamapi.generation.admission import AdmissionBounds, FairQueue


def fair_queue(calls: int, queue: int = 1000, queue_per_account: int = 1000) -> FairQueue:
    return FairQueue(AdmissionBounds(calls, queue, queue_per_account))


async def settled() -> None:
    """Let every task that can take a step take it."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_free_slot_is_acquired_at_once() -> None:
    """No request waits without a reason."""
    model = fair_queue(4)
    await model.acquire("a")
    await model.acquire("b")
    assert not model.idle
    model.release("a")
    model.release("b")
    assert model.idle


async def test_an_account_may_have_as_many_calls_as_are_free() -> None:
    """Alone it gets half; two get a third each; and the next one still finds a free call."""
    model = fair_queue(12)
    for _ in range(6):
        assert model.free("a")
        await model.acquire("a")
    assert not model.free("a")
    for _ in range(3):
        assert model.free("b")
        await model.acquire("b")
    assert not model.free("b")
    assert model.free("c")


async def test_a_single_slot_serves_all_accounts() -> None:
    """With a bound of one, the accounts call in rotation."""
    model, order = fair_queue(1), list[str]()

    async def call(account: str) -> None:
        await model.acquire(account)
        order.append(account)
        model.release(account)

    await model.acquire("z")
    waiting = [asyncio.create_task(call(account)) for account in "aaabbc"]
    await settled()
    model.release("z")
    await asyncio.gather(*waiting)
    assert "".join(order) == "abcaba"
    assert model.idle


async def test_a_long_queue_does_not_hold_up_other_accounts() -> None:
    """An account with all its calls stalled and a thousand requests waiting harms only itself."""
    model = fair_queue(600)
    for _ in range(300):
        await model.acquire("busy")
    waiting = [asyncio.create_task(model.acquire("busy")) for _ in range(1000)]
    await settled()
    async with asyncio.timeout(1):
        for _ in range(100):
            await model.acquire("other")
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    for account, count in (("busy", 300), ("other", 100)):
        for _ in range(count):
            model.release(account)
    assert model.idle


async def test_queues_are_bounded() -> None:
    """Of one account, and of all. A request that may call at once passes a full queue."""
    model = fair_queue(2, queue=3, queue_per_account=2)
    await model.acquire("a")
    waiting = [asyncio.create_task(model.acquire("a")) for _ in range(2)]
    await settled()
    with pytest.raises(Overloaded):
        await model.acquire("a")
    with pytest.raises(Overloaded):
        model.check("a")
    model.check("b")
    await model.acquire("b")
    waiting.append(asyncio.create_task(model.acquire("b")))
    await settled()
    with pytest.raises(Overloaded):
        await model.acquire("b")
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    model.check("a")


async def test_the_slot_of_a_cancelled_request_goes_to_the_next() -> None:
    """Cancelled in the moment in which it is admitted: its slot is not lost."""
    model = fair_queue(1)
    await model.acquire("z")
    leaver, next_one = (asyncio.create_task(model.acquire(account)) for account in "ab")
    await settled()
    model.release("z")
    leaver.cancel()
    async with asyncio.timeout(1):
        await next_one
    model.release("b")
    assert model.idle


async def test_a_cancelled_request_is_passed_over() -> None:
    """Cancelled, and not yet gone from its queue when a call is released."""
    model = fair_queue(1)
    await model.acquire("z")
    leaver, next_one = (asyncio.create_task(model.acquire(account)) for account in "ab")
    await settled()
    leaver.cancel()
    model.release("z")
    async with asyncio.timeout(1):
        await next_one
    await settled()
    model.release("b")
    assert model.idle


@pytest.mark.parametrize("seed", range(10))
async def test_no_slot_is_lost(seed: int) -> None:
    """Many accounts call, wait and leave at random. There are never too many calls, no request
    waits for ever, and in the end nothing is held."""
    chance = random.Random(seed)
    calls = chance.choice((1, 2, 3, 8))
    model, held = fair_queue(calls), dict[str, int]()

    async def call(account: str) -> None:
        await model.acquire(account)
        held[account] = held.get(account, 0) + 1
        assert sum(held.values()) <= calls
        try:
            for _ in range(chance.randint(0, 4)):
                await asyncio.sleep(0)
        finally:
            held[account] -= 1
            model.release(account)

    async def come(account: str) -> None:
        for _ in range(chance.randint(0, 30)):
            await asyncio.sleep(0)
        task = asyncio.create_task(call(account))
        for _ in range(chance.randint(0, 60)):
            await asyncio.sleep(0)
        if chance.random() < 0.3:
            task.cancel()
        await asyncio.wait({task})
        assert task.cancelled() or task.exception() is None

    async with asyncio.timeout(10):
        await asyncio.gather(*(come(chance.choice("abcde")) for _ in range(200)))
    assert model.idle
