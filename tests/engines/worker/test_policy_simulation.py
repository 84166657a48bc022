"""What the policy makes of whole engines, on a virtual clock; the figures were measured on two cores."""

import math
import statistics

import pytest

from engines.worker.policy import Arm, BatchPolicy
from tests.engines.worker.simulation import FixedPolicy, Machine, Simulation

MACHINES = {
    "bundled images": Machine((48.8, 52.4, 50.1, 47.9, 44.7), (54.9, 55.5, 56.0, 54.2, 48.9)),
    "SigLIP int8 images": Machine((13.8, 15.7, 13.9, 15.0, 14.1), (16.7, 16.8, 16.5, 15.5, 13.8)),
    "SigLIP int8 texts": Machine((29.4, 33.3, 36.7, 39.1, 47.9), (48.5, 52.5, 51.8, 49.4, 49.8)),
    "fp32 without parallel calls": Machine((10.0, 11.7, 11.7, 11.7, 11.7)),
    "accelerator of constant time": Machine((50, 100, 200, 400, 800)),
    "accelerator of growing time": Machine((50, 90, 150, 230, 300)),
}
every_machine = pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
_WARM_UP = 300  # requests, in which the policy learns


def learned(machine, seed=0, target_p95_ms=1000.0):
    policy = BatchPolicy(cores=machine.cores, max_batch_size=16, target_p95_ms=target_p95_ms)
    return Simulation(machine, policy, seed=seed)


def fixed(machine, arm):
    return Simulation(machine, FixedPolicy(arm, machine.cores))


@every_machine
def test_with_many_clients_it_gets_as_much_done_as_the_best_fixed_call(machine):
    best_per_s = max(fixed(machine, arm).run_clients(16, 600).per_s() for arm in machine.arms)
    for seed in range(2):  # exploration included
        run = learned(machine, seed, target_p95_ms=3000).run_clients(16, 1500)
        assert run.per_s() >= 0.95 * best_per_s


@every_machine
def test_a_lone_client_never_waits_and_gets_all_cores(machine):
    run = learned(machine).run_clients(1, 200)
    assert set(run.arms) == {Arm(False, 1)}
    serial_ms = 1000 * machine.call_s(Arm(False, 1))
    assert statistics.mean(run.latencies_ms) == pytest.approx(serial_ms, rel=0.03)


@every_machine
def test_a_client_that_stays_behind_alone_is_served_like_a_lone_one(machine):
    run = learned(machine, target_p95_ms=3000).run_clients(16, 800).run_clients(1, 250)
    run.forget()
    run.run_clients(1, 200)
    assert set(run.arms) == {Arm(False, 1)}
    serial_ms = 1000 * machine.call_s(Arm(False, 1))
    assert statistics.mean(run.latencies_ms) == pytest.approx(serial_ms, rel=0.03)


@every_machine
@pytest.mark.parametrize("num_clients", [2, 4, 16])
def test_the_target_is_kept_where_any_fixed_call_keeps_it(machine, num_clients):
    best_ms = min(fixed(machine, arm).run_clients(num_clients, 500).p95_ms() for arm in machine.arms)
    run = learned(machine, target_p95_ms=1.1 * best_ms).run_clients(num_clients, _WARM_UP)
    run.forget()
    assert run.run_clients(num_clients, 700).p95_ms() <= 1.1 * best_ms


@every_machine
def test_requests_that_come_at_random_wait_not_much_longer_than_with_the_best_fixed_call(machine):
    per_s = 0.7 * max(fixed(machine, arm).run_clients(16, 400).per_s() for arm in machine.arms)
    best_ms = min(
        statistics.mean(fixed(machine, arm).run_arrivals(per_s, 800).latencies_ms) for arm in machine.arms
    )
    run = learned(machine).run_clients(16, _WARM_UP).run_arrivals(per_s, 50)
    run.forget()
    assert statistics.mean(run.run_arrivals(per_s, 800).latencies_ms) <= 1.25 * best_ms


def test_the_overload_of_random_arrivals_still_gets_as_much_done():
    machine = MACHINES["bundled images"]
    assert learned(machine).run_arrivals(100, 1500).per_s() >= 0.95 * 56


@pytest.mark.parametrize("cores", [4, 8, 16])
@pytest.mark.parametrize("num_clients", [2, 4, 8])
def test_a_few_clients_on_many_cores_are_not_left_on_one_core_each(cores, num_clients):
    machine = Machine((40, 44, 46, 47, 47), (70, 74, 75, 75, 74), cores=cores)
    serial = [arm for arm in machine.arms if not arm.parallel]
    best_per_s = max(fixed(machine, arm).run_clients(num_clients, 400).per_s() for arm in serial)
    assert learned(machine).run_clients(num_clients, 800).per_s() >= 0.95 * best_per_s


def test_a_machine_that_slows_down_in_parallel_is_left_for_serial_calls():
    machine = Machine((40, 44, 46, 47, 47), (30, 31, 32, 32, 30))
    run = learned(machine).run_clients(8, 800)
    assert sum(count for arm, count in run.arms.items() if arm.parallel) < 0.05 * run.arms.total()


def test_the_simulation_is_the_same_each_time_and_matches_the_tables():
    machine = MACHINES["bundled images"]
    first, second = (learned(machine).run_clients(16, 300).latencies_ms for _ in range(2))
    assert first == second
    for arm, per_s in ((Arm(False, 8), 47.9), (Arm(True, 2), 55.5)):
        run = Simulation(machine, FixedPolicy(arm, 2), noise=0).run_clients(32, 1000)
        assert run.per_s() == pytest.approx(per_s, rel=0.02)
    assert math.isinf(Simulation(machine, FixedPolicy(Arm(False, 1), 2)).demand.gap_ms)
