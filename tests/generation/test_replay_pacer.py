"""One replay goes on in each pass of the event loop, in the order in which they came."""

import asyncio

from streamapi.generation.replay_pacer import ReplayPacer


async def test_one_replay_goes_on_in_each_pass_of_the_loop() -> None:
    """However many there are; other readers do not wait for them."""
    pacer, order, now = ReplayPacer(), "", 0

    async def replay(name: str) -> None:
        nonlocal order
        for _ in range(5):
            await pacer.wait()
            order += name

    replays = [asyncio.create_task(replay(name)) for name in "abc"]
    while not all(task.done() for task in replays):
        now += 1
        await asyncio.sleep(0)
        assert len(order) <= now
        assert now < 100
    assert order.startswith("aabcabcabc")  # the first one waits for nobody
    assert sorted(order) == sorted("abc" * 5)


async def test_a_replay_that_leaves_holds_up_no_other() -> None:
    """A reader that was cancelled while it waited is passed over, and so is the last one."""
    pacer = ReplayPacer()
    waiting = [asyncio.create_task(pacer.wait()) for _ in range(4)]
    await asyncio.sleep(0)
    for task in (waiting[1], waiting[3]):
        task.cancel()
    async with asyncio.timeout(5):
        await asyncio.gather(waiting[0], waiting[2])
        await pacer.wait()
    assert [task.cancelled() for task in waiting] == [False, True, False, True]
