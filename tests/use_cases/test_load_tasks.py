"""The loop without a server and the sweep over policies, on an engine that knows three colours."""

import pytest

from engines.worker.policy import Arm
from tests.fakes import FakeEngine, FakePreprocessor, fake_spec
from use_cases.benchmark_subjects import EngineSubject
from use_cases.benchmark_worker import TASKS
from use_cases.load import policies, tight_loop
from use_cases.load.policies import ADAPTIVE, FixedPolicy

JOB = {"model": "colours", "engine": "fake", "seconds": 0.05, "seed": 1, "round": 1}


@pytest.fixture
def engine(monkeypatch):
    engine = FakeEngine()
    engine.twin = FakeEngine()
    for module in (policies, tight_loop):
        monkeypatch.setattr(module, "job_model", lambda _: fake_spec())
        monkeypatch.setattr(
            module, "load_subject", lambda *_: EngineSubject(engine, FakePreprocessor(engine.spec))
        )
        monkeypatch.setattr(module, "available_cores", lambda: 2)
    return engine


def test_the_loop_finds_a_best_way_and_measures_it_with_and_without_preparation(engine):
    found = tight_loop.run_loop(JOB)
    assert found["best"] in {f"{way} x {size}" for way in ("serial", "parallel") for size in (1, 2, 4)}
    assert found["work_per_s"] > 0
    assert found["engine_per_s"] > 0
    assert set(engine.batches) == set(engine.twin.batches) == {1, 2, 4}


def test_an_engine_without_a_twin_is_called_serially_and_its_failure_is_raised(engine):
    engine.twin = None
    assert tight_loop.run_loop(JOB)["best"].startswith("serial")
    engine.error = RuntimeError("broken")
    with pytest.raises(RuntimeError, match="broken"):
        tight_loop.run_loop(JOB)


def test_the_sweep_measures_every_policy(engine):
    found = policies.run_policies({**JOB, "seconds": 0.05, "learn_s": 0.1, "warmup_s": 0.01})
    fixed = {f"{way} x {size}" for way in ("serial", "parallel") for size in (1, 2, 4, 8, 16)}
    assert set(found["rates"]) == {ADAPTIVE, *fixed}
    assert min(found["rates"].values()) > 0
    assert max(engine.batches) > 1
    assert engine.twin.batches


def test_a_failing_engine_ends_the_sweep(engine):
    engine.error = RuntimeError("broken")
    with pytest.raises(Exception, match="engine failed"):
        policies.run_policies({**JOB, "learn_s": 0.1, "warmup_s": 0.01})


def test_a_fixed_policy_neither_pads_nor_waits_nor_learns():
    policy = FixedPolicy(Arm(True, 4))
    policy.observe(Arm(True, 4), 1.0)
    assert policy.choose(9, 0.0, parallel=True) == Arm(True, 4)
    assert policy.choose(9, 0.0, parallel=False) == Arm(False, 4)
    assert policy.sizes_from(Arm(True, 4)) == [1, 2, 3, 4]
    assert policy.wait_ms(1, 0.0) == 0
    assert policy.call_ms(Arm(True, 4)) is None


def test_a_fresh_process_knows_both_tasks():
    assert {"load_loop", "load_policies"} <= set(TASKS)
