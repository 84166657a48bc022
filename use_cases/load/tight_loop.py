"""The same work without a server: threads that decode, prepare and embed; one fresh process."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from typing import Any

from engines.base import Engine
from engines.machine.malloc import keep_freed_memory
from engines.preparation.images import decode_image
from engines.worker.policy import Arm
from engines.worker.shared import available_cores
from use_cases.benchmark_subjects import EngineSubject, job_model, load_subject
from use_cases.latency import Effort, ForeignLoad, measure_latency
from use_cases.load.inputs import NewImages
from use_cases.load.samples import steady_rate
from use_cases.zero_shot import min_image_side

SIZES = (1, 2, 4)  # images a call; in sweeps larger ones were never the best
_PROBE_SHARE = 0.2  # of the time for a measurement, to find the best way to call the engine


def run_loop(job: dict[str, Any]) -> dict[str, Any]:
    """Measure the best fixed way to call an engine: the engine alone, and with decoding and preparation."""
    keep_freed_memory()  # as the server does
    spec = job_model(job)
    subject = load_subject(spec, job["engine"], 0)  # likewise: threads are the runtime's choice
    assert isinstance(subject, EngineSubject)
    images, min_side, seconds = NewImages(job["seed"]), min_image_side([spec]), job["seconds"]
    lock = threading.Lock()

    def prepare() -> Any:
        return subject.preprocessor.prepare_image(decode_image(images.jpeg(), min_side))

    pixels = [prepare() for _ in range(max(SIZES))]
    subject.engine.embed_pixels(pixels[:1])  # opens the graph that the twin shares
    engines = {False: subject.engine, True: subject.engine.single_threaded()}
    cores = available_cores()
    foreign = ForeignLoad()

    def engine_only(arm: Arm, engine: Engine) -> Callable[[], object]:
        return lambda: engine.embed_pixels(pixels[: arm.size])

    def whole_work(arm: Arm, engine: Engine) -> Callable[[], object]:
        def call() -> object:
            prepared = [prepare() for _ in range(arm.size)]
            if arm.parallel:
                return engine.embed_pixels(prepared)
            with lock:  # on all cores: one call after the other
                return engine.embed_pixels(prepared)

        return call

    rates: dict[Arm, float] = {}
    for arm in (Arm(parallel, size) for parallel in (False, True) for size in SIZES):
        engine = engines[arm.parallel]
        if engine is not None:
            num_threads = cores if arm.parallel else 1
            rates[arm] = _rate(engine_only(arm, engine), arm.size, num_threads, _PROBE_SHARE * seconds)
    best = max(rates, key=lambda arm: rates[arm])
    engine = engines[best.parallel]
    assert engine is not None
    work_per_s = _rate(whole_work(best, engine), best.size, cores, seconds)
    engine_per_s = _rate(engine_only(best, engine), best.size, cores if best.parallel else 1, seconds)
    effort = Effort(min_iters=5, min_duration_s=_PROBE_SHARE * seconds)
    call = measure_latency(engine_only(Arm(False, 1), subject.engine), 1, effort)
    return {
        "best": arm_name(best),
        "work_per_s": work_per_s,
        "engine_per_s": engine_per_s,
        "call_ms": call.p50_ms,
        "prepare_ms": measure_latency(prepare, 1, effort).p50_ms,
        "foreign_cores": foreign.cores(),
    }


def arm_name(arm: Arm) -> str:
    """Return such as "parallel x 4": calls with four images, one on each core."""
    return f"{'parallel' if arm.parallel else 'serial'} x {arm.size}"


def _rate(call: Callable[[], object], size: int, num_threads: int, seconds: float) -> float:
    """Return the images a second of threads that call again and again; of three calls each at least."""
    times_s: list[float] = []
    errors: list[BaseException] = []
    call()  # the first call of a shape is slow

    start_s = time.perf_counter()

    def work() -> None:
        try:
            for number in itertools.count(1):
                call()
                times_s.extend([time.perf_counter()] * size)
                if number >= 3 and times_s[-1] >= start_s + seconds:
                    return
        except BaseException as error:  # raised again where somebody sees it
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(num_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for error in errors:
        raise error
    rate = steady_rate(times_s, start_s, max(times_s))
    assert rate is not None  # there were three calls at least
    return rate
