"""What is measured of every system, each figure by one run of the load rig.

A token is paced 20 ms, as a real model's are. CPU per event is taken while all streams run, so
what a request costs is not in it: that is a figure of its own.
"""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from bench.install import PEERS, Missing
from bench.proc import cpu_seconds, pss_kb, running
from bench.rig import free_port
from bench.systems import ROOT, Place, System
from bench.tally import percentile

PACE = 0.02
SETTLE_WITHIN = 15.0
UP_WITHIN = 90.0
"""Seconds for a system to listen and to answer its first request."""


class Scale(NamedTuple):
    """How much is measured."""

    paced_chunks: int = 200
    one_token: int = 600
    first_token: int = 40
    ttft_seconds: float = 5.0
    saturated_seconds: float = 3.0
    idle: int = 200
    sustained: tuple[int, ...] = (128, 512, 1024)
    sustained_chunks: int = 150
    cycles: tuple[int, int] = (2000, 10_000)
    readers: int = 500
    waves: int = 8


QUICK = Scale(100, 60, 15, 1.0, 1.0, 100, (128,), 75, (300, 900), 200, 2)


class Subject(NamedTuple):
    """A system that runs: where, and the processes whose CPU counts."""

    system: System
    place: Place
    pid: int
    upstream_pid: int


@contextmanager
def subject(
    system: System, upstream: tuple[int, int], env: Callable[[Place], Any] | None = None
) -> Iterator[Subject]:
    """Start a system before the upstream (its port and process), and check that it delivers."""
    with TemporaryDirectory(prefix="bench-") as folder:
        place = Place(free_port(), upstream[0], Path(folder))
        if not system.command(place):
            yield Subject(system, place._replace(port=upstream[0]), upstream[1], upstream[1])
            return
        log = PEERS / "logs" / f"{system.name}.log"
        settings = (env or system.env)(place)
        with running(system.command(place), ROOT, settings, log) as process:
            _wait_for(place.port, process, log)
            started = Subject(system, place, process.pid, upstream[1])
            _check(started)
            yield started


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + UP_WITHIN
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    last = log.read_text(errors="replace").strip().rpartition("\n")[2][:160]
    raise Missing(f"it did not start: {last.replace(str(ROOT), '.')}")


def _check(it: Subject) -> None:
    """Every token of some answers, or the system is not measured."""
    for _ in range(5):
        found = once(it, streams=3, chunks=40, ramp=0.1, pace=0.005, seconds=6)
        if found["complete"] == 3:
            return
        time.sleep(0.5)
    told = {name: found[name] for name in ("refused", "lost", "unfinished", "corrupt")}
    raise Missing(f"it does not deliver every token: {told} of {found['asked']}")


def settle(it: Subject) -> bool:
    """Wait until a system has done with what was asked before: peers go on for seconds with
    streams that nobody reads, and the next figure would pay for it. Whether it came to rest."""
    deadline = time.monotonic() + SETTLE_WITHIN
    before = cpu_seconds(it.pid)
    while time.monotonic() < deadline:
        time.sleep(0.4)
        now = cpu_seconds(it.pid)
        if now - before <= 0.02:
            return True
        before = now
    return False


def load(it: Subject, mode: str, prompt: str, request: bytes = b"", **config: Any) -> Any:
    """Run the load rig, and wait for what it tells."""
    with rig(it, mode, prompt, request, **config) as process:
        assert process.stdout is not None
        return json.loads(process.stdout.readline())


@contextmanager
def rig(
    it: Subject, mode: str, prompt: str, request: bytes = b"", **config: Any
) -> Iterator[subprocess.Popen[str]]:
    """The load rig, started on a run."""
    asked = request or it.system.ask(it.place, f"#@@@@@@@@ {prompt}")
    told = {
        "mode": mode, "port": it.place.port, "request": asked.decode(), "tree": it.pid,
        "upstream": it.upstream_pid, "format": it.system.format, **config,
    }  # fmt: skip
    with subprocess.Popen(
        [sys.executable, "-m", "bench.load"],
        cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(told) + "\n")
            process.stdin.flush()
            yield process
        finally:
            process.kill()  # what it had to tell was read, or is not wanted


def once(it: Subject, streams: int, chunks: int, ramp: float, pace: float = PACE, **more: Any):
    """Streams, each asked once."""
    prompt = f"[[pace:{pace}]] [[chunks:{chunks}]]"
    limit = more.pop("seconds", ramp + chunks * pace * 2 + 8)
    return load(
        it, "once", prompt, streams=streams, chunks=chunks, ramp=ramp, seconds=limit, **more
    )


def loop(it: Subject, streams: int, chunks: int, pace: float, seconds: float, **more: Any):
    """Slots that ask again until the time is over."""
    prompt = f"[[pace:{pace}]] [[chunks:{chunks}]]"
    ramp = more.pop("ramp", 0.3)
    return load(
        it, "loop", prompt, streams=streams, chunks=chunks, ramp=ramp, seconds=seconds, **more
    )


def cpu_per_event(found: dict[str, Any]) -> dict[str, Any]:
    """CPU and gaps of a paced run."""
    window = found["window"]
    events = max(1, window["events"])
    return {
        "cpu_us": window["system_cpu"] / events * 1e6,
        "upstream_us": window["upstream_cpu"] / events * 1e6,
        "load_us": window["load_cpu"] / events * 1e6,
        "gap_p99_ms": _ms(found["gap_p99"]),
        "complete": found["complete"] == found["streams"],
        "lost": found["lost"] + found["unfinished"],
    }


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000


def _times(found: dict[str, Any]) -> dict[str, Any]:
    times = found["ttft"]
    return {
        "p50_ms": _ms(percentile(times, 0.5)),
        "p99_ms": _ms(percentile(times, 0.99)),
        "count": len(times),
    }


def paced(it: Subject, scale: Scale) -> Any:
    return cpu_per_event(once(it, 50, scale.paced_chunks, 0.5))


def first_token_alone(it: Subject, scale: Scale) -> Any:
    return _times(loop(it, 1, 3, 0.002, 10, ramp=0, requests=scale.first_token))


def first_token_among_128(it: Subject, scale: Scale) -> Any:
    """128 slots that ask again as soon as they have their answer: some 60 requests a second."""
    return _times(loop(it, 128, 100, PACE, 2.0 + scale.ttft_seconds, ramp=2.0))


def first_token_among_50(it: Subject, scale: Scale) -> Any:
    """50 slots that ask again as soon as they have their answer: so some 25 requests a second."""
    return _times(loop(it, 50, 100, PACE, 2.0 + scale.ttft_seconds, ramp=2.0))


def first_token_of_128(it: Subject, scale: Scale) -> Any:
    """128 requests in the same moment."""
    return _times(once(it, 128, 25, 0.0))


def saturated(it: Subject, scale: Scale) -> Any:
    window = loop(it, 16, 2000, 0, scale.saturated_seconds, ramp=0)["window"]
    return {"events_per_second": window["events"] / window["seconds"]}


def request(it: Subject, scale: Scale) -> Any:
    found = loop(it, 4, 1, 0, 15, ramp=0, requests=scale.one_token, keep_alive=True)
    done = max(1, found["window"]["completed"])
    return {"cpu_ms": found["window"]["system_cpu"] / done * 1000, "count": done}


def sustained(it: Subject, scale: Scale) -> Any:
    """Ever more streams at once, until one is much too many."""
    told: dict[str, Any] = {}
    for streams in scale.sustained:
        ramp = streams / 256
        nominal = ramp + scale.sustained_chunks * PACE
        found = once(it, streams, scale.sustained_chunks, ramp, seconds=2 * nominal + 16)
        names = ("refused", "lost", "unfinished", "corrupt", "stalls", "longest_gap",
                 "events_per_read", "asked")  # fmt: skip
        told[str(streams)] = {
            **{name: found[name] for name in names},
            "late_s": found["seconds"] - nominal,
            "all": found["complete"] == streams,
        }
        if found["events"] < 0.7 * found["asked"]:
            break
        time.sleep(0.5)
    return told


def idle(it: Subject, scale: Scale, request: bytes = b"", count: int = 0) -> Any:
    """Memory of streams that are open and silent."""
    prompt, stages = "[[pace:0.001]] [[chunks:3]] [[hold]]", [50, count or scale.idle]
    with rig(it, "hold", prompt, request, pieces=2, stages=stages) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        sizes, opened = [], []
        for _ in stages:
            opened.append(json.loads(process.stdout.readline())["open"])
            time.sleep(1.0)
            sizes.append(pss_kb(it.pid))
            if len(sizes) < len(stages):
                process.stdin.write("\n")
                process.stdin.flush()
    more = opened[1] - opened[0]
    return {
        "kb": (sizes[1] - sizes[0]) / max(1, more),
        "open": opened[1],
        "asked": sum(stages),
        "base_mb": sizes[0] / 1e3,
    }


EVERY: dict[str, Callable[[Subject, Scale], Any]] = {
    "idle": idle,
    "paced": paced,
    "first_token_alone": first_token_alone,
    "first_token_among_128": first_token_among_128,
    "first_token_of_128": first_token_of_128,
    "request": request,
    "saturated": saturated,
    "sustained": sustained,
}
