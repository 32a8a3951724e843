"""The figures of a run: medians and spread over its rounds, the targets, and a table."""

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from bench.install import versions
from bench.systems import System
from bench.targets import targets

Round = Mapping[str, Any]


class Figure(NamedTuple):
    """One row of the table: from a round of a system, and the same round of the direct way."""

    key: str
    title: str
    digits: int
    read: Callable[[Round, Round], Any]


ALONE, AMONG, BURST = "first_token_alone", "first_token_among_128", "first_token_of_128"


def _own(measure: str, part: str) -> Callable[[Round, Round], Any]:
    return lambda own, direct: own[measure][part]


def _added(measure: str, part: str) -> Callable[[Round, Round], Any]:
    return lambda own, direct: own[measure][part] - direct[measure][part]


def _sustained(streams: str) -> Callable[[Round, Round], Any]:
    def read(own: Round, direct: Round) -> float:
        told = own["sustained"][streams]
        return 100.0 * (1 - (told["lost"] + told["unfinished"]) / told["asked"])

    return read


def _late(streams: str) -> Callable[[Round, Round], Any]:
    return lambda own, direct: max(0.0, own["sustained"][streams]["late_s"])


FIGURES = (
    Figure("cpu_us", "CPU per event, 50 streams at 20 ms, us", 0, _own("paced", "cpu_us")),
    Figure("request_ms", "CPU of a one-chunk request, ms", 2, _own("request", "cpu_ms")),
    Figure("ttft1_p50", "added time to first token, alone: p50, ms", 1, _added(ALONE, "p50_ms")),
    Figure("ttft1_p99", "... alone: p99, ms", 1, _added(ALONE, "p99_ms")),
    Figure("ttft128_p50", "... among 128 streams: p50, ms", 1, _added(AMONG, "p50_ms")),
    Figure("ttft128_p99", "... among 128 streams: p99, ms", 1, _added(AMONG, "p99_ms")),
    Figure("burst_p50", "... 128 asked in one moment: p50, ms", 0, _added(BURST, "p50_ms")),
    Figure("burst_p99", "... 128 asked in one moment: p99, ms", 0, _added(BURST, "p99_ms")),
    Figure("gap_p99", "gap between events (20 ms sent): p99, ms", 1, _own("paced", "gap_p99_ms")),
    Figure("saturated", "events per second, saturated", 0, _own("saturated", "events_per_second")),
    Figure("idle_kb", "memory per idle stream, KB PSS", 0, _own("idle", "kb")),
    Figure("base_mb", "memory with 50 idle streams, MB PSS", 0, _own("idle", "base_mb")),
    Figure("sustained_128", "128 streams at 20 ms: % of tokens in time", 1, _sustained("128")),
    Figure("sustained_512", "512 streams at 20 ms: % of tokens in time", 1, _sustained("512")),
    Figure("sustained_1024", "1,024 streams at 20 ms: % of tokens in time", 1, _sustained("1024")),
    Figure("late_512", "512 streams: the last token late by, s", 1, _late("512")),
    Figure("late_1024", "1,024 streams: the last token late by, s", 1, _late("1024")),
    Figure("load_us", "the load rig's own CPU per event, us", 0, _own("paced", "load_us")),
    Figure("upstream_us", "the upstream's CPU per event, us", 0, _own("paced", "upstream_us")),
)


def result(
    found: Mapping[str, Sequence[Round]],
    missing: Mapping[str, str],
    systems: Sequence[System],
    seconds: float,
    quick: bool,
) -> dict[str, Any]:
    """Everything that is written down."""
    direct = found["direct"]
    figures = {
        system.name: {figure.key: _spread(figure, found[system.name], direct) for figure in FIGURES}
        for system in systems
        if found[system.name] and system.name not in missing
    }
    told: dict[str, Any] = {
        "machine": machine(),
        "seconds": round(seconds),
        "quick": quick,
        "rounds": len(direct),
        "titles": {system.name: system.title for system in systems},
        "versions": {
            system.name: versions(system.peer) if system.peer else _ours()
            for system in systems
            if system.name not in missing
        },
        "missing": dict(missing),
        "figures": figures,
        "rounds_of": found,
    }
    told["targets"] = targets(told) if "streamapi" in figures else []
    return told


def _spread(figure: Figure, rounds: Sequence[Round], direct: Sequence[Round]) -> Any:
    values = []
    for own, beside in zip(rounds, direct, strict=False):
        try:
            value = figure.read(own, beside)
        except (KeyError, TypeError):
            continue  # not measured in this round
        if value is not None:
            values.append(value)
    if not values:
        return None
    return {"median": median(values), "least": min(values), "most": max(values), "of": len(values)}


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    cpu = [x for x in Path("/proc/cpuinfo").read_text().splitlines() if x.startswith("model name")]
    return {
        "cores": os.cpu_count(),
        "cpu": cpu[0].partition(":")[2].strip() if cpu else platform.machine(),
        "kernel": platform.release().partition("-")[0],
        "python": platform.python_version(),
        "load_before": os.getloadavg()[2],
    }


def _ours() -> str:
    names = ("streamapi", "quart", "hypercorn", "aiohttp", "msgspec", "uvloop")
    return ", ".join(f"{name} {version(name)}" for name in names)


def markdown(told: Mapping[str, Any]) -> str:
    """The table, the targets, and what the figures depend on."""
    names, machine = list(told["figures"]), told["machine"]
    lines = [
        f"{machine['cores']} cores of {machine['cpu']}, Linux {machine['kernel']}, "
        f"Python {machine['python']}; {told['rounds']} rounds; median (least to most)."
        + (" QUICK: one short round, good for a look only." if told["quick"] else ""),
        "",
        "| | " + " | ".join(names) + " |",
        "| --- |" + " ---: |" * len(names),
    ]
    for figure in FIGURES:
        cells = [_cell(told["figures"][name][figure.key], figure.digits) for name in names]
        lines.append(f"| {figure.title} | " + " | ".join(cells) + " |")
    lines += ["", *_about(told), ""]
    if told["targets"]:
        lines += ["| target of streamapi | bound | found | |", "| --- | ---: | ---: | --- |"]
        lines += [
            f"| {x['title']} | {x['bound']} | {x['found']} | {x['verdict']} |"
            for x in told["targets"]
        ]
    return "\n".join(lines)


def _about(told: Mapping[str, Any]) -> list[str]:
    lines = [
        f"- `{name}`: {told['titles'][name]} ({told['versions'][name]})" for name in told["figures"]
    ]
    lines += [
        note for name in told["figures"] for note in _idle_note(name, told["rounds_of"][name])
    ]
    lines += [f"- `{name}`: MISSING: {reason}" for name, reason in told["missing"].items()]
    return lines


def _idle_note(name: str, rounds: Sequence[Round]) -> list[str]:
    """A client of Google's with room for 100 connections makes the next stream wait for ever."""
    told = [one["idle"] for one in rounds if "idle" in one]
    least = min(told, key=lambda one: one["open"] / one["asked"], default=None)
    if least is None or least["open"] >= least["asked"]:
        return []
    return [f"- `{name}`: of {least['asked']} idle streams only {least['open']} came to a token."]


def _cell(spread: Any, digits: int) -> str:
    if spread is None:
        return "-"
    low, mid, high = (f"{spread[x]:,.{digits}f}" for x in ("least", "median", "most"))
    return mid if spread["of"] == 1 or low == high else f"{mid} ({low} to {high})"
