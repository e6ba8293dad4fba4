"""
``/-/metrics``: the runtime in numbers, in the format of Prometheus.

Everything is read when somebody asks. The format is that of ``prometheus-client``,
imported at the first request; it is small and has no dependencies. Its own registry
is left to the program.

Labels are paths of components that are there now, and rules of routes by the class
that has them: never what a client has sent. To write a line takes 20 microseconds,
so mailboxes that no message has come to have none: 1 000 components take 0.1 s, and
0.6 s if all of them have got messages.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from kinesis.cells import Cell
from kinesis.mailbox import Counts
from kinesis.mailbox.tally import LATENCY_BOUNDS
from kinesis.reports import all_cells
from kinesis.stages import Stage
from kinesis.web.answers import Answer
from kinesis.web.server import Load
from kinesis.web.tally import BOUNDS, Tally

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment
    from prometheus_client.core import HistogramMetricFamily, Metric

PER_COMPONENT = {
    "up": "Whether it is STARTED.",
    "hung": "Whether code of it outlived its deadline and runs.",
    "stalled": "Whether a handler of it runs for too long.",
}

OUTCOMES = ("handled", "failed", "late", "expired", "dropped", "stopped", "refused")


class Metrics:
    """
    The numbers of one runtime and its server.

    Args:
        load: Returns what the server is doing now.
        readers: Returns how many readers of events there are.
    """

    def __init__(
        self,
        root: Cell,
        tally: Tally,
        load: Callable[[], Load],
        readers: Callable[[], int],
    ) -> None:
        self._root = root
        self._tally = tally
        self._load = load
        self._readers = readers

    def page(self, environ: WSGIEnvironment) -> Answer:
        """Show the numbers of now."""
        from prometheus_client import CollectorRegistry, ProcessCollector  # lazy
        from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4 as PLAIN
        from prometheus_client.exposition import generate_latest

        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        ProcessCollector(registry=registry)
        return Answer(200, generate_latest(registry), [("Content-Type", PLAIN)])

    def collect(self) -> Iterable[Metric]:
        """Yield all metrics; called by ``prometheus-client``."""
        cells = list(all_cells(self._root))
        yield from self._of_stages(cells)
        yield from self._of_messages(cells)
        yield from self._of_http()
        yield from self._of_runtime()

    def _of_stages(self, cells: list[Cell]) -> Iterator[Metric]:
        """Where the components are in their lives, and how often they failed."""
        from prometheus_client.core import (
            CounterMetricFamily,
            GaugeMetricFamily,
            InfoMetricFamily,
        )

        number = Counter(cell.stage for cell in cells)
        stages = GaugeMetricFamily(
            "kinesis_components", "Components in each stage.", labels=["stage"]
        )
        for stage in Stage:
            stages.add_metric([stage.value], number[stage])
        yield stages
        info = InfoMetricFamily(
            "kinesis_component", "What it is, and in which stage.", labels=["path"]
        )
        gauges = {
            name: GaugeMetricFamily(f"kinesis_component_{name}", text, labels=["path"])
            for name, text in PER_COMPONENT.items()
        }
        restarts = CounterMetricFamily(
            "kinesis_component_restarts", "Starts after the first.", labels=["path"]
        )
        failures = CounterMetricFamily(
            "kinesis_component_failures", "Hooks that raised or hung.", labels=["path"]
        )
        for cell in cells:
            path = [cell.path]
            kind = {"type": type(cell.component).__name__, "stage": cell.stage.value}
            info.add_metric(path, kind)
            gauges["up"].add_metric(path, cell.stage is Stage.STARTED)
            gauges["hung"].add_metric(path, cell.hung is not None)
            gauges["stalled"].add_metric(path, cell.stalled is not None)
            restarts.add_metric(path, cell.restarts)
            failures.add_metric(path, cell.failures)
        yield from (info, *gauges.values(), restarts, failures)

    def _of_messages(self, cells: list[Cell]) -> Iterator[Metric]:
        """What the mailboxes have counted."""
        from prometheus_client.core import (
            CounterMetricFamily,
            GaugeMetricFamily,
            HistogramMetricFamily,
        )

        accepted = CounterMetricFamily(
            "kinesis_messages_accepted", "Messages let in.", labels=["path"]
        )
        messages = CounterMetricFamily(
            "kinesis_messages",
            "Messages by what became of them.",
            labels=["path", "outcome"],
        )
        depth = GaugeMetricFamily(
            "kinesis_mailbox_depth", "Messages that wait.", labels=["path"]
        )
        busy = CounterMetricFamily(
            "kinesis_handler_seconds", "Time spent in handlers.", labels=["path"]
        )
        latency = HistogramMetricFamily(
            "kinesis_message_latency_seconds",
            "From accepted to answered, of messages whose sender waits.",
            labels=["path"],
        )
        for path, counts in _counts(cells):
            accepted.add_metric([path], counts.accepted)
            for outcome in OUTCOMES:
                messages.add_metric([path, outcome], getattr(counts, outcome))
            depth.add_metric([path], counts.depth)
            busy.add_metric([path], counts.busy_seconds)
            buckets, seconds = counts.latency_buckets, counts.latency_seconds
            if any(buckets):
                _add_histogram(latency, [path], LATENCY_BOUNDS, buckets, seconds)
        yield from (accepted, messages, depth, busy, latency)

    def _of_http(self) -> Iterator[Metric]:
        """What the application and its server have done, and do."""
        from prometheus_client.core import (
            CounterMetricFamily,
            GaugeMetricFamily,
            HistogramMetricFamily,
        )

        counted = self._tally.read()
        requests = CounterMetricFamily(
            "kinesis_http_requests",
            "Requests answered.",
            labels=["route", "method", "status"],
        )
        for (route, method, status), number in sorted(counted.number.items()):
            requests.add_metric([route, method, str(status)], number)
        duration = HistogramMetricFamily(
            "kinesis_http_request_seconds",
            "From a whole request to its answer.",
            labels=["route", "method"],
        )
        for key, took in sorted(counted.durations.items()):
            _add_histogram(duration, [*key], BOUNDS, took.buckets, took.seconds)
        yield from (requests, duration)
        load = self._load()
        now = {
            "connections": (load.connections, "Open connections."),
            "streams": (load.streams, "Of these, streams of events."),
            "waiting": (load.waiting, "Requests that wait for a thread."),
            "busy": (load.busy, "Threads that answer a request."),
            "event_readers": (self._readers(), "Readers of /-/events."),
        }
        for name, (value, text) in now.items():
            yield GaugeMetricFamily(f"kinesis_http_{name}", text, value=value)

    def _of_runtime(self) -> Iterator[Metric]:
        """What the runtime itself counts."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        services = self._root.services
        yield CounterMetricFamily(
            "kinesis_crashes",
            "Exceptions that reached the end of a thread of kinesis.",
            value=services.crashes,
        )
        yield CounterMetricFamily(
            "kinesis_changes_lost",
            "Changes that found the queue to the listeners full.",
            value=services.changes.lost,
        )
        yield GaugeMetricFamily(
            "kinesis_changes_waiting",
            "Changes that wait for the thread that tells the listeners.",
            value=services.changes.depth,
        )
        yield CounterMetricFamily(
            "kinesis_callback_errors",
            "Calls of listeners that raised.",
            value=services.changes.errors,
        )
        yield GaugeMetricFamily(
            "kinesis_threads",
            "Threads of the process.",
            value=len(services.threads.names()),
        )


def _counts(cells: list[Cell]) -> Iterator[tuple[str, Counts]]:
    """Yield the counts of each mailbox that any message has come to."""
    for cell in cells:
        if cell.serving is not None:
            counts = cell.serving.mailbox.counts()
            if counts.accepted or counts.refused:
                yield cell.path, counts


def _add_histogram(
    family: HistogramMetricFamily,
    labels: list[str],
    bounds: Iterable[float],
    buckets: Iterable[int],
    total: float,
) -> None:
    """Add counts per bucket as the cumulative ones that the format has."""
    names: list[Any] = [*map(str, bounds), "+Inf"]
    family.add_metric(
        labels, list(zip(names, itertools.accumulate(buckets), strict=True)), total
    )
