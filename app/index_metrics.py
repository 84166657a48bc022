"""IndexMetrics: how many images were indexed, by what became of them."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from use_cases.retrieval.jobs import IndexJob

# By outcome, the count of `IngestProgress`, which has an image once, for however many models it was embedded.
_COUNTS = {
    "added": "added",
    "replaced": "replaced",
    "unchanged": "unchanged",
    "failed": "num_failed",
    "removed": "removed",
}


class IndexMetrics(Collector):
    """Adds up the jobs that it was given, those that run too; belongs to the jobs' event loop."""

    def __init__(self) -> None:
        self._ended = dict.fromkeys(_COUNTS, 0)
        self._jobs: list[IndexJob] = []

    def watch(self, job: IndexJob) -> None:
        """Count what a job does, from now until it has ended."""
        self._settle()
        self._jobs.append(job)

    def removed(self, images: int) -> None:
        """Count images that were removed by name; those of a gallery that is removed as a whole are not."""
        self._ended["removed"] += images

    def describe(self) -> list[Metric]:
        """Return nothing: there is no other metric of this name."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the counter."""
        self._settle()
        counter = CounterMetricFamily(
            "siglip_indexed_images", "Images of index jobs by what became of them.", labels=["outcome"]
        )
        for outcome, name in _COUNTS.items():
            running = sum(getattr(job.progress, name) for job in self._jobs)
            counter.add_metric([outcome], self._ended[outcome] + running)
        yield counter

    def _settle(self) -> None:
        """Keep the counts of the jobs that have ended, and not the jobs."""
        for job in [job for job in self._jobs if job.has_ended]:
            self._jobs.remove(job)
            for outcome, name in _COUNTS.items():
                self._ended[outcome] += getattr(job.progress, name)
