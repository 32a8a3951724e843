"""What only streamapi has: WebSockets, replays, readers that share a log, and cut streams."""

import json
import time
import urllib.request
from contextlib import AbstractContextManager
from typing import Any

from bench.client import handshake, http
from bench.measures import Scale, Subject, cpu_per_event, idle, load, once, subject
from bench.mirror import mirror
from bench.proc import descriptors, pss_kb
from bench.systems import STREAMAPI, Place, streamapi_env

Upstream = tuple[int, int]
REPLAYED = 8_500
"""Events of a log of 1.1 MB on the wire; by the default bound, one may weigh 2 MB in memory."""


def _start(it: Subject, prompt: str, **fields: object) -> str:
    """Begin a generation that nobody reads; its id."""
    body = json.dumps({"prompt": prompt, **fields}).encode()
    headers = {"Content-Type": "application/json", "Prefer": "respond-async"}
    url = f"http://127.0.0.1:{it.place.port}/v1/text"
    with urllib.request.urlopen(urllib.request.Request(url, body, headers)) as answer:
        return str(json.load(answer)["id"])


def _get(it: Subject, path: str) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{it.place.port}{path}") as answer:
        return json.load(answer)


def _events(it: Subject, generation: str) -> bytes:
    return http("GET", f"/v1/generations/{generation}/events", it.place.port)


def websocket(it: Subject, scale: Scale) -> Any:
    """50 sockets with one generation each."""
    prompt = f"#@@@@@@@@ [[pace:0.02]] [[chunks:{scale.paced_chunks}]]"
    message = json.dumps({"type": "start", "task": "text", "request": {"prompt": prompt}})
    shake = handshake("/v1/ws", it.place.port)
    found = once(
        it, 50, scale.paced_chunks, 0.5, request=shake, message=message, format="websocket"
    )
    return cpu_per_event(found)


def readers(it: Subject, scale: Scale) -> Any:
    """Memory of further readers of one log that is open and silent."""
    generation = _start(it, "[[pace:0.001]] [[chunks:3]] [[hold]]")
    time.sleep(0.3)
    return idle(it, scale, _events(it, generation), scale.readers)


def replay(upstream: Upstream, scale: Scale) -> Any:
    """A finished log: read by one, and begun by 50 that leave, beside /healthz."""
    bound = {"LOG_MAX_BYTES": "8000000"}
    with _streamapi(upstream, **bound) as it:
        generation = _start(it, f"[[pace:0]] [[chunks:{REPLAYED}]]")
        while _get(it, "/readyz")["running"]:
            time.sleep(0.05)
        started = _events(it, generation)
        whole = load(
            it, "once", "", started, streams=1, chunks=REPLAYED, ramp=0, seconds=20
        )  # fmt: skip
        left = load(
            it, "replay", "", started, probe="/healthz", streams=50, waves=scale.waves, apart=0.5
        )
        return {"whole_ms": whole["seconds"] * 1000, "complete": whole["complete"] == 1, **left}


def cycles(upstream: Upstream, scale: Scale) -> Any:
    """Streams that are opened and cut; what is left of them. A cut stream is let go of at once,
    and its log forgotten after a second: what is measured is what is not meant to stay."""
    few, many = scale.cycles
    with _streamapi(upstream, LOG_TTL="1", EXPIRED_TTL="1", DISCONNECT_GRACE="0") as it:
        _cut(it, 50)
        time.sleep(5)
        before = _state(it)
        first = _cut(it, few)
        time.sleep(5)
        after_few = _state(it)
        rest = _cut(it, many - few)
        time.sleep(1)
        soon = _state(it)
        time.sleep(4)
        after = _state(it)
    return {
        "cycles": many,
        "per_second": (many - few) / rest["seconds"],
        "silent": first["silent"] + rest["silent"],
        "before": before,
        "after_few": after_few,
        "after_1s": soon,
        "after_5s": after,
        "grown_mb": (after["pss_kb"] - after_few["pss_kb"]) / 1024,
    }


def _cut(it: Subject, count: int) -> Any:
    return load(it, "cut", "[[pace:0.02]] [[chunks:500]]", streams=50, cycles=count)


def _state(it: Subject) -> dict[str, int]:
    # Descriptors first: the question itself is a connection.
    found = {"descriptors": descriptors(it.pid), "pss_kb": pss_kb(it.pid)}
    return {**found, "running": _get(it, "/readyz")["running"]}


def _streamapi(upstream: Upstream, **settings: str) -> AbstractContextManager[Subject]:
    def env(place: Place) -> Any:
        return streamapi_env(place, **settings)

    return subject(STREAMAPI, upstream, env)


BESIDES = {"websocket": websocket, "readers": readers}
ALONE = {"replay": replay, "mirror": mirror, "cycles": cycles}
"""Those that need a server of their own; `cycles` once, for it takes long."""
