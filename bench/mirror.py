"""What it costs to share logs: the server with a Redis beside the server without, in turns."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from bench.install import Missing
from bench.measures import Scale, first_token_alone, paced, subject
from bench.rig import free_port
from bench.systems import STREAMAPI, Place, streamapi_env

TURNS = 4


def mirror(upstream: tuple[int, int], scale: Scale) -> dict[str, Any]:
    """CPU per event, and time to first token alone, of both; the medians of four turns each.
    Redis's own CPU is not counted: it may be on another machine."""
    with _redis() as url:

        def env(place: Place) -> Any:
            return streamapi_env(place, REDIS_URL=url)

        with subject(STREAMAPI, upstream) as plain, subject(STREAMAPI, upstream, env) as mirrored:
            cpu: dict[str, list[float]] = {"plain": [], "mirrored": []}
            first: dict[str, list[float]] = {"plain": [], "mirrored": []}
            for _ in range(TURNS):
                for name, it in (("plain", plain), ("mirrored", mirrored)):
                    cpu[name].append(paced(it, scale)["cpu_us"])
                    first[name].append(first_token_alone(it, scale)["p50_ms"])
    return {
        "plain_us": median(cpu["plain"]),
        "mirrored_us": median(cpu["mirrored"]),
        "added_us": median(cpu["mirrored"]) - median(cpu["plain"]),
        "plain_ms": median(first["plain"]),
        "mirrored_ms": median(first["mirrored"]),
        "turns": {"cpu_us": cpu, "first_ms": first},
    }


@contextmanager
def _redis() -> Iterator[str]:
    if shutil.which("redis-server") is None:
        raise Missing("redis-server is not installed")
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
