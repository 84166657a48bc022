"""Clients that ask without a pause, each on a connection and a thread of its own."""

from __future__ import annotations

import http.client
import itertools
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from use_cases.latency import ForeignLoad
from use_cases.load.connection import Connection
from use_cases.load.inputs import NewImages
from use_cases.load.samples import LoadLevel, Outcome, Sample, count, outcome_of, percentile_ms, steady_rate
from use_cases.load.server import CLASSIFY, EMBEDDINGS, Server

KINDS = ("classify", "embed")
_MAX_PAUSE_S = 1.0  # after a refusal or an error, so that failures are not asked for in a tight loop


class Requests:
    """Makes the requests of a mix, one after the other, each with a new image; for all threads."""

    def __init__(self, server: Server, images: NewImages, mix: Mapping[str, int]) -> None:
        """Take how many requests of each kind there are in turn."""
        self._server, self._images = server, images
        self._kinds = [kind for kind, share in mix.items() for _ in range(share)]
        self._numbers = itertools.count()

    def take(self) -> tuple[str, bytes]:
        """Return the next request's path and body."""
        if self._kinds[next(self._numbers) % len(self._kinds)] == "classify":
            return CLASSIFY, self._server.classify(self._images)
        return EMBEDDINGS, self._server.embed_image(self._images)


class Clients:
    """A number of clients at work; what they met is in `samples`."""

    def __init__(self, server: Server, requests: Requests, number: int) -> None:
        """Start none yet."""
        self.samples: list[Sample] = []
        self._requests = requests
        self._connections = [server.connect() for _ in range(number)]
        self._stopped = threading.Event()
        self._bugs: list[BaseException] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        """Let them ask during the block; afterwards wait until all was answered."""
        threads = [
            threading.Thread(target=self._keep_asking, args=[connection], daemon=True)
            for connection in self._connections
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stopped.set()
        for thread in threads:
            thread.join()
        for bug in self._bugs:
            raise bug

    def answered(self, start_s: float, end_s: float) -> list[Sample]:
        """Return the good answers of a time."""
        return [
            sample for sample in self.samples if sample.outcome == "ok" and start_s <= sample.end_s <= end_s
        ]

    def _keep_asking(self, connection: Connection) -> None:
        try:
            with connection:
                while not self._stopped.is_set():
                    path, body = self._requests.take()
                    start_s = time.perf_counter()
                    outcome, pause_s = _ask(connection, path, body)
                    end_s = time.perf_counter()
                    self.samples.append(Sample(end_s, (end_s - start_s) * 1000, outcome))
                    if pause_s:
                        self._stopped.wait(pause_s)
        except BaseException as bug:  # raised again where somebody sees it
            self._bugs.append(bug)


def measure_level(
    server: Server,
    requests: Requests,
    number: int,
    *,
    warmup_s: float,
    seconds: float,
    model: str,
    engine: str,
) -> LoadLevel:
    """Put a server under a number of clients.

    Args:
        server: the server.
        requests: what they ask.
        number: of clients.
        warmup_s: in which the server learns its batch sizes.
        seconds: to measure afterwards.
        model: its name in the result.
        engine: its name in the result.

    Raises:
        LoadTestError: when the server does not tell what it counts.
    """
    clients = Clients(server, requests, number)
    with clients.running():
        time.sleep(warmup_s)
        before, foreign = server.counts(), ForeignLoad(server.pid)
        start_s, start_cpu_s = time.perf_counter(), time.process_time()
        time.sleep(seconds)
        end_s, end_cpu_s = time.perf_counter(), time.process_time()
        foreign_cores, after = foreign.cores(), server.counts()
    rss_after_bytes = server.counts().rss_bytes
    answered = clients.answered(start_s, end_s)
    calls = after.calls - before.calls
    return LoadLevel(
        model=model,
        engine=engine,
        clients=number,
        seconds=end_s - start_s,
        requests_per_s=steady_rate([sample.end_s for sample in answered], start_s, end_s),
        p50_ms=percentile_ms(answered, 0.5),
        p95_ms=percentile_ms(answered, 0.95),
        p99_ms=percentile_ms(answered, 0.99),
        ok=len(answered),
        shed=count(clients.samples, "shed"),
        server_errors=count(clients.samples, "server_error"),
        other_errors=count(clients.samples, "error"),
        hung=count(clients.samples, "hung"),
        mean_batch_size=(after.items - before.items) / calls if calls else None,
        rss_before_bytes=before.rss_bytes,
        rss_after_bytes=rss_after_bytes,
        client_cores=(end_cpu_s - start_cpu_s) / (end_s - start_s),
        foreign_cores=foreign_cores,
    )


def _ask(connection: Connection, path: str, body: bytes) -> tuple[Outcome, float]:
    """Return how a request ended, and how long to wait before the next one."""
    try:
        reply = connection.ask("POST", path, body)
    except TimeoutError:
        return "hung", 0.0
    except (OSError, http.client.HTTPException):  # counted, as whatever else a client can meet
        return "error", _MAX_PAUSE_S
    outcome = outcome_of(reply.status)
    return outcome, 0.0 if outcome == "ok" else min(reply.retry_after_s or _MAX_PAUSE_S, _MAX_PAUSE_S)
