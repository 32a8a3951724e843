"""What a run of the load rig came to: tokens checked against what the upstream said, and times.

An *event* is a chunk of the upstream's that was delivered, whether it came alone or merged with
others: a system gains nothing by joining tokens.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from bench.client import Stream
from bench.formats import Arrivals, contents, status
from bench.upstream import piece

SIZE = len(piece(0))
STALL = 1.0
"""Seconds without an event, from the first to the last, that a reader takes for a hang."""


class Answer(NamedTuple):
    """One answer: when it was asked for, what came, when it ended (None: it was cut)."""

    sent: float
    arrivals: Arrivals
    ended: float | None


class Sample(NamedTuple):
    """A moment: the clock, and the CPU seconds that the system, the upstream and the rig used."""

    at: float
    system: float
    upstream: float
    load: float


def answer(stream: Stream) -> Answer:
    """What a stream holds now."""
    return Answer(stream.sent, stream.arrivals, stream.ended)


def tally(
    answers: Sequence[Answer],
    form: str,
    chunks: int,
    window: tuple[Sample, Sample],
    asked_from: float,
) -> dict[str, Any]:
    """Everything that is told of a run; times to first token of what was asked since a moment."""
    expected = "".join(map(piece, range(chunks)))
    a, b = window
    found = [contents(form, one.arrivals) for one in answers]
    texts = ["".join(text for _, text in events) for events in found]
    ended = [one.ended is not None for one in answers]
    got = [len(text) // SIZE for text in texts]
    inside = sum(len(t) for events in found for at, t in events if a.at <= at <= b.at) / SIZE
    steps = [(before[0], after[0]) for events in found for before, after in pairwise(events)]
    gaps = [after - before for before, after in steps]
    within = [after - before for before, after in steps if a.at <= before and after <= b.at]
    completed = sum(1 for one in answers if one.ended is not None and a.at <= one.ended <= b.at)
    return {
        "streams": len(answers),
        "refused": sum(status(one.arrivals) not in (200, 101) for one in answers),
        "complete": sum(map(all, zip(ended, (text == expected for text in texts), strict=True))),
        "events": sum(got),
        "asked": chunks * len(answers),
        "lost": sum(chunks - n for n, whole in zip(got, ended, strict=True) if whole),
        "unfinished": sum(chunks - n for n, whole in zip(got, ended, strict=True) if not whole),
        "corrupt": sum(not expected.startswith(text) for text in texts),
        "stalls": sum(gap > STALL for gap in gaps),
        "longest_gap": max(gaps, default=0.0),
        "events_per_read": round(sum(got) / max(1, sum(len(one.arrivals) for one in answers)), 2),
        "ttft": first_tokens(answers, found, asked_from, b.at),
        "gap_p99": percentile(within, 0.99),
        "window": {
            "seconds": b.at - a.at,
            "events": inside,
            "completed": completed,
            "system_cpu": b.system - a.system,
            "upstream_cpu": b.upstream - a.upstream,
            "load_cpu": b.load - a.load,
        },
    }


def first_tokens(
    answers: Sequence[Answer], found: Sequence[Sequence[Any]], since: float, until: float
) -> list[float]:
    """Seconds to the first token. Who still waited at the end, and for more than a second, counts
    with what it had waited: leaving it out would flatter a system that is too slow to answer."""
    times = []
    for one, events in zip(answers, found, strict=True):
        if events and one.sent >= since:
            times.append(events[0][0] - one.sent)
        elif not events and until - one.sent > STALL:
            times.append(until - one.sent)
    return times


def percentile(values: Sequence[float], part: float) -> float | None:
    """The value below which `part` of all lie; None of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else None
