"""What an operator measures, in Prometheus's text format (https://prometheus.io/docs/instrumenting/).

Nothing is counted per token: counters move at the ending of a log, gauges are read at a scrape.
Each process counts for itself.
"""

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from streamapi.generation.ended import Ended
from streamapi.telemetry import logs

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """The metrics of one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._generations = Counter(
            "streamapi_generations_total",
            "Logs that ended, by task and ending: done, cancelled, or the code of the failure.",
            ("task", "ending"),
            registry=self.registry,
        )
        self._tokens = Counter(
            "streamapi_tokens_total",
            "Tokens of those logs, as the provider counted them: input, output.",
            ("task", "direction"),
            registry=self.registry,
        )
        self._syntax_checks = Counter(
            "streamapi_syntax_checks_total",
            "Syntax checks, by language and outcome: valid, invalid, gave_up (no verdict within "
            "the bounds), crashed (ended its child process).",
            ("language", "outcome"),
            registry=self.registry,
        )
        self._counters: dict[tuple[str, str], tuple[Counter, Counter, Counter]] = {}
        ProcessCollector(registry=self.registry)

    def read(self, running: Callable[[], int], store_up: Callable[[], bool]) -> None:
        """Read the gauges from here: how many logs are written, and whether the store that
        processes share can be reached."""
        self.registry.register(_Gauges(running, store_up))

    def ended(self, ended: Ended) -> None:
        """Count a log that has ended: the `Observer` of the metrics."""
        task, outcome = ended.generation.task, ended.outcome
        counters = self._counters.get((task, outcome))
        if counters is None:
            counters = self._counters[task, outcome] = (
                self._generations.labels(task, outcome),
                self._tokens.labels(task, "input"),
                self._tokens.labels(task, "output"),
            )
        counters[0].inc()
        counters[1].inc(ended.usage.input_tokens)
        counters[2].inc(ended.usage.output_tokens)

    def syntax_checked(self, language: str, outcome: str) -> None:
        """Count a syntax check, or one that gave no verdict."""
        self._syntax_checks.labels(language, outcome).inc()

    def text(self) -> bytes:
        """All metrics, as they are now."""
        return generate_latest(self.registry)


class _Gauges(Collector):
    """The metrics that are read at a scrape."""

    def __init__(self, running: Callable[[], int], store_up: Callable[[], bool]) -> None:
        self._running, self._store_up = running, store_up

    def collect(self) -> Iterable[Metric]:
        yield CounterMetricFamily(
            "streamapi_log_lines_dropped",
            "Log lines that were dropped, because they were not read in time.",
            logs.LINES.dropped,
        )
        yield GaugeMetricFamily(
            "streamapi_running", "Logs that are being written here.", self._running()
        )
        yield GaugeMetricFamily(
            "streamapi_store_up",
            "Whether the store of logs can be reached: 0 while Redis is away.",
            self._store_up(),
        )
