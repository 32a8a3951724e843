"""What streamapi promises of its speed, and whether a run keeps it."""

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

Told = Mapping[str, Any]


def targets(told: Told) -> list[dict[str, str]]:
    """Each promise: its bound, what was found, and the verdict."""
    own, rounds = told["figures"]["streamapi"], told["rounds_of"]["streamapi"]

    def figure(key: str) -> float | None:
        return own[key] and own[key]["median"]

    def over_rounds(read: Callable[[Any], float], pick: Callable = median) -> float | None:
        values = [value for one in rounds if (value := _read(read, one)) is not None]
        return pick(values) if values else None

    rows = [
        _most("CPU per SSE event, paced, us", 60, figure("cpu_us")),
        _share("... as a share of Portkey's", 0.5, told, "portkey"),
        _share("... as a share of LiteLLM's", 0.1, told, "litellm"),
        _most("CPU per WebSocket event, us", 80, over_rounds(lambda r: r["websocket"]["cpu_us"])),
        _most("CPU of a one-chunk request, ms", 1.5, figure("request_ms")),
        _most("added time to first token, alone, p50, ms", 3, figure("ttft1_p50")),
        _most("added time to first token, among 128, p99, ms", 60, figure("ttft128_p99")),
        _most("memory per further reader, KB", 32, over_rounds(lambda r: r["readers"]["kb"])),
        _most("memory per idle stream, KB", 56, figure("idle_kb")),
        _most(
            "/healthz p99 beside 50 replays that leave, ms",
            100,
            over_rounds(lambda r: r["replay"]["p99"] * 1000, max),
        ),
    ]
    rows += _mirror(rounds)
    return [row for row in (*rows, *_sustained(rounds), *_cycles(rounds)) if row]


def _mirror(rounds: Sequence[Told]) -> list[dict[str, str]]:
    """The tick is the server's default, 50 ms."""
    told = next((one["mirror"] for one in rounds if "mirror" in one), None)
    if told is None:
        return []
    rows = [_most("CPU per event added by a Redis, mirrored every 50 ms, us", 25, told["added_us"])]
    for what, where in (("among_50_ms", "beside 50 streams"), ("alone_ms", "alone")):
        first = f"{told[f'plain_{what}']:.2f} and {told[f'mirrored_{what}']:.2f}"
        title = f"first token {where}, without and with a Redis, p50, ms"
        rows.append({"title": title, "bound": "", "found": first, "verdict": ""})
    return rows


def _sustained(rounds: Sequence[Told]) -> list[dict[str, str]]:
    found = []
    for streams in ("128", "512", "1024"):
        runs = [x for one in rounds if (x := one.get("sustained", {}).get(streams))]
        if not runs:
            continue
        lost = max(x["lost"] + x["corrupt"] + x["refused"] for x in runs)
        found.append(_most(f"{streams} streams: tokens lost, worst round", 0, lost))
        waiting = max(x["unfinished"] for x in runs)
        found.append(_most(f"{streams} streams: tokens not there when it was cut", 0, waiting))
        stalls, late = max(x["stalls"] for x in runs), max(x["late_s"] for x in runs)
        longest = max(x["longest_gap"] for x in runs)
        if streams != "1024":
            title = f"{streams} streams: stalls over 1 s (longest gap {longest:.2f} s)"
            found.append(_most(title, 0, stalls))
        reads = median(x["events_per_read"] for x in runs)
        title = f"{streams} streams: last token late by, s ({reads:.2f} events per read)"
        found.append({"title": title, "bound": "", "found": f"{late:.2f}", "verdict": ""})
    return found


def _cycles(rounds: Sequence[Told]) -> list[dict[str, str]]:
    told = next((one["cycles"] for one in rounds if "cycles" in one), None)
    if told is None:
        return []
    before, after = told["before"], told["after_5s"]
    title = f"after {told['cycles']:,} cut streams, 5 s later:"
    return [
        _most(f"{title} running generations", before["running"], after["running"]),
        _most(f"{title} descriptors", before["descriptors"], after["descriptors"]),
        _most(f"{title} memory grown, MB", 2, told["grown_mb"]),
    ]


def _most(title: str, bound: float, found: float | None) -> dict[str, str]:
    if found is None:
        return {"title": title, "bound": f"{bound:g}", "found": "-", "verdict": "not measured"}
    verdict = "met" if found <= bound else "MISSED"
    shown = f"{found:.2f}".rstrip("0").rstrip(".") if found < 100 else f"{found:,.0f}"
    return {"title": title, "bound": f"{bound:g}", "found": shown, "verdict": verdict}


def _share(title: str, bound: float, told: Told, peer: str) -> dict[str, str]:
    figures = told["figures"]
    theirs = figures[peer]["cpu_us"] if peer in figures else None
    own = figures["streamapi"]["cpu_us"]
    return _most(title, bound, own["median"] / theirs["median"] if own and theirs else None)


def _read(read: Callable[[Any], float], one: Told) -> float | None:
    try:
        return read(one)
    except (KeyError, TypeError):
        return None
