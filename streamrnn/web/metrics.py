"""Metrics of a daemon for Prometheus. Their names have units; none has a label for streams: there may be many."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

PREFIX = "streamrnn"
STATES = "starting", "catching up", "running", "recovering", "draining", "stopping"

# name: where in the status, and what it is
COUNTERS = {
    "frames": ("frames", "Frames of the run that have gone through."),
    "scored_frames": ("scored", "Frames whose prediction was compared with what came."),
    "recoveries": ("recoveries", "Times that all workers were started again after one had died."),
    "refused_requests": ("refused", "Requests of clients that were refused."),
    "refused_streams": ("streams_refused", "Frames of new streams that there was no room for."),
    "rejected_connections": ("rejected", "Connections without a key that is let in."),
    "bad_messages": ("bad", "Messages that could not be read."),
    "skipped_updates": ("skipped_updates", "Updates left out because their gradient was not finite."),
}
GAUGES = {
    "frames_per_second": ("frames_per_second", "New frames a second, over the last three."),
    "loss_nats": ("loss", "Mean loss of all frames scored."),
    "recent_loss_nats": ("recent_loss", "Mean loss of the last 10,000 frames scored."),
    "learning_rate": ("learning_rate", "The learning rate in force."),
    "streams": ("streams", "Streams that are open."),
    "streams_on_disk": ("streams_on_disk", "Streams whose state is on the disk."),
    "uptime_seconds": ("seconds", "Seconds since the daemon was ready."),
}
PARTS = {
    "journal_bytes": ("journal", "bytes", "Size of the journal."),
    "journal_records": ("journal", "records", "Records of the journal that no checkpoint holds yet."),
    "journal_unwritten_records": ("journal", "not_durable", "Records of the journal that are not on the disk yet."),
    "checkpoint_age_seconds": ("checkpoint", "seconds", "Seconds since the newest checkpoint was complete."),
    "checkpoint_frames": ("checkpoint", "frames", "Frames of the run that the newest checkpoint holds."),
}
WORKERS = {
    "worker_busy_seconds": ("busy", CounterMetricFamily, "Seconds in which a worker had something to do."),
    "worker_rows": ("rows", CounterMetricFamily, "Rows that a worker has passed on; a frame is one or two."),
    "worker_resident_memory_bytes": ("memory", GaugeMetricFamily, "Memory of a worker's process."),
    "worker_heard_seconds": ("heard", GaugeMetricFamily, "Seconds since a worker reported."),
}


class DaemonCollector(Collector):
    """What the newest status says; `streamrnn_up` is 0, and nothing else is there, where the daemon does not answer."""

    def __init__(self, status: Callable[[], Mapping[str, Any] | None]) -> None:
        self._status = status

    def collect(self) -> Iterable[Metric]:
        """All metrics."""
        status = self._status()
        yield GaugeMetricFamily(f"{PREFIX}_up", "1 where the daemon answers.", 0.0 if status is None else 1.0)
        if status is None:
            return
        yield InfoMetricFamily(PREFIX, "The daemon.", {"name": status["name"], "run": status["run"]})
        state = GaugeMetricFamily(f"{PREFIX}_state", "1 for the state that the daemon is in.", labels=["state"])
        for name in STATES:
            state.add_metric([name], float(name == status["state"]))
        yield state
        for name, (fact, about) in COUNTERS.items():
            yield CounterMetricFamily(f"{PREFIX}_{name}", about, status[fact])
        yield from gauges({name: (status[fact], about) for name, (fact, about) in GAUGES.items()})
        yield from gauges(
            {name: ((status[part] or {}).get(fact), about) for name, (part, fact, about) in PARTS.items()}
        )
        yield labelled(
            CounterMetricFamily,
            "passed_over",
            "What sources passed over, by what it was.",
            "reason",
            status["passed_over"],
        )
        for name, (fact, kind, about) in WORKERS.items():
            found = {worker["name"]: worker[fact] for worker in status["workers"] if worker[fact] is not None}
            yield labelled(kind, name, about, "worker", found)
        for fact in ("written", "missed"):
            sinks = {f"{number} {sink['kind']}": sink[fact] for number, sink in enumerate(status["sinks"], 1)}
            yield labelled(CounterMetricFamily, f"sink_{fact}_outputs", f"Outputs {fact} by a sink.", "sink", sinks)


def gauges(found: Mapping[str, tuple[float | None, str]]) -> Iterable[Metric]:
    """Those of which something is known."""
    for name, (value, about) in found.items():
        if value is not None:
            yield GaugeMetricFamily(f"{PREFIX}_{name}", about, value)


def labelled(kind: Any, name: str, about: str, label: str, found: Mapping[str, float]) -> Metric:
    """A metric with a label of few values."""
    family: Metric = kind(f"{PREFIX}_{name}", about, labels=[label])
    for value, number in found.items():
        family.add_metric([value], number)  # type: ignore[attr-defined]
    return family


def text(status: Callable[[], Mapping[str, Any] | None]) -> bytes:
    """All metrics in Prometheus's text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(DaemonCollector(status))
    return generate_latest(registry)
