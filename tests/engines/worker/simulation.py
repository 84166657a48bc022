"""One engine on a virtual clock: the real policy and demand, driven as MicroBatcher drives them."""

from __future__ import annotations

import heapq
import itertools
import math
import random
import statistics
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from engines.worker.demand import Demand
from engines.worker.policy import DEMAND_FOR_PARALLEL, Arm, BatchPolicy

SIZES = (1, 2, 4, 8, 16)
_THINK_S = 0.001  # from an answer to the same client's next request


@dataclass(frozen=True)
class Machine:
    """Items a second of full calls of 1, 2, 4, 8 and 16 items; parallel ones with all cores busy."""

    serial: tuple[float, ...]
    parallel: tuple[float, ...] | None = None
    cores: int = 2

    @property
    def arms(self) -> list[Arm]:
        kinds = (False,) if self.parallel is None else (False, True)
        return [Arm(parallel, size) for parallel in kinds for size in SIZES]

    def call_s(self, arm: Arm) -> float:
        if not arm.parallel:
            return arm.size / self.serial[SIZES.index(arm.size)]
        assert self.parallel is not None
        return self.cores * arm.size / self.parallel[SIZES.index(arm.size)]


class FixedPolicy(BatchPolicy):
    """Makes every call in one way, with whatever waits."""

    def __init__(self, arm: Arm, cores: int) -> None:
        super().__init__(cores=cores, max_batch_size=16, target_p95_ms=math.inf)
        self.arm = arm

    def choose(self, waiting: int, demand: float, *, parallel: bool) -> Arm:
        return self.arm

    def wait_ms(self, waiting: int, gap_ms: float) -> float:
        return 0.0


@dataclass
class _Request:
    arrived_s: float
    answered: Callable[[], None]


@dataclass
class Simulation:
    """Runs requests of one item each; `latencies_ms` are those of the answered, in their order."""

    machine: Machine
    policy: BatchPolicy
    seed: int = 0
    noise: float = 0.05  # standard deviation of a call's time, relative
    max_batch_size: int = 16
    max_wait_ms: float = 2.0
    now_s: float = 0.0
    latencies_ms: list[float] = field(default_factory=list)
    answered_s: list[float] = field(default_factory=list)  # times on the clock
    arms: Counter[Arm] = field(default_factory=Counter)
    num_clients: int = 0  # closed-loop clients with a higher number have left

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._waiting: deque[_Request] = deque()
        self._busy = self._in_calls = 0
        self._wants_cores = False  # the worker has stopped waiting for company
        self.demand = Demand(lambda: self.now_s)

    def run_clients(self, count: int, num_requests: int) -> Simulation:
        """Let so many clients each send the next request when the last was answered."""
        newcomers = range(self.num_clients, count)
        self.num_clients = count

        def send(client: int) -> None:
            if client < self.num_clients:
                self._arrive(lambda: self._at(self.now_s + _THINK_S, lambda: send(client)))

        for client in newcomers:
            self._at(self.now_s + _THINK_S * client / count, partial(send, client))
        self._run_until(len(self.latencies_ms) + num_requests)
        return self

    def run_arrivals(self, per_s: float, num_requests: int) -> Simulation:
        """Let requests come at random, however long the queue is; the clients leave."""
        self.num_clients = 0
        arrivals = random.Random(self.seed)  # the same whatever the policy does
        at_s = self.now_s
        for _ in range(num_requests):
            at_s += arrivals.expovariate(per_s)
            self._at(at_s, lambda: self._arrive(lambda: None))
        self._run_until(len(self.latencies_ms) + num_requests)
        return self

    def forget(self) -> None:
        """Begin the record anew; what the policy has learned stays."""
        for record in (self.latencies_ms, self.answered_s, self.arms):
            record.clear()

    def per_s(self) -> float:
        """Return the answers a second."""
        return (len(self.answered_s) - 1) / (self.answered_s[-1] - self.answered_s[0])

    def p95_ms(self) -> float:
        return statistics.quantiles(self.latencies_ms, n=20)[-1]

    def _run_until(self, num_answers: int) -> None:
        while len(self.latencies_ms) < num_answers:
            self.now_s, _, happen = heapq.heappop(self._events)
            happen()

    def _at(self, at_s: float, happen: Callable[[], None]) -> None:
        heapq.heappush(self._events, (at_s, next(self._order), happen))

    def _arrive(self, answered: Callable[[], None]) -> None:
        self._waiting.append(_Request(self.now_s, answered))
        self.demand.arrive()
        self._note_demand()
        self._work()

    def _note_demand(self) -> None:
        self.demand.note(len(self._waiting) + self._in_calls)

    def _work(self) -> None:
        """Wait for company, then for cores, then call: until something is missing."""
        while self._waiting:
            if not self._wants_cores and len(self._waiting) < self.max_batch_size:
                wait_ms = self.policy.wait_ms(len(self._waiting), self.demand.gap_ms)
                due_s = self._waiting[0].arrived_s + min(wait_ms, self.max_wait_ms) / 1000
                if due_s > self.now_s:
                    self._at(due_s, self._work)
                    return
            self._wants_cores = True
            machine = self.machine
            partly_busy = 0 < self._busy < machine.cores
            demand = max(self.demand.average, len(self._waiting) + self._in_calls + partly_busy)
            arm = self.policy.choose(len(self._waiting), demand, parallel=machine.parallel is not None)
            cores = 1 if arm.parallel else machine.cores
            if cores > machine.cores - self._busy:
                return
            self._wants_cores = False
            self._call(arm, cores)

    @property
    def _is_saturated(self) -> bool:
        return self._busy >= DEMAND_FOR_PARALLEL * self.machine.cores

    def _call(self, arm: Arm, cores: int) -> None:
        batch = [self._waiting.popleft() for _ in range(min(arm.size, len(self._waiting)))]
        size = next(size for size in self.policy.sizes_from(arm) if size >= len(batch))
        arm = arm._replace(size=size)
        self.arms[arm] += 1
        self._busy += cores
        self._in_calls += len(batch)
        saturated = self._is_saturated
        call_s = self.machine.call_s(arm) * max(self._random.gauss(1, self.noise), 0.5)

        def end() -> None:
            if not arm.parallel or (saturated and self._is_saturated):
                self.policy.observe(arm, call_s * 1000)
            self._busy -= cores
            self._in_calls -= len(batch)
            self._note_demand()
            for request in batch:
                self.latencies_ms.append((self.now_s - request.arrived_s) * 1000)
                self.answered_s.append(self.now_s)
                request.answered()
            self._work()

        self._at(self.now_s + call_s, end)
