"""Where streamapi's time goes under 50 paced streams, by py-spy: for whoever tunes it next.

    python -m bench.profile [SECONDS]

Prints the functions in which most samples were taken (their own time, and with what they call),
and writes a flame graph to `bench/results/profile.svg`. py-spy reads another process, which
needs root, or a kernel that lets one (`kernel.yama.ptrace_scope=0`).
"""

import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from bench.install import HERE, PEERS, install
from bench.measures import PACE, Subject, rig, subject
from bench.run import upstream
from bench.systems import STREAMAPI

RATE = 400
SHOWN = 30
WAITING = "_worker (concurrent/futures"
"""A thread of a pool that waits for work, which py-spy takes for running."""


def main(seconds: int) -> None:
    install("profile")
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    with ExitStack() as stack:
        address = stack.enter_context(upstream())
        it = stack.enter_context(subject(STREAMAPI, address))
        chunks = int((2 * seconds + 8) / PACE)
        prompt = f"[[pace:{PACE}]] [[chunks:{chunks}]]"
        run = {"streams": 50, "chunks": chunks, "ramp": 0.5, "seconds": 2 * seconds + 12}
        stack.enter_context(rig(it, "once", prompt, **run))
        time.sleep(3)
        _record(it, seconds, "raw", PEERS / "logs/profile.txt")
        _record(it, seconds, "flamegraph", results / "profile.svg")
    _top(PEERS / "logs/profile.txt")
    print("the flame graph: bench/results/profile.svg")


def _record(it: Subject, seconds: int, form: str, path: Path) -> None:
    subprocess.run(
        [
            str(PEERS / "profile/bin/py-spy"), "record", "--pid", str(it.pid), "--rate", str(RATE),
            "--duration", str(seconds), "--format", form, "--output", str(path),
        ],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip


def _top(path: Path) -> None:
    own, whole = Counter[str](), Counter[str]()
    for line in path.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        if WAITING in line.rpartition(";")[2]:
            continue
        frames = [frame.rpartition(":")[0] or frame for frame in stack.split(";")]
        own[frames[-1]] += int(count)
        whole.update(dict.fromkeys(frames, int(count)))
    total = own.total() or 1
    print(f"{'own':>6} {'with':>6}  of {total} samples in which it ran")
    for name, count in own.most_common(SHOWN):
        print(f"{count / total:6.1%} {whole[name] / total:6.1%}  {name}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 8)
