"""What it costs to share logs: the server with a Redis beside the server without, in turns."""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from bench.install import tool
from bench.measures import Scale, first_token_alone, first_token_among_50, paced, subject
from bench.rig import free_port
from bench.systems import STREAMAPI, Place, streamapi_env

TURNS = 4


def mirror(upstream: tuple[int, int], scale: Scale) -> dict[str, Any]:
    """CPU per event of 50 paced streams, and time to first token beside them and alone, of both;
    the medians of four turns each. Redis's own CPU is not counted: it may be on another machine.
    The upstream answers at once, so alone every microsecond before the first token shows."""
    measures: dict[str, Callable[[Any, Scale], float]] = {
        "us": lambda it, scale: paced(it, scale)["cpu_us"],
        "among_50_ms": lambda it, scale: first_token_among_50(it, scale)["p50_ms"],
        "alone_ms": lambda it, scale: first_token_alone(it, scale)["p50_ms"],
    }
    with _redis() as url:

        def env(place: Place) -> Any:
            return streamapi_env(place, REDIS_URL=url)

        with subject(STREAMAPI, upstream) as plain, subject(STREAMAPI, upstream, env) as mirrored:
            turns: dict[str, list[float]] = {}
            for _ in range(TURNS):
                for name, it in (("plain", plain), ("mirrored", mirrored)):
                    for what, measure in measures.items():
                        turns.setdefault(f"{name}_{what}", []).append(measure(it, scale))
    found = {name: median(values) for name, values in turns.items()}
    return {**found, "added_us": found["mirrored_us"] - found["plain_us"], "turns": turns}


@contextmanager
def _redis() -> Iterator[str]:
    tool("redis-server", "redis-server")
    port = free_port()
    with TemporaryDirectory() as folder:
        options = ("--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", folder)
        process = subprocess.Popen(("redis-server", *options), stdout=subprocess.DEVNULL)
        try:
            time.sleep(0.5)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.terminate()
            process.wait()
