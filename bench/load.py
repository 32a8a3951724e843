"""The load rig: one run against one address, in a process of its own.

    python -m bench.load < run.json

Modes: `once` (N streams, each asked once), `loop` (N slots that ask again and again until the
time is over), `hold` (streams kept open, in stages, until a line comes on stdin), `cut` (open,
see the first token, close; many times), `replay` (clients that begin to read and leave, beside
probes of another address). The answer is one line of JSON; `hold` prints one per stage.
"""

import asyncio
import json
import sys
import time
from typing import Any

from bench.client import Stream, http, open_stream, text_frame
from bench.proc import cpu_seconds
from bench.tally import Answer, Sample, answer, percentile, tally

try:
    from uvloop import run
except ImportError:
    from asyncio import run

SERIAL = b"@@@@@@@@"
"""Eight bytes of a request that become its number, so that no two are alike."""

MOST_BYTES = 150_000_000
"""What a run may keep; it ends when it has so much."""


class Rig:
    """One run."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config
        self.port: int = config["port"]
        self._request = config["request"].encode()
        self._message = config.get("message", "").encode()
        self._number = int(time.time() * 10) % 1_000_000 * 100

    async def open(self) -> Stream:
        """Ask, on a new connection."""
        self._number += 1
        serial = b"%08d" % (self._number % 100_000_000)
        message = text_frame(self._message.replace(SERIAL, serial)) if self._message else b""
        return await open_stream(self.port, self._request.replace(SERIAL, serial), message)

    def sample(self) -> Sample:
        """How much CPU was used until now."""
        trees = [self.config.get("tree"), self.config.get("upstream")]
        system, upstream = (cpu_seconds(pid) if pid else 0.0 for pid in trees)
        return Sample(time.perf_counter(), system, upstream, time.process_time())


async def once(rig: Rig) -> dict[str, Any]:
    """Every stream asked once. The window is from the last stream's first token to the first
    stream's end: all run in it, and nothing is asked."""
    count, ramp, limit = (rig.config[name] for name in ("streams", "ramp", "seconds"))
    began = time.perf_counter()

    async def one(n: int) -> Stream:
        await asyncio.sleep(began + ramp * n / count - time.perf_counter())
        return await rig.open()

    whole = rig.sample()
    streams = await asyncio.gather(*map(one, range(count)))
    await asyncio.wait([stream.first for stream in streams], timeout=limit)
    a = rig.sample()
    done = [stream.done for stream in streams]
    left = began + limit - time.perf_counter()
    if left > 0:
        await asyncio.wait(done, timeout=left, return_when=asyncio.FIRST_COMPLETED)
    b = rig.sample()
    left = began + limit - time.perf_counter()
    if left > 0:
        await asyncio.wait(done, timeout=left)
    window = (a, b) if b.at - a.at > 0.3 else (whole, rig.sample())
    answers = [answer(stream) for stream in streams]
    for stream in streams:
        stream.leave()
    told = tally(answers, rig.config["format"], rig.config["chunks"], window, asked_from=0.0)
    last = max((one.ended or time.perf_counter()) for one in answers)
    return {**told, "seconds": last - began}


async def loop(rig: Rig) -> dict[str, Any]:
    """Slots that ask again until the time is over, or enough was asked. The window begins when
    all slots have begun."""
    config = rig.config
    count, ramp = config["streams"], config["ramp"]
    began = time.perf_counter()
    until, most = began + config["seconds"], config.get("requests", 10**9)
    answers: list[Answer] = []
    open_now: set[Stream] = set()
    kept = 0

    async def slot(n: int) -> None:
        nonlocal kept
        await asyncio.sleep(ramp * n / count)
        stream = await rig.open()
        while True:
            open_now.add(stream)
            await stream.done
            answers.append(answer(stream))
            open_now.discard(stream)
            kept += sum(len(data) for _, data in stream.arrivals)
            if time.perf_counter() > until or len(answers) >= most or kept > MOST_BYTES:
                return
            if stream.ended is not None and config.get("keep_alive"):
                stream.again()
            else:
                stream.leave()
                stream = await rig.open()

    slots = [asyncio.create_task(slot(n)) for n in range(count)]
    await asyncio.sleep(ramp)
    a = rig.sample()
    await asyncio.wait(slots, timeout=max(0.1, until - time.perf_counter()))
    b = rig.sample()
    for task in slots:
        task.cancel()
    answers += [answer(stream) for stream in open_now]
    for stream in open_now:
        stream.leave()
    return tally(answers, config["format"], config["chunks"], (a, b), asked_from=a.at)


async def hold(rig: Rig) -> None:
    """Streams that stay open: after each stage a line is printed, and one is waited for."""
    held: list[Stream] = []
    for count in rig.config["stages"]:
        for start in range(0, count, 25):
            some = [await rig.open() for _ in range(min(25, count - start))]
            for stream in some:
                stream.wait_for(rig.config["pieces"])
            await asyncio.wait([stream.first for stream in some], timeout=5)
            held += some
            if not any(stream.first.done() for stream in some):
                break  # there is no room for more
        good = sum(not s.done.done() and s.seen() >= rig.config["pieces"] for s in held)
        print(json.dumps({"open": good, "asked": len(held)}), flush=True)
        await asyncio.to_thread(sys.stdin.readline)
    for stream in held:
        stream.leave()


async def cut(rig: Rig) -> dict[str, Any]:
    """Open, see the first token, close."""
    left, silent = rig.config["cycles"], 0
    began = time.perf_counter()

    async def cutter() -> None:
        nonlocal left, silent
        while left > 0:
            left -= 1
            stream = await rig.open()
            await asyncio.wait([stream.first], timeout=10)
            silent += b"of what was" not in b"".join(data for _, data in stream.arrivals)
            stream.leave()
            await stream.done

    await asyncio.gather(*(cutter() for _ in range(rig.config["streams"])))
    return {"seconds": time.perf_counter() - began, "silent": silent}


class Probe(Stream):
    """A short answer, whole with its first bytes."""

    def _is_end(self, data: bytes) -> bool:
        return True


async def replay(rig: Rig) -> dict[str, Any]:
    """Waves of clients that leave with the first bytes, and probes at a steady beat meanwhile,
    whether the one before has its answer or not."""
    path, waves, apart = rig.config["probe"], rig.config["waves"], rig.config["apart"]
    probes: list[Probe] = []
    running: list[asyncio.Task[None]] = []
    connect = asyncio.get_running_loop().create_connection

    async def probe() -> None:
        one = Probe(http("GET", path, rig.port))
        probes.append(one)
        await connect(lambda: one, "127.0.0.1", rig.port)
        await one.done
        one.leave()

    async def client() -> None:
        stream = await rig.open()
        await asyncio.wait([stream.first], timeout=10)
        stream.leave()

    for _ in range(waves):
        running += [asyncio.create_task(client()) for _ in range(rig.config["streams"])]
        for _ in range(int(apart / 0.01)):
            running.append(asyncio.create_task(probe()))
            await asyncio.sleep(0.01)
    await asyncio.wait(running, timeout=20)
    times = [one.ended - one.sent for one in probes if one.ended is not None]
    return {
        "probes": len(probes),
        "unanswered": len(probes) - len(times),
        "p50": percentile(times, 0.5),
        "p99": percentile(times, 0.99),
        "most": max(times, default=None),
    }


MODES = {"once": once, "loop": loop, "hold": hold, "cut": cut, "replay": replay}

if __name__ == "__main__":

    async def main() -> None:
        config = json.loads(sys.stdin.readline())
        told = await MODES[config["mode"]](Rig(config))
        if told is not None:
            print(json.dumps(told), flush=True)

    run(main())
