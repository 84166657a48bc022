"""The quantities of one round: what a server costs beside the same work without it, and what it saves."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from engines.worker.shared import available_cores
from use_cases.benchmark import Worker
from use_cases.latency import ForeignLoad, percentile
from use_cases.load.clients import Clients, Requests
from use_cases.load.connection import Connection, LoadTestError
from use_cases.load.inputs import NewImages, NewTexts
from use_cases.load.plan import NUM_CLIENTS, LoadPlan
from use_cases.load.samples import steady_rate
from use_cases.load.server import CLASSIFY, EMBEDDINGS, LABELS, Server, require_ok

_NUM_PAIRS = 20
_NUM_LABELS = 64
_MIN_LONE_REQUESTS = 10


class Round(NamedTuple):
    """What one round found of one quantity."""

    value: float
    foreign_cores: float
    parts: dict[str, float]
    note: str | None = None


class _Served(NamedTuple):
    """What a server got done while it was kept busy, and what else the cores did."""

    requests_per_s: float
    foreign_cores: float
    client_cores: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is compared: a server, and the same model in this process's children."""

    server: Server
    engine: str  # that the server uses
    source: str  # of the model, as `resolve_model` takes it
    images: NewImages
    texts: NewTexts
    worker: Worker
    seed: int


class Quantities:
    """Measures each quantity once, when asked by its name."""

    def __init__(self, subject: Subject, plan: LoadPlan) -> None:
        """Take what is compared, and how long."""
        self._subject, self._plan = subject, plan
        self._loop: dict[str, Any] | None = None  # the last loop's results
        self.by_name: dict[str, Callable[[int], Round]] = {
            "overhead": self._overhead,
            "lone": self._lone,
            "repeat": self._repeat,
            "labels": self._labels,
        }
        if plan.sweep:
            self.by_name["policy"] = self._policy

    def _overhead(self, number: int) -> Round:
        """Compare the server's rate with that of threads which do the same work in a loop.

        The server is asked before the loop and after it, so that a machine that becomes faster or slower
        meanwhile favours neither.
        """
        before = self._serve()
        loop = self._loop = self._work("load_loop", number, seconds=self._plan.round_s)
        after = self._serve()
        http_per_s = (before.requests_per_s + after.requests_per_s) / 2
        return Round(
            1 - http_per_s / loop["work_per_s"],
            max(before.foreign_cores, after.foreign_cores, loop["foreign_cores"]),
            {
                "http_requests_per_s": http_per_s,
                "loop_images_per_s": loop["work_per_s"],
                "engine_only_images_per_s": loop["engine_per_s"],
                "engine_call_ms": loop["call_ms"],
                "decode_and_prepare_ms": loop["prepare_ms"],
                "client_cores": (before.client_cores + after.client_cores) / 2,
            },
            f"the loop's best way: {loop['best']}",
        )

    def _serve(self) -> _Served:
        """Keep the server busy for a while."""
        server, plan = self._subject.server, self._plan
        clients = Clients(server, Requests(server, self._subject.images, plan.mix), NUM_CLIENTS)
        with clients.running():
            time.sleep(plan.warmup_s)
            foreign = ForeignLoad(server.pid)
            start_s, start_cpu_s = time.perf_counter(), time.process_time()
            time.sleep(plan.round_s)
            end_s, end_cpu_s = time.perf_counter(), time.process_time()
            foreign_cores = foreign.cores()
        answers_s = [sample.end_s for sample in clients.answered(start_s, end_s)]
        requests_per_s = steady_rate(answers_s, start_s, end_s)
        if requests_per_s is None:
            raise LoadTestError(
                f"No request was answered well within {plan.round_s:.1f} s; take more --seconds."
            )
        return _Served(requests_per_s, foreign_cores, (end_cpu_s - start_cpu_s) / (end_s - start_s))

    def _lone(self, number: int) -> Round:
        """Compare a lone client's time with the engine's own for one image."""
        server = self._subject.server
        foreign = ForeignLoad(server.pid)
        elapsed_ms: list[float] = []
        stages_ms: list[Mapping[str, float]] = []
        with server.connect() as connection:
            for _ in range(2):  # the first one may change the way of calling the engine
                self._ask(connection, CLASSIFY, server.classify(self._subject.images))
            end_s = time.perf_counter() + self._plan.round_s
            while time.perf_counter() < end_s or len(elapsed_ms) < _MIN_LONE_REQUESTS:
                ms, answer = self._ask(connection, CLASSIFY, server.classify(self._subject.images))
                elapsed_ms.append(ms)
                stages_ms.append(answer["timings_ms"])
        foreign_cores = foreign.cores()
        p50_ms = percentile(elapsed_ms, 0.5)
        medians = {
            f"{stage}_ms": statistics.median(stages.get(stage, 0.0) for stages in stages_ms)
            for stage in stages_ms[0]
        }
        image_work_ms = sum(medians.get(f"{stage}_ms", 0.0) for stage in ("decode", "preprocess", "infer"))
        parts = {"p50_ms": p50_ms, **medians, "beside_image_work_ms": p50_ms - image_work_ms}
        if self._loop is not None:  # measured just before
            parts["beside_loop_call_ms"] = p50_ms - self._loop["call_ms"]
        return Round(p50_ms - medians["infer_ms"], foreign_cores, parts)

    def _repeat(self, number: int) -> Round:
        """Compare a request of a new image and new labels with the same one again."""
        server, texts = self._subject.server, self._subject.texts
        foreign = ForeignLoad(server.pid)
        first_ms: list[float] = []
        again_ms: list[float] = []
        with server.connect() as connection:
            for _ in range(_NUM_PAIRS):
                body = server.classify(self._subject.images, texts.take(len(LABELS)))
                for elapsed_ms in (first_ms, again_ms):
                    elapsed_ms.append(self._ask(connection, CLASSIFY, body)[0])
        first, again = statistics.median(first_ms), statistics.median(again_ms)
        return Round(first / again, foreign.cores(), {"first_ms": first, "again_ms": again})

    def _labels(self, number: int) -> Round:
        """Compare a request of each of many texts with one request of as many."""
        server, texts = self._subject.server, self._subject.texts
        foreign = ForeignLoad(server.pid)
        with server.connect() as connection:
            self._ask(connection, EMBEDDINGS, server.embed(texts.take(_NUM_LABELS)))  # learn the batch size
            one_ms = self._ask(connection, EMBEDDINGS, server.embed(texts.take(_NUM_LABELS)))[0]
            each_ms = sum(
                self._ask(connection, EMBEDDINGS, server.embed([text]))[0] for text in texts.take(_NUM_LABELS)
            )
        parts = {"one_request_ms": one_ms, "a_request_each_ms": each_ms}
        return Round(each_ms / one_ms, foreign.cores(), parts)

    def _policy(self, number: int) -> Round:
        """Measure the rate under each batch policy; which fixed one is best, all rounds must tell."""
        seconds, warmup_s = self._plan.round_s, self._plan.warmup_s
        found = self._work(
            "load_policies", number, seconds=seconds, learn_s=warmup_s, warmup_s=min(1.0, warmup_s)
        )
        return Round(0.0, found["foreign_cores"], found["rates"])

    def _work(self, task: str, number: int, **how: float) -> dict[str, Any]:
        subject = self._subject
        job = {"task": task, "model": subject.source, "engine": subject.engine, "threads": available_cores()}
        job["allow_pickled_weights"] = self._plan.allow_pickled_weights
        return subject.worker({**job, "seed": subject.seed, "round": number, **how})

    def _ask(self, connection: Connection, path: str, body: bytes) -> tuple[float, dict[str, Any]]:
        start_s = time.perf_counter()
        reply = connection.ask_surely("POST", path, body)
        elapsed_ms = (time.perf_counter() - start_s) * 1000
        return elapsed_ms, require_ok(reply).json()
