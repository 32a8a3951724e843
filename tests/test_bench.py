"""The bench: what it cannot have leaves out no more than what needs it."""

import sys
from typing import Any

import pytest

from bench import mirror, report
from bench.measures import QUICK
from bench.run import Run
from bench.systems import STREAMAPI


@pytest.mark.skipif(sys.platform != "linux", reason="the bench reads /proc")
def test_a_measure_without_its_tool_leaves_the_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a redis-server, and without a way to install one, only the mirror is left out, and
    the report says why."""
    run = Run([STREAMAPI], 1, QUICK)
    measured: dict[str, Any] = {}
    with monkeypatch.context() as bare:
        bare.setenv("PATH", "")
        run.take(STREAMAPI, "mirror", measured, lambda: mirror.mirror((1, 1), QUICK))
    run.take(STREAMAPI, "paced", measured, lambda: {"cpu_us": 50.0})
    run.found = {"streamapi": [measured], "direct": [{}]}
    text = report.markdown(report.result(run.found, run.missing, run.systems, 1.0, True))
    assert "| CPU per event, 50 streams at 20 ms, us | 50 |" in text
    assert "`streamapi, mirror`: MISSING: Debian's package redis-server is not installed" in text
