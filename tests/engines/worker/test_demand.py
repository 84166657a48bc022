"""How much there was to do in the last moments."""

import math

import pytest

from engines.worker.demand import WINDOW_S, Demand


class Clock:
    now_s = 100.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def demand(clock):
    return Demand(clock)


def test_nothing_was_asked_for_at_first(demand):
    assert demand.average == 0
    assert math.isinf(demand.gap_ms)


def test_the_average_approaches_what_is_in_the_system(demand, clock):
    demand.note(4)
    assert demand.average == 0  # an instant does not count
    clock.now_s += WINDOW_S
    assert demand.average == pytest.approx(4 * (1 - math.exp(-1)))
    clock.now_s += 10 * WINDOW_S
    assert demand.average == pytest.approx(4, rel=1e-3)
    demand.note(0)
    clock.now_s += 10 * WINDOW_S
    assert demand.average == pytest.approx(0, abs=1e-3)


def test_the_average_does_not_depend_on_how_often_it_is_looked_at(clock):
    often, once = Demand(clock), Demand(clock)
    for demand in (often, once):
        demand.note(3)
    for _ in range(10):
        clock.now_s += WINDOW_S / 10
        _ = often.average
    assert often.average == pytest.approx(once.average)


def test_a_lone_client_makes_for_less_than_one_item(demand, clock):
    for _ in range(200):
        demand.note(1)
        clock.now_s += 0.02
        demand.note(0)
        clock.now_s += 0.005
    assert demand.average == pytest.approx(0.8, abs=0.02)


def test_the_gap_is_the_usual_time_between_arrivals(demand, clock):
    demand.arrive()
    assert math.isinf(demand.gap_ms)  # one arrival says nothing
    for _ in range(50):
        clock.now_s += 0.004
        demand.arrive()
    assert demand.gap_ms == pytest.approx(4)
    clock.now_s += 0.104
    demand.arrive()
    assert demand.gap_ms == pytest.approx(24)  # one pause does not count for much
