"""Metrics: what the server counts, in the form that Prometheus reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import psutil
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from app.index_metrics import IndexMetrics
from engines.pool import EnginePool
from engines.tracing import Trace, tracing
from use_cases.telemetry.sketches import EMBED
from use_cases.telemetry.telemetry import Telemetry

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_ROUTES = {
    "/v1/embeddings", "/v1/classify", "/v1/compare", "/v1/similarity", "/v1/features", "/v1/search",
    "/v1/index", "/v1/models", "/healthz", "/readyz", "/metrics",
}  # fmt: skip
_NAMED = ("/v1/index/", "/v1/models/")  # what each gallery and model has of its own counts as one route
_BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Counters of one server; several may exist in one process."""

    def __init__(self, pool: EnginePool, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        telemetry.listeners.append(self._count_stages)
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "siglip_requests", "Requests by how they ended.", ["door", "operation", "outcome"],
            registry=self._registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "siglip_request_seconds", "Time of whole requests.", ["door", "operation"],
            buckets=_SECONDS, registry=self._registry,
        )  # fmt: skip
        self._stages = Histogram(
            "siglip_stage_seconds", "Time of a request's stages.", ["model", "engine", "stage"],
            buckets=_SECONDS, registry=self._registry,
        )  # fmt: skip
        self.in_work = 0  # requests that are not answered yet
        in_work = Gauge("siglip_requests_in_work", "Requests in work.", registry=self._registry)
        in_work.set_function(lambda: self.in_work)
        self._responses = Counter(
            "siglip_http_responses", "HTTP answers, refusals too.", ["route", "status"],
            registry=self._registry,
        )  # fmt: skip
        self.index = IndexMetrics()
        self._registry.register(self.index)
        self._registry.register(_WorkerCollector(pool))

    @contextmanager
    def request(self, door: str, operation: str) -> Iterator[None]:
        """Trace the block as a request; count its end: "ok", "cancelled", "bug" or an error's code."""
        trace, outcome = Trace(door, operation), "cancelled"
        self.in_work += 1
        try:
            with tracing(trace):
                yield
            outcome = "ok"
        except Exception as error:
            outcome = str(getattr(error, "code", "bug"))
            raise
        finally:
            self.in_work -= 1
            trace.end(outcome)
            self._requests.labels(door, operation, outcome).inc()
            self._seconds.labels(door, operation).observe(trace.duration_ms / 1000)
            self._telemetry.keep(trace)

    def response(self, path: str, status: int) -> None:
        """Count an HTTP answer; paths that are not of the REST API count as one."""
        known = path if path in _ROUTES else "other"
        route = next((prefix for prefix in _NAMED if path.startswith(prefix)), known)
        self._responses.labels(route, str(status)).inc()

    def render(self) -> bytes:
        """Return everything as Prometheus's text format."""
        self._telemetry.count()
        return generate_latest(self._registry)

    def _count_stages(self, traces: Sequence[Trace]) -> None:
        for span in (span for trace in traces for span in trace.spans if span.stage != EMBED):
            self._stages.labels(span.model, span.engine, span.stage).observe(span.duration_ms / 1000)


class _WorkerCollector(Collector):
    """Reads what the workers count anyway, when somebody asks for it."""

    def __init__(self, pool: EnginePool) -> None:
        self._pool = pool

    def describe(self) -> list[Metric]:
        return []  # engines come and go

    def collect(self) -> Iterator[Metric]:
        labels = ["model", "engine", "tower"]
        depth = GaugeMetricFamily("siglip_queue_depth", "Items that wait for an engine call.", labels=labels)
        sizes = HistogramMetricFamily("siglip_batch_size", "Items in an engine call.", labels=labels)
        seconds = CounterMetricFamily("siglip_infer_seconds", "Time in engine calls.", labels=labels)
        background = CounterMetricFamily(
            "siglip_background_items", "Items that were embedded for an index.", labels=labels
        )
        failed = CounterMetricFamily(
            "siglip_failed_items", "Items on which the engine failed.", labels=labels
        )
        retried = CounterMetricFamily(
            "siglip_retried_batches", "Batches tried again item by item.", labels=labels
        )
        restarts = CounterMetricFamily(
            "siglip_worker_restarts", "Worker parts that failed, died or hung.", labels=labels[:2]
        )
        for key, pooled in self._pool.running.items():
            restarts.add_metric([*key], pooled.engine.restarts)
            for tower, batcher in pooled.engine.batchers.items():
                stats, names = batcher.stats, [*key, tower]
                depth.add_metric(names, batcher.queue_size)
                seconds.add_metric(names, stats.infer_s)
                background.add_metric(names, stats.background_items)
                failed.add_metric(names, stats.failed_items)
                retried.add_metric(names, stats.retried_batches)
                sizes.add_metric(names, _buckets(stats.batch_sizes), stats.items)
        yield from (depth, sizes, seconds, background, failed, retried, restarts)
        cache = self._pool.worker.cache
        yield CounterMetricFamily("siglip_cache_hits", "Embeddings found in the cache.", value=cache.hits)
        yield CounterMetricFamily("siglip_cache_misses", "Embeddings not found there.", value=cache.misses)
        yield GaugeMetricFamily("siglip_cache_bytes", "Memory of the cache.", value=cache.num_bytes)
        rss = psutil.Process().memory_info().rss
        yield GaugeMetricFamily("siglip_resident_memory_bytes", "Memory of this process.", value=rss)


def _buckets(sizes: Mapping[int, int]) -> list[tuple[str, float]]:
    """Return cumulative counts of calls by their size."""
    bounds = [(str(bound), bound) for bound in _BATCH_SIZES] + [("+Inf", max([*sizes, 0]))]
    return [(name, float(sum(n for size, n in sizes.items() if size <= bound))) for name, bound in bounds]
