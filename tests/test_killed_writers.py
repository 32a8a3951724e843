"""Writers are killed at random moments while readers read: each reader gets one ending, and no id
has two events. Real processes and a real Redis; one address in front of them forwards connections
to the surviving process. The test kills a few writers; `make torture` kills 200."""

import asyncio
import json
import random
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import websockets
from websockets.exceptions import WebSocketException

from streamapi.emulator import Emulator
from streamapi.generation.log import LOST_AT
from tests import sse
from tests.api.wire import ENDINGS
from tests.conftest import RedisServer, until
from tests.test_survival import TORTURE, Rig

ROUNDS, TOGETHER = (100, 2) if TORTURE else (1, 2)
"""Writers that a round kills at once: more would starve each other while they start."""

PACE = 0.02
"""Seconds between two events: two or three events lie between two writes to Redis."""

GIVE_UP = 90.0
"""Seconds in which every reader of a killed writer must have its ending: the lease and a busy
machine."""

Seen = list[tuple[str, int, str]]
"""Type, number and content of each event that one reader got, over all of its connections."""


class Address:
    """One address, like that of a load balancer: it forwards connections to `target`."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.url = ""
        self._pipes: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Address"]:
        """Listen on a free port within this context."""
        server = await asyncio.start_server(self._lead, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            for pipe in self._pipes:
                pipe.cancel()
            await asyncio.gather(*self._pipes, return_exceptions=True)

    async def _lead(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = self.target.removeprefix("http://").rpartition(":")
        try:
            there, back = await asyncio.open_connection(host, int(port))
        except OSError:
            writer.close()
            return
        for source, sink in ((reader, back), (there, writer)):
            pipe = asyncio.create_task(self._pipe(source, sink))
            self._pipes.add(pipe)
            pipe.add_done_callback(self._pipes.discard)

    async def _pipe(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
        except OSError:
            pass
        finally:
            sink.close()


def _prompt() -> str:
    return f"{uuid4().hex} [[words:30000]] [[chunk:3]] [[pace:{PACE}]]"


async def by_post(url: str, seen: Seen) -> None:
    """`POST /v1/text/stream`, then resumptions by POST."""
    await _by_sse(url, "POST", {"json": {"prompt": _prompt()}}, seen)


async def by_event_source(url: str, seen: Seen) -> None:
    """`GET /v1/text/stream`, and resumptions there until the answer is 204, like a browser whose
    page does not close the `EventSource`."""
    await _by_sse(url, "GET", {"params": {"prompt": _prompt()}}, seen)


async def _by_sse(url: str, method: str, request: dict[str, Any], seen: Seen) -> None:
    last = ""
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        while True:
            headers = {"Last-Event-ID": last} if last else {}
            with suppress(httpx.TransportError):
                async with client.stream(
                    method, "/v1/text/stream", headers=headers, **request
                ) as answer:
                    if answer.status_code == 204:
                        return
                    assert answer.status_code == 200, await answer.aread()
                    async for event in sse.events(answer):
                        if event.id:
                            last = event.id
                            seen.append((event.type, event.n, json.dumps(event.data)))
            await asyncio.sleep(0.1)


async def by_socket(url: str, seen: Seen) -> None:
    """`/v1/ws`, and `resume` after a socket was lost. After the ending one more `resume` must get
    the same ending."""
    generation = ""
    while len([kind for kind, *_ in seen if kind in ENDINGS]) < 2:
        with suppress(OSError, WebSocketException):
            async with websockets.connect(f"{url.replace('http', 'ws', 1)}/v1/ws") as socket:
                if generation:
                    said = {"type": "resume", "generation": generation, "after": seen[-1][1]}
                else:
                    said = {"type": "start", "task": "text", "request": {"prompt": _prompt()}}
                await socket.send(json.dumps(said))
                async for text in socket:
                    message = json.loads(text)
                    assert message["type"] != "error", message
                    if message["type"] == "ping":
                        continue
                    generation = message["generation"]
                    seen.append((message["type"], message.pop("n"), json.dumps(message)))
                    if message["type"] in ENDINGS:
                        break
        await asyncio.sleep(0.1)
    assert _without_request(seen.pop()) == _without_request(seen[-1])


def _without_request(event: tuple[str, int, str]) -> tuple[str, int, dict[str, Any]]:
    data = json.loads(event[2])
    data.get("problem", {}).pop("request_id", None)
    return event[0], event[1], data


async def by_javascript(url: str, logs: dict[str, Seen]) -> None:
    """The JavaScript client, which resumes by itself, with each of its transports."""
    process = await asyncio.create_subprocess_exec(
        "node", "--no-warnings", "--experimental-websocket", "--experimental-eventsource",
        str(Path(__file__).parent / "static" / "ask.mjs"), url, _prompt(),
        stdout=asyncio.subprocess.PIPE, limit=2**24,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        async for line in process.stdout:
            transport, kind, n, data = json.loads(line)
            assert kind != "error", (transport, data)
            logs[f"javascript {transport}"].append((kind, n, json.dumps(data)))
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
        await process.wait()


READERS = {"post": by_post, "EventSource": by_event_source, "socket": by_socket}
JAVASCRIPT = ("post", "follow", "eventsource", "websocket") if shutil.which("node") else ()


async def one_kill(rig: Rig, survivor: str) -> int:
    """Kill a writer while its readers read, wait for their endings, and return their number."""
    writer, url = await rig.serve()
    logs = {
        name: Seen()
        for name in (*READERS, *(f"javascript {transport}" for transport in JAVASCRIPT))
    }
    async with Address(url).open() as address, asyncio.TaskGroup() as readers:
        for name, read in READERS.items():
            readers.create_task(read(address.url, logs[name]))
        if JAVASCRIPT:
            readers.create_task(by_javascript(address.url, logs))
        await until_all(logs, lambda seen: len(seen) > 3)
        await asyncio.sleep(random.uniform(0, 0.5))  # the random moment
        address.target = survivor
        writer.kill()
        await until_all(logs, lambda seen: seen[-1][0] in ENDINGS)
    for name, seen in logs.items():
        one_ending(name, seen)
    return len(logs)


async def until_all(logs: dict[str, Seen], true: Callable[[Seen], bool]) -> None:
    """Wait until `true` holds for the events of each reader. A failure shows their last events."""
    try:
        await until(lambda: all(map(true, logs.values())), "all have come on", GIVE_UP)
    except AssertionError:
        far = {name: (len(seen), seen[-1][0] if seen else "") for name, seen in logs.items()}
        raise AssertionError(f"waited in vain for some of {far}") from None


def one_ending(name: str, seen: Seen) -> None:
    """The events count from 1 without repeats, and only the last one is an ending."""
    assert [kind for kind, *_ in seen if kind in ENDINGS] == ["failed"], name
    assert "producer_lost" in seen[-1][2], name
    assert [n for _, n, _ in seen] == [*range(1, len(seen)), LOST_AT], name


async def test_readers_on_a_killed_writer_have_one_ending_each(
    emulator: Emulator, redis_server: RedisServer
) -> None:
    """The readers use SSE by POST and GET, WebSocket, and the JavaScript client's transports."""
    kills = endings = 0
    async with AsyncExitStack() as stack:
        rig = Rig(emulator, redis_server, stack)
        _, survivor = await rig.serve()
        for _ in range(ROUNDS):
            async with AsyncExitStack() as writers:
                rig = Rig(emulator, redis_server, writers)
                endings += sum(
                    await asyncio.gather(*(one_kill(rig, survivor) for _ in range(TOGETHER)))
                )
                kills += TOGETHER
            if TORTURE:
                print(f"\r{kills} writers killed: {endings} readers, one ending each", end="")
