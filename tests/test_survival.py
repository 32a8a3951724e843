"""Processes that are killed and connections that are cut, with real processes and a real Redis.
The tests run a few rounds; `make torture` runs hundreds, and prints how long they took."""

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from uuid import uuid4

import httpx
import pytest

from streamapi.emulator import Emulator
from streamapi.generation.log import LOST_AT
from tests import sse
from tests.conftest import RedisServer, until
from tests.test_server import serving

TORTURE = "TORTURE" in os.environ
ROUNDS, TOGETHER, CUTS, CLIENTS = (20, 4, 200, 500) if TORTURE else (2, 2, 12, 20)
FOLLOWERS = 3
ENDINGS = ("done", "failed", "cancelled")
LEASE = 5.0
"""Seconds for which `RedisLogs` takes a silent process for alive."""
LATE = 5.0
"""Seconds that a look for the lease, a start and a busy machine may add."""
BACK = 5.0
"""Seconds within which a reader that lost its connection has the next event."""


class Rig:
    """Starts servers on one Redis and one emulator. A test can kill each of them."""

    def __init__(self, emulator: Emulator, redis: RedisServer, stack: AsyncExitStack) -> None:
        self._settings = {
            "GEMINI_BASE_URL": emulator.url,
            "REDIS_URL": redis.url,
            "RATE_LIMIT": "off",
            "MAX_STREAMS": "0",
            "TOKENS_PER_MINUTE": "0",
            "UPSTREAM_CALLS": "5000",
            "LOG_LEVEL": "error",
        }
        self._stack = stack

    async def serve(self) -> tuple[asyncio.subprocess.Process, str]:
        """A server process and its address."""
        return await self._stack.enter_async_context(serving(**self._settings))


@pytest.fixture(scope="module")
async def rig(emulator: Emulator, redis_server: RedisServer) -> AsyncIterator[Rig]:
    """A starter of servers, which end with it."""
    async with AsyncExitStack() as stack:
        yield Rig(emulator, redis_server, stack)


@pytest.fixture(scope="module")
async def pair(rig: Rig) -> tuple[str, str]:
    """The addresses of two servers that no test kills."""
    (_, here), (_, there) = await asyncio.gather(rig.serve(), rig.serve())
    return here, there


async def follow(url: str, path: str, seen: list[sse.Seen], begun: asyncio.Event) -> None:
    """Read the events after those in `seen`, until the stream or its connection ends."""
    headers = {"Last-Event-ID": seen[-1].id} if seen else {}
    async with (
        httpx.AsyncClient(base_url=url, timeout=30) as client,
        client.stream("GET", path, headers=headers) as response,
    ):
        assert response.status_code == 200
        async for event in sse.events(response):
            if event.id:  # not a ping
                seen.append(event)
            if event.type == "delta":
                begun.set()


async def begin(url: str, words: int, pace: float) -> tuple[str, str]:
    """Start a long text. Returns the prompt, and the path of its events."""
    prompt = f"{uuid4().hex} [[words:{words}]] [[pace:{pace}]]"
    body = {"prompt": prompt, "on_disconnect": "continue"}
    async with httpx.AsyncClient(base_url=url, timeout=20) as client:
        answer = await client.post("/v1/text", json=body, headers={"Prefer": "respond-async"})
    assert answer.status_code == 202
    return prompt, answer.json()["events"]


async def followers(url: str, path: str) -> list[tuple[list[sse.Seen], "asyncio.Task[None]"]]:
    """Readers that have seen some content."""
    readers = []
    for _ in range(FOLLOWERS):
        seen: list[sse.Seen] = []
        begun = asyncio.Event()
        readers.append((seen, asyncio.create_task(follow(url, path, seen, begun))))
        await asyncio.wait_for(begun.wait(), 10)
    return readers


def whole(seen: list[sse.Seen]) -> None:
    """No event is missing or comes twice, and the text is that of the `done` event."""
    assert [event.n for event in seen] == list(range(1, len(seen) + 1))
    assert seen[-1].type == "done"
    assert sse.text(seen) == seen[-1].data["result"]["text"]


async def rounds(one: Callable[[], Awaitable[float]], what: str) -> None:
    """Run all rounds, some of them at the same time, and print how long the longest took."""
    took: list[float] = []
    while len(took) < ROUNDS:
        took += await asyncio.gather(*(one() for _ in range(TOGETHER)))
    worst, median = max(took), sorted(took)[len(took) // 2]
    print(f"\n{what}: {len(took)} rounds, median {median:.2f} s, worst {worst:.2f} s")


async def test_followers_of_a_killed_writer_get_an_ending(rig: Rig, pair: tuple[str, str]) -> None:
    """Each gets `failed` with `producer_lost` within the lease, and no other ending."""

    async def one() -> float:
        writer, here = await rig.serve()
        _, path = await begin(here, 2000, 0.05)
        readers = await followers(pair[1], path)
        writer.kill()
        began = time.monotonic()
        await asyncio.wait_for(asyncio.gather(*(task for _, task in readers)), LEASE + LATE)
        for seen, _ in readers:
            assert [event.n for event in seen] == [*range(1, len(seen)), LOST_AT]
            assert [event.type for event in seen if event.type in ENDINGS] == ["failed"]
            assert seen[-1].data["problem"]["code"] == "producer_lost"
        return time.monotonic() - began

    await rounds(one, "writer killed, until every follower knew")


async def test_readers_of_a_killed_process_lose_nothing(
    rig: Rig, pair: tuple[str, str], emulator: Emulator
) -> None:
    """They resume at the process that writes the log."""
    here, _ = pair

    async def one() -> float:
        reader, there = await rig.serve()
        prompt, path = await begin(here, 300, 0.02)
        readers = await followers(there, path)
        reader.kill()
        began = time.monotonic()
        await asyncio.gather(*(task for _, task in readers), return_exceptions=True)
        assert all(task.exception() for _, task in readers)  # cut, not ended
        again = [follow(here, path, seen, asyncio.Event()) for seen, _ in readers]
        await asyncio.wait_for(asyncio.gather(*again), 20)
        for seen, _ in readers:
            whole(seen)
            assert seen == readers[0][0]
        assert len(emulator.history.report(prompt)["calls"]) == 1
        return time.monotonic() - began

    await rounds(one, "reader killed, until its clients had all")


async def piece(url: str, path: str, last: str, most: int) -> list[sse.Seen]:
    """The events that are complete within the first bytes of a connection, up to `most`."""
    headers = {"Last-Event-ID": last} if last else {}
    read = b""
    async with (
        httpx.AsyncClient(base_url=url, timeout=20) as client,
        client.stream("GET", path, headers=headers) as response,
    ):
        assert response.status_code == 200
        async for chunk in response.aiter_raw():
            read += chunk
            if len(read) >= most:
                break
    read = read[:most]
    complete = read[: read.rfind(b"\n\n") + 2] if b"\n\n" in read else b""
    return [event for event in sse.parse(complete.decode().split("\n")) if event.id]


async def test_a_stream_cut_at_any_byte_goes_on_elsewhere(
    pair: tuple[str, str], emulator: Emulator
) -> None:
    """Each connection is cut at a random byte, and the next one goes to the other process."""
    chance = random.Random(4)
    prompt, path = await begin(pair[0], CUTS * 40, 0.01)
    uncut: list[sse.Seen] = []
    reading = asyncio.create_task(follow(pair[0], path, uncut, asyncio.Event()))
    seen: list[sse.Seen] = []
    live = 0
    for cut in range(CUTS):
        live += not reading.done()
        last = seen[-1].id if seen else ""
        seen += await piece(pair[1 - cut % 2], path, last, chance.randint(1, 2000))
        assert not seen or seen[-1].type in ("start", "delta")
    await follow(pair[1], path, seen, asyncio.Event())
    await reading
    whole(seen)
    assert seen == uncut
    assert len(emulator.history.report(prompt)["calls"]) == 1
    print(f"\ncut at {CUTS} bytes, {live} while it was written: {len(seen)} events, one call")


class Client:
    """A minimal reader, because there are many: it stores only the ids of its events."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.seen: list[int] = []
        self.last = ""
        self.statuses: list[bytes] = []

    async def read(self, url: str) -> None:
        """Read until the connection ends."""
        host, _, port = url.removeprefix("http://").rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            resume = f"Last-Event-ID: {self.last}\r\n" if self.last else ""
            writer.write(f"GET {self.path} HTTP/1.1\r\nHost: {host}\r\n{resume}\r\n".encode())
            self.statuses.append((await reader.readline())[9:12])
            async for line in reader:
                if line.startswith(b"id: "):
                    self.last = line[4:].strip().decode()
                    self.seen.append(int(self.last.rpartition(".")[2]))
        except ConnectionError:
            pass
        finally:
            writer.close()


async def test_many_readers_can_reconnect_at_once(rig: Rig, pair: tuple[str, str]) -> None:
    """A process is killed with all of its connections. Every reader reconnects to another process
    at the same time, and has the next event in time; none is refused."""
    here, _ = pair
    reader, there = await rig.serve()
    paths = [(await begin(here, 2000, 1.0))[1] for _ in range(CLIENTS)]
    clients = [Client(path) for path in paths]
    reading = [asyncio.create_task(client.read(there)) for client in clients]
    await until(lambda: all(len(it.seen) > 1 for it in clients), "all are receiving", 60)
    reader.kill()
    began = time.monotonic()
    await asyncio.gather(*reading)
    before = [len(client.seen) for client in clients]
    again = [asyncio.create_task(client.read(here)) for client in clients]
    try:
        await until(
            lambda: all(
                len(client.seen) > had for client, had in zip(clients, before, strict=True)
            ),
            "all are back",
            BACK,
        )
        print(
            f"\n{CLIENTS} lost at once: all had the next event {time.monotonic() - began:.2f} s on"
        )
    finally:
        for task in again:
            task.cancel()
        await asyncio.gather(*again, return_exceptions=True)
        await asyncio.gather(*(cancel(here, path) for path in paths))
    for client in clients:
        assert client.statuses == [b"200", b"200"]
        assert client.seen == list(range(1, len(client.seen) + 1))


async def cancel(url: str, path: str) -> None:
    """Cancel a generation that no test needs any more."""
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        await client.post(path.replace("/events", "/cancel"))
