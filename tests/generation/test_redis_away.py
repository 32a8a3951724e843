"""A Redis that is away, in every way that it can be: what goes on, what is refused, how soon it
heals. Each test has a server of its own to ill-treat."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from streamapi.errors import StoreUnavailable
from streamapi.generation.event import Cancelled
from streamapi.generation.generation import Generation
from streamapi.generation.log import Stopped, Tail
from streamapi.generation.redis.logs import RedisLogs
from streamapi.generation.request import Caller, GenerationRequest
from streamapi.tasks.text import TextParser
from tests.conftest import RedisServer, until
from tests.generation import scripted
from tests.generation.defaults import log_bounds
from tests.generation.scripted import END, PROMPT, Pause, Scripted, say
from tests.generation.test_log_contract import DONE, hold_on, text
from tests.generation.test_redis_races import (
    eventually,
    following,
    held,
    lost,
    process,
    read_to_end,
)

WAIT = 0.3 + 0.15  # what a request may lose, and what a busy machine may add
HEALED = 5.0

Harm = Callable[[RedisServer], None]
HARMS: dict[str, tuple[Harm, Harm]] = {
    "refused": (lambda server: server.stop(), lambda server: server.start()),
    "hanging": (lambda server: server.freeze(), lambda server: server.thaw()),
    "read-only": (
        lambda server: server.ask("REPLICAOF", "127.0.0.1", "1"),
        lambda server: server.ask("REPLICAOF", "NO", "ONE"),
    ),
    "no replicas": (
        lambda server: server.ask("CONFIG", "SET", "min-replicas-to-write", "1"),
        lambda server: server.ask("CONFIG", "SET", "min-replicas-to-write", "0"),
    ),
    "out of memory": (
        lambda server: server.ask("CONFIG", "SET", "maxmemory", "1mb"),
        lambda server: server.ask("CONFIG", "SET", "maxmemory", "0"),
    ),
}
"""How Redis goes away, and comes back."""


@pytest.fixture
async def server(redis_server: RedisServer) -> AsyncIterator[RedisServer]:
    """A server that the others do not share."""
    server = RedisServer(redis_server.folder)
    server.start()
    yield server
    server.stop()


@pytest.fixture(params=HARMS)
def harm(request: pytest.FixtureRequest) -> tuple[Harm, Harm]:
    return HARMS[request.param]


async def refused(asking: Awaitable[Any]) -> None:
    """It is refused, within the time that it may take."""
    began = time.monotonic()
    with pytest.raises(StoreUnavailable):
        await asking
    assert time.monotonic() - began < WAIT


async def in_time(asking: Awaitable[Any]) -> Any:
    """It is done, within the time that it may take."""
    began = time.monotonic()
    answer = await asking
    assert time.monotonic() - began < WAIT
    return answer


async def test_local_streams_go_on_without_redis(
    server: RedisServer, harm: tuple[Harm, Harm]
) -> None:
    """Without Redis: what is written here is read here, in time, to its end; what needs others
    is refused, in time. With it again: within five seconds others read all of it."""
    hurt, mend = harm
    async with process(server) as here, process(server) as there:
        before = await held(here, text(2))
        follower = await following(there, before, 2)
        elsewhere = await held(there)
        hurt(server)
        await in_time(here.append(before.log, 3, [text(3)]))
        during = await in_time(held(here, text(2)))
        await refused(here.claim("name", during.id, 60))
        await refused(here.find("gen_of-another"))
        await refused(here.tail(elsewhere.log))
        await refused(read_to_end(here, elsewhere))
        await refused(here.hold(hold_on(elsewhere.log, "-x")))
        await refused(here.release(elsewhere, "caller"))
        await refused(here.stop(elsewhere.log, "caller"))
        assert not here.available
        assert here.failures
        assert await in_time(here.find(during.id)) == during
        reading = asyncio.create_task(read_to_end(here, before))
        await in_time(here.append(before.log, 4, [text(4), DONE]))
        written = await in_time(reading)
        assert [entry.n for entry in written] == [1, 2, 3, 4, 5]

        mend(server)
        began = time.monotonic()
        await until(lambda: here.available and there.available, "it is back", HEALED)
        await eventually(lambda: _has(there, before, 5), "the ending is mirrored", HEALED)
        await eventually(lambda: _has(there, during, 2), "what runs is mirrored", HEALED)
        assert time.monotonic() - began < HEALED
        assert await read_to_end(there, before) == written == await follower
        assert await there.find(during.id) == during
        assert await here.claim("name", during.id, 60) == during.id
        await here.append(during.log, 3, [DONE])
        assert await there.tail(during.log) == Tail(3, True)


async def _has(logs: RedisLogs, generation: Generation, n: int) -> bool:
    try:
        return (await logs.tail(generation.log)).n >= n
    except Exception:
        return False


async def test_only_the_first_request_waits(server: RedisServer) -> None:
    """The circuit is open after one failure: no other request waits for a Redis that hangs."""
    async with process(server) as here:
        server.freeze()
        await refused(here.find("gen_first"))
        began = time.monotonic()
        for n in range(50):
            await refused(here.find(f"gen_{n}"))
        assert time.monotonic() - began < 0.1
        server.thaw()
        await until(lambda: here.available, "it is back", HEALED)


async def test_an_ending_waits_for_redis_for_a_bounded_time(server: RedisServer) -> None:
    """An ending that was begun when Redis hung is shown after the time-out, and is in Redis
    when that is back."""
    async with process(server) as here, process(server) as there:
        mine = await held(here, text(2))
        server.freeze()
        reading = asyncio.create_task(read_to_end(here, mine))
        began = time.monotonic()
        ending = asyncio.create_task(here.append(mine.log, 3, [DONE]))
        await asyncio.sleep(0.1)
        assert not reading.done()
        await ending
        assert 0.2 < time.monotonic() - began < WAIT
        assert (await in_time(reading))[-1].event == DONE
        server.thaw()
        await eventually(lambda: _has(there, mine, 3), "the ending is mirrored", HEALED)
        assert await read_to_end(there, mine) == await read_to_end(here, mine)


async def test_an_outage_longer_than_the_lease_kills_nothing(server: RedisServer) -> None:
    """No process could renew its lease while Redis was away, so no log counts as an orphan."""
    async with process(server) as here, process(server) as there:
        mine = await held(here, text(2))
        stopped: list[Stopped] = []
        here.on_stop(mine.log, stopped.append)
        reading = await following(there, mine, 2)
        server.freeze()
        await asyncio.sleep(1.2)
        server.thaw()
        await until(lambda: here.available and there.available, "it is back", HEALED)
        await asyncio.sleep(0.3)
        await here.append(mine.log, 3, [DONE])
        assert (await reading)[-1].event == DONE
        assert stopped == []


async def test_cancelling_works_without_redis(server: RedisServer) -> None:
    """A release stops a log that is written here, by what is known here; another process's
    hold, which is known here, keeps it."""
    async with process(server) as here, process(server) as there:
        alone, shared = await held(here), await held(here)
        other = hold_on(shared.log, "-b")
        await there.hold(other)
        stopped: list[str] = []
        here.on_stop(alone.log, lambda why: stopped.append(f"alone {why}"))
        here.on_stop(shared.log, lambda why: stopped.append(f"shared {why}"))
        await asyncio.sleep(0.1)
        server.stop()
        await in_time(here.release(alone, "caller"))
        await in_time(here.release(shared, "caller"))
        assert stopped == ["alone caller"]
        assert (await read_to_end(here, shared))[-1].event == Cancelled("caller")
        server.start()
        await eventually(lambda: _has(there, shared, 1), "it is mirrored again", HEALED)
        await there.release(other, "disconnect")
        await until(lambda: len(stopped) == 2, "the last one stops it")
        assert stopped[1] == "shared disconnect"


async def test_a_forget_without_redis_is_done_when_redis_is_back(
    server: RedisServer,
) -> None:
    """The call raises, because Redis still has the generation; Redis forgets it later."""
    async with process(server) as here, process(server) as there:
        mine = await held(here, text(2), DONE)
        server.freeze()
        await refused(here.forget(mine))
        server.thaw()
        await until(lambda: here.available and there.available, "it is back", HEALED)
        await eventually(lambda: _unknown(there, mine), "it is forgotten")
        assert server.ask("KEYS", f"*{mine.log}*") == []


async def _unknown(logs: RedisLogs, generation: Generation) -> bool:
    return await logs.find(generation.id) is None


async def test_a_process_starts_without_redis(server: RedisServer) -> None:
    """A process whose Redis is not there yet serves what it can, and the rest when it comes."""
    server.stop()
    async with process(server) as here:
        assert not here.available
        mine = await in_time(held(here, text(2)))
        server.start()
        async with process(server) as there:
            await eventually(lambda: _has(there, mine, 2), "it is mirrored", HEALED)
            await here.append(mine.log, 3, [DONE])
            assert (await read_to_end(there, mine))[-1].event == DONE


async def test_followers_outlive_a_restart(server: RedisServer) -> None:
    """A Redis that restarts, empty: followers miss nothing of what runs."""
    async with process(server) as here, process(server) as there:
        mine = await held(here, text(2))
        reading = await following(there, mine, 2)
        server.stop()
        server.start()
        for n in range(3, 30):
            await here.append(mine.log, n, [text(n)])
            await asyncio.sleep(0.03)
        await here.append(mine.log, 30, [DONE])
        assert [entry.n for entry in await reading] == list(range(1, 31))


async def test_a_writer_that_dies_with_redis_is_noticed(server: RedisServer) -> None:
    """Followers of a log that went with both get the ending, though later."""
    async with process(server) as there:
        async with process(server) as here:
            mine = await held(here, text(2))
            reading = await following(there, mine, 2)
            server.stop()
        server.start()
        assert lost((await reading)[-1])


async def test_a_loading_redis_counts_as_away(server: RedisServer) -> None:
    """A Redis that reads its data from disk refuses everything meanwhile; then it is there."""
    async with process(server) as here:
        mine = await held(here, text(2))
        server.stop()
        server.start("--enable-debug-command", "yes")
        server.ask("DEBUG", "POPULATE", "5000", "filler", "100")
        server.ask("SAVE")
        server.stop()
        slowly = ("--key-load-delay", "300", "--loading-process-events-interval-bytes", "1024")
        await until(lambda: not here.available, "it is away")
        starting = asyncio.get_running_loop().run_in_executor(None, server.start, *slowly)
        await until(lambda: _loading(server), "it is loading")
        await in_time(here.append(mine.log, 3, [text(3)]))
        await refused(here.claim("name", mine.id, 60))
        assert not here.available
        await starting
        await until(lambda: here.available, "it has loaded", HEALED)
        assert await here.claim("name", mine.id, 60) == mine.id


def _loading(server: RedisServer) -> bool:
    try:
        server.ask("PING")
    except OSError as error:
        return "loading" in str(error.__cause__)
    return False


async def test_scripts_that_redis_forgot_are_loaded_again(server: RedisServer) -> None:
    """No request fails."""
    async with process(server) as here, process(server) as there:
        mine = await held(here, text(2))
        server.ask("SCRIPT", "FLUSH")
        assert await there.find(mine.id) == mine
        await here.append(mine.log, 3, [DONE])
        assert await there.tail(mine.log) == Tail(3, True)
        assert here.failures == there.failures == 0


async def test_a_log_without_room_breaks_off_for_its_readers(server: RedisServer) -> None:
    """A process without room for a followed log raises for its readers; the log goes on."""
    small = log_bounds(max_total_bytes=3000)
    async with process(server) as here, process(server, small) as there:
        mine = await held(here, text(2))
        reading = await following(there, mine, 2)
        await here.append(mine.log, 3, [text(n) for n in range(3, 40)])
        with pytest.raises(Exception, match="memory"):
            await reading
        await here.append(mine.log, 40, [DONE])
        assert (await here.tail(mine.log)).ended


async def test_the_model_is_asked_while_redis_takes_the_hold(server: RedisServer) -> None:
    """A new generation is known everywhere before `start` returns it; its model is asked
    meanwhile. A caller that leaves then leaves nothing running."""
    async with process(server) as logs:
        generations = scripted.generations(logs, grace=0.0)
        model = Scripted([*say("a"), Pause(), END])
        ask = GenerationRequest(
            task="text", model="m", models=[model], prompt=PROMPT, parser=TextParser
        )
        server.freeze()
        starting = asyncio.create_task(generations.start(Caller("me"), ask))
        await until(lambda: model.open == 1, "the model is asked")
        assert not starting.done()
        starting.cancel()
        server.thaw()
        await until(lambda: (model.open, generations.running) == (0, 0), "nothing runs")
        await asyncio.wait_for(generations.start(Caller("me"), ask), HEALED)
        assert model.requests == 2
        await generations.close(0)
