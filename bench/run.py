"""streamapi and its peers, side by side on this machine, before the same upstream.

    python -m bench.run [--all] [--rounds 5] [--only NAME ...] [--quick]

Each round measures every system once, each round in another order, each system freshly started.
Everything is printed, and written to `bench/results/`.
"""

import argparse
import json
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from bench import plot, report
from bench.extras import ALONE, BESIDES
from bench.install import HERE, PEERS, Missing, install
from bench.measures import EVERY, QUICK, Scale, settle, subject
from bench.proc import running
from bench.rig import free_port
from bench.systems import DIRECT, ROOT, SYSTEMS, System

Rounds = dict[str, list[dict[str, Any]]]
EVERY_THIRD_ROUND = ("sustained", "readers", "replay", "mirror")
"""What takes long."""

NOT_DIRECT = ("idle", "saturated", "request", "sustained")


class Run:
    """One run of the bench: what is measured, and what was found."""

    def __init__(self, systems: Sequence[System], rounds: int, scale: Scale) -> None:
        self.systems, self.rounds, self.scale = systems, rounds, scale
        self.found: Rounds = {system.name: [] for system in (DIRECT, *systems)}
        self.missing: dict[str, str] = {}

    def go(self) -> None:
        """Measure everything, round by round."""
        for system in self.systems:
            if system.peer:
                self._try(system.name, lambda peer=system.peer: install(peer))
        with upstream() as address:
            for number in range(self.rounds):
                at = number % len(self.systems)
                for system in (DIRECT, *self.systems[at:], *self.systems[:at]):
                    if system.name not in self.missing:
                        self._system(system, number, address)

    def _system(self, system: System, number: int, address: tuple[int, int]) -> None:
        began, told = time.monotonic(), dict[str, Any]()
        self._try(system.name, lambda: self._measure(system, number, address, told))
        self.found[system.name].append(told)
        cpu = told.get("paced", {}).get("cpu_us", 0)
        print(
            f"round {number + 1}/{self.rounds}  {system.name:10} {time.monotonic() - began:5.1f} s"
            f"  {cpu:7.1f} us per event  {self.missing.get(system.name, '')}",
            file=sys.stderr, flush=True,
        )  # fmt: skip

    def _measure(
        self, system: System, number: int, address: tuple[int, int], told: dict[str, Any]
    ) -> None:
        ours = system.name == "streamapi"
        measures: dict[str, Callable[..., Any]] = {**EVERY, **(BESIDES if ours else {})}
        with subject(system, address) as it:
            for name, measure in measures.items():
                if self._wanted(name, number) and not (system is DIRECT and name in NOT_DIRECT):
                    rest = settle(it)
                    self.take(system, name, told, lambda measure=measure: measure(it, self.scale))
                    if name in told:
                        told[name]["began_at_rest"] = rest
        if ours:
            for name, alone in ALONE.items():
                if self._wanted(name, number):
                    self.take(system, name, told, lambda alone=alone: alone(address, self.scale))

    def take(
        self, system: System, name: str, told: dict[str, Any], measure: Callable[[], Any]
    ) -> None:
        """Measure one thing. What it needs and cannot have leaves it out, and nothing else."""
        began = time.monotonic()
        try:
            told[name] = {**measure(), "took_s": round(time.monotonic() - began, 1)}
        except Missing as reason:
            self.missing[f"{system.name}, {name}"] = str(reason)

    def _wanted(self, name: str, number: int) -> bool:
        if name == "cycles":
            return number == 0
        return number % 3 == 0 or name not in EVERY_THIRD_ROUND

    def _try(self, name: str, act: Callable[[], Any]) -> None:
        try:
            act()
        except Missing as reason:
            self.missing[name] = str(reason)


@contextmanager
def upstream() -> Iterator[tuple[int, int]]:
    """The upstream in its own process: its port, and its process id."""
    port = free_port()
    command = [sys.executable, "-m", "bench.upstream", str(port)]
    with running(command, ROOT, {}, PEERS / "logs/upstream.log") as process:
        time.sleep(0.5)
        yield port, process.pid


def main() -> int:
    """Run, and tell."""
    options = _options()
    _prepare()
    chosen = [
        system for system in SYSTEMS
        if (system.name in options.only if options.only else options.all or not system.extra)
    ]  # fmt: skip
    began = time.time()
    run = Run(chosen, 1 if options.quick else options.rounds, QUICK if options.quick else Scale())
    run.go()
    result = report.result(run.found, run.missing, chosen, time.time() - began, options.quick)
    folder = HERE / "results"
    folder.mkdir(exist_ok=True)
    name = "quick" if options.quick or options.only else "latest"
    (folder / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    text = report.markdown(result)
    print(text)
    (folder / f"{name}.md").write_text(text + "\n")
    (folder / f"{name}.svg").write_text(plot.svg(result))
    return 0


def _prepare() -> None:
    """Room for a thousand streams with two sockets each; and an end by signal ends all we began."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 65_536), most))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.run", description=__doc__)
    parser.add_argument("--all", action="store_true", help="the peers that take long to set up too")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", action="append", choices=[system.name for system in SYSTEMS])
    parser.add_argument("--quick", action="store_true", help="one round, fewer events")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
