"""What the policy chooses, given what it has seen."""

import math

import pytest

from engines.worker.policy import SAMPLES_NEEDED, Arm, BatchPolicy

SIZES = (1, 2, 4, 8, 16)


def policy(*, cores=2, max_batch_size=16, target_p95_ms=10_000.0, serial=(), parallel=()):
    """Return a policy that knows the milliseconds of serial and parallel calls of 1, 2, 4 ... items."""
    known = BatchPolicy(cores=cores, max_batch_size=max_batch_size, target_p95_ms=target_p95_ms)
    for is_parallel, times_ms in ((False, serial), (True, parallel)):
        for size, elapsed_ms in zip(SIZES, times_ms, strict=False):
            see(known, Arm(is_parallel, size), elapsed_ms)
    return known


def see(known, arm, elapsed_ms, times=SAMPLES_NEEDED):
    for _ in range(times):
        known.observe(arm, elapsed_ms)


def explore(known, call_ms, waiting=16, num_calls=100, **situation):
    """Let the policy call an engine; return the arms in the order in which they were first chosen."""
    chosen = []
    for _ in range(num_calls):
        choose = known.choose_short if "within_ms" in situation else known.choose
        arm = choose(waiting, **{"demand": waiting, "parallel": False} | situation)
        known.observe(arm, call_ms(arm))
        if arm not in chosen:
            chosen.append(arm)
    return chosen


def serial_sizes(arms):
    return [arm.size for arm in arms if not arm.parallel]


# Learning


def test_a_fresh_policy_knows_nothing_and_calls_with_one_item():
    fresh = policy()
    assert fresh.choose(16, 16, parallel=True) == Arm(False, 1)
    assert fresh.call_ms(Arm(False, 1)) is None
    assert fresh.rate(Arm(False, 1)) is None


def test_a_time_is_known_after_three_calls_and_is_their_median():
    fresh = policy()
    for elapsed_ms in (90.0, 10.0):
        fresh.observe(Arm(False, 1), elapsed_ms)
    assert fresh.call_ms(Arm(False, 1)) is None
    fresh.observe(Arm(False, 1), 11.0)
    assert fresh.call_ms(Arm(False, 1)) == 11.0  # the slow first call does not count


def test_old_times_are_forgotten():
    known = policy(serial=[10])
    see(known, Arm(False, 1), 50, times=9)
    assert known.call_ms(Arm(False, 1)) == 50


def test_a_rate_counts_all_cores_of_parallel_calls_and_the_items_that_are_really_there():
    known = policy(cores=4, serial=[10, 20], parallel=[40])
    assert known.rate(Arm(False, 2)) == pytest.approx(100)
    assert known.rate(Arm(False, 2), items=1) == pytest.approx(50)
    assert known.rate(Arm(True, 1)) == pytest.approx(100)


def test_sizes_are_tried_smallest_first_as_long_as_they_pay():
    arms = explore(policy(), lambda arm: 20 + arm.size)
    assert serial_sizes(arms) == [1, 2, 4, 8, 16]


def test_sizes_are_not_tried_beyond_one_that_does_not_pay():
    arms = explore(policy(), lambda arm: 10 * arm.size**1.2)
    assert serial_sizes(arms) == [1, 2]


def test_a_size_is_tried_only_if_it_promises_clearly_more_than_the_best():
    arms = explore(policy(), lambda arm: 4 + 36 * arm.size)  # 26.3 a second in pairs, and 27.0 in fours
    assert serial_sizes(arms) == [1, 2]


def test_a_small_promise_of_a_few_calls_is_looked_at_once_more_before_the_size_is_tried():
    known = policy(serial=[10, 17.5])  # 114 a second in pairs; 123 in fours, if two more take 15 again
    arms = explore(known, lambda arm: {1: 10, 2: 17.5, 4: 32.5}[arm.size], num_calls=13)
    assert arms == [Arm(False, 1), Arm(False, 2), Arm(False, 4)]


def test_a_promise_that_rests_on_a_disturbed_start_is_not_kept():
    known = policy(serial=[10, 17.5])
    arms = explore(known, lambda arm: {1: 9, 2: 17.5}[arm.size])  # the first calls of one item were slow
    assert arms == [Arm(False, 1), Arm(False, 2)]


def test_serial_sizes_that_promise_less_than_parallel_calls_are_not_tried():
    serial = explore(policy(), lambda arm: 30 + 10 * arm.size)
    assert serial_sizes(serial) == [1, 2, 4, 8, 16]
    both = explore(policy(), lambda arm: 25 if arm.parallel else 30 + 10 * arm.size, parallel=True)
    assert serial_sizes(both) == [1, 2]


def test_only_sizes_that_can_be_filled_are_tried():
    arms = explore(policy(), lambda arm: 20 + arm.size, waiting=5)
    assert serial_sizes(arms) == [1, 2, 4]


def test_a_stale_arm_is_tried_once_more_and_a_machine_that_has_changed_is_noticed():
    known = policy(serial=[10, 30])
    arms = explore(known, lambda arm: 10, waiting=2, num_calls=400)
    assert arms == [Arm(False, 1)]
    arms = explore(known, lambda arm: 10, waiting=2, num_calls=5000)  # two items now take as long as one
    assert arms == [Arm(False, 1), Arm(False, 2)]
    assert known.choose(2, 2, parallel=False) == Arm(False, 2)


def test_retrying_costs_no_more_than_a_call_in_a_hundred():
    known = policy(serial=[10, 30])
    chosen = []
    for _ in range(5000):
        chosen.append(known.choose(2, 2, parallel=False))
        known.observe(chosen[-1], 10 if chosen[-1].size == 1 else 30)
    assert 0 < chosen.count(Arm(False, 2)) <= 50


def test_what_an_arm_took_long_ago_does_not_count_when_it_is_tried_again():
    known = policy(serial=[10, 30])
    for _ in range(5000):
        known.observe(Arm(False, 1), 10)
    known.observe(Arm(False, 2), 12)
    assert known.call_ms(Arm(False, 2)) is None
    for _ in range(2):
        known.observe(Arm(False, 2), 12)
    assert known.call_ms(Arm(False, 2)) == 12


# Choosing


def test_the_best_rate_wins():
    assert policy(serial=[10, 15, 22, 40, 90]).choose(16, 16, parallel=False) == Arm(False, 8)


def test_within_three_per_cent_the_shorter_call_wins():
    assert policy(serial=[10.0, 19.5, 39.0]).choose(4, 4, parallel=False) == Arm(False, 1)
    assert policy(serial=[10.0, 19.0, 38.0]).choose(4, 4, parallel=False) == Arm(False, 2)


def test_a_call_takes_no_more_than_what_waits():
    known = policy(serial=[20, 21, 22, 23, 24])
    assert [known.choose(n, n, parallel=False).size for n in (1, 2, 4, 8, 16, 40)] == [1, 2, 4, 8, 16, 16]


def test_a_call_is_filled_up_to_the_next_size_only_where_that_pays():
    cheap, dear = policy(serial=[20, 21, 22, 23]), policy(serial=[20, 30, 55, 108])
    assert cheap.choose(3, 3, parallel=False) == Arm(False, 4)  # 22 ms instead of 21 and 20
    assert cheap.choose(5, 5, parallel=False) == Arm(False, 8)
    assert dear.choose(3, 3, parallel=False) == Arm(False, 2)
    assert dear.choose(5, 5, parallel=False) == Arm(False, 4)


def test_a_call_is_not_filled_up_beyond_the_target():
    assert policy(serial=[20, 21, 45], target_p95_ms=80).choose(3, 3, parallel=False) == Arm(False, 2)


@pytest.mark.parametrize("max_batch_size", range(1, 20))
def test_no_call_is_larger_than_the_limit_power_of_two_or_not(max_batch_size):
    known = policy(max_batch_size=max_batch_size)
    arms = explore(known, lambda arm: 20 + arm.size, waiting=40, parallel=True)
    assert max(arm.size for arm in arms) <= max_batch_size < 2 * max(arm.size for arm in arms)
    assert known.sizes_from(Arm(False, 16)) == [size for size in SIZES if size <= max_batch_size]


# The target


def test_a_call_may_take_half_of_the_target():
    times_ms = [20, 30, 50, 90, 170]
    sizes = {target: policy(serial=times_ms, target_p95_ms=target).choose(16, 16, parallel=False).size
             for target in (400, 339, 180, 179, 61, 59)}  # fmt: skip
    assert sizes == {400: 16, 339: 8, 180: 8, 179: 4, 61: 2, 59: 1}


def test_a_size_whose_forecast_exceeds_the_target_is_not_tried():
    arms = explore(policy(target_p95_ms=150), lambda arm: 10 + 10 * arm.size)  # 8 items: 90 ms
    assert serial_sizes(arms) == [1, 2, 4]


def test_a_size_that_takes_hardly_longer_is_tried_however_tight_the_target():
    arms = explore(policy(target_p95_ms=45), lambda arm: 20 + arm.size / 8)
    assert serial_sizes(arms) == [1, 2, 4, 8, 16]


def test_where_one_item_exceeds_the_target_batches_that_take_no_longer_go_on():
    times_ms = [100, 101, 103, 107, 115]
    assert policy(serial=times_ms, target_p95_ms=50).choose(16, 16, parallel=False) == Arm(False, 8)


def test_where_nothing_keeps_the_target_the_shortest_call_is_left():
    assert policy(serial=[100, 150], target_p95_ms=50).choose(2, 2, parallel=False) == Arm(False, 1)


# Parallel calls


def test_parallel_calls_need_demand_for_the_cores():
    known = policy(serial=[20], parallel=[30])
    assert known.choose(1, 1.4, parallel=True) == Arm(False, 1)
    assert known.choose(1, 1.5, parallel=True) == Arm(True, 1)
    assert known.choose(1, 1.5, parallel=False) == Arm(False, 1)


def test_a_few_requests_on_many_cores_stay_serial():
    known = policy(cores=16, serial=[20], parallel=[160])
    assert known.choose(1, 11, parallel=True) == Arm(False, 1)
    assert known.choose(1, 12, parallel=True) == Arm(True, 1)


def test_parallel_calls_are_tried_beside_serial_ones_and_dropped_where_they_do_not_pay():
    known = policy()
    arms = explore(known, lambda arm: (25 if arm.parallel else 10) * arm.size**1.2, parallel=True)
    assert arms == [Arm(False, 1), Arm(True, 1), Arm(False, 2), Arm(True, 2)]
    assert known.choose(16, 16, parallel=True) == Arm(False, 1)


def test_parallel_calls_share_what_waits():
    known = policy(serial=[20, 40, 80], parallel=[20, 21, 22])
    assert known.choose(2, 2, parallel=True) == Arm(True, 1)
    assert known.choose(4, 4, parallel=True) == Arm(True, 2)


# Waiting for company


@pytest.mark.parametrize(
    ("serial", "gap_ms", "why"),
    [
        ([], 1.0, "nothing is known"),
        ([20], 1.0, "two items were never tried"),
        ([20, 40], 1.0, "company saves nothing"),
        ([20, 34], 1.0, "company saves less than the one who waits loses"),
        ([20, 21], 20.0, "nobody is likely to come in time: a lone client comes back after its answer"),
        ([20, 21], math.inf, "nobody has ever come"),
    ],
)
def test_nobody_waits_where_it_does_not_pay(serial, gap_ms, why):
    assert policy(serial=serial).wait_ms(1, gap_ms) == 0, why


def test_waiting_pays_where_company_costs_little_and_is_likely():
    assert policy(serial=[20, 21]).wait_ms(1, 2.0) == pytest.approx(9)
    assert policy(serial=[20, 21, 22]).wait_ms(3, 2.0) > 0


def test_waiting_never_leads_to_a_call_beyond_the_target():
    assert policy(serial=[20, 21], target_p95_ms=41).wait_ms(1, 2.0) == 0


def test_a_full_batch_does_not_wait():
    known = policy(serial=[20, 21, 22], max_batch_size=4)
    assert known.wait_ms(4, 0.1) == 0


# Calls that have to be short


def test_a_call_keeps_within_its_time_even_where_longer_ones_get_more_done():
    known = policy(serial=[30, 50, 90, 160, 300])
    assert known.choose(16, 16, parallel=False) == Arm(False, 16)
    assert known.choose_short(16, 16, parallel=False, within_ms=100) == Arm(False, 4)


def test_where_one_item_takes_too_long_it_is_the_quickest_call_for_one():
    slow = {"serial": [200, 395], "parallel": [300, 598]}
    assert policy(**slow).choose(16, 16, parallel=True) == Arm(True, 1)
    assert policy(**slow).choose_short(16, 16, parallel=True, within_ms=100) == Arm(False, 1)


def test_a_single_item_may_take_twice_the_time_where_that_gets_more_done():
    known = policy(serial=[75, 148], parallel=[120, 238])
    assert known.choose_short(16, 16, parallel=True, within_ms=100) == Arm(True, 1)
    assert known.choose_short(16, 16, parallel=True, within_ms=50) == Arm(False, 1)


def test_parallel_calls_within_the_time_fill_the_cores():
    known = policy(serial=[20, 40], parallel=[35, 60, 115])
    assert known.choose_short(16, 16, parallel=True, within_ms=100) == Arm(True, 2)


def test_sizes_that_promise_to_take_too_long_are_not_tried():
    arms = explore(policy(), lambda arm: 30 * arm.size**0.8, within_ms=90)
    assert serial_sizes(arms) == [1, 2]  # four promise to take 97
    assert serial_sizes(explore(policy(), lambda arm: 30 * arm.size**0.8)) == [1, 2, 4, 8, 16]


def test_a_call_is_not_padded_beyond_its_time():
    known = policy(serial=[60, 99, 104])
    assert known.choose(3, 3, parallel=False) == Arm(False, 4)
    assert known.choose_short(3, 3, parallel=False, within_ms=100) == Arm(False, 2)


def test_a_call_that_took_too_long_once_is_tried_again_in_the_end():
    known = policy(serial=[50], parallel=[250])
    situation = {"demand": 16, "parallel": True, "within_ms": 100.0}
    calm = {False: 20.0, True: 25.0}  # milliseconds an item, when the machine is no longer shared
    arms = explore(known, lambda arm: calm[arm.parallel] * arm.size, num_calls=3000, **situation)
    assert Arm(True, 1) in arms
    assert known.choose_short(16, **situation).parallel
