"""Telemetry: times by stage and window, shares that add up, downloads that others can read."""

import csv
import io
import json

import numpy as np
import pytest

from engines.loading import EngineKey
from engines.tracing import Span, Trace
from use_cases.telemetry.downloads import to_chrome_trace, to_csv
from use_cases.telemetry.shares import BETWEEN, time_shares
from use_cases.telemetry.sketches import RELATIVE_ERROR, StageKey, stage_times, summarize
from use_cases.telemetry.telemetry import KEPT_S, MAX_TRACES, SLICE_S, EngineCounts, Sample, Telemetry
from use_cases.telemetry.views import WHOLE, take_view

NAMES = ("siglit-mini", "onnx-fp32", "image")


class Clock:
    def __init__(self, now_s=1000.0):
        self.now_s = now_s

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def telemetry(clock):
    return Telemetry(clock=clock, wall_clock=lambda: 1_700_000_000.0)


def request(end_s, *spans, operation="classify", outcome="ok", duration_s=0.1):
    trace = Trace("rest", operation)
    trace.start_s, trace.spans = end_s - duration_s, list(spans)
    trace.end(outcome)
    trace.end_s = end_s
    return trace


def infer(end_s, ms):
    return Span("infer", end_s - ms / 1000, end_s, *NAMES, batch_size=1)


def sample(at_s, engines=None):
    return Sample(at_s, rss_bytes=1, cpu_cores=0.5, queued=0, in_work=0, engines=engines or {})


def test_a_copy_stays_as_it_is_while_requests_go_on(telemetry, clock):
    telemetry.keep(request(clock.now_s, infer(clock.now_s, 5)))
    telemetry.tick(sample(clock.now_s))
    known = telemetry.copy()
    telemetry.keep(request(clock.now_s, infer(clock.now_s, 5)))
    telemetry.tick(sample(clock.now_s))
    assert (known.window(60).requests, telemetry.window(60).requests) == (1, 2)
    assert (len(known.traces), len(known.samples)) == (1, 1)
    assert [each.start_s for each in known.slices] == [each.start_s for each in telemetry.slices]
    assert known.time_of_day(clock.now_s) == telemetry.time_of_day(clock.now_s)


@pytest.mark.parametrize("number", [1, 2, 3, 10, 99, 2_000])
def test_quantiles_are_within_the_stated_error(telemetry, clock, number):
    times_ms = np.random.default_rng(0).lognormal(2, 1, number)
    for ms in times_ms:
        telemetry.keep(request(clock.now_s, infer(clock.now_s, ms)))
    (row,) = stage_times(telemetry.window(60).stages)
    assert (row.key, row.number) == (StageKey("infer", *NAMES), number)
    for found, share in ((row.p50_ms, 50), (row.p90_ms, 90), (row.p99_ms, 99)):
        exact = np.percentile(times_ms, share, method="inverted_cdf")
        assert found == pytest.approx(exact, rel=RELATIVE_ERROR * 1.01)
    assert row.total_ms == pytest.approx(times_ms.sum())


def test_a_window_merges_its_slices_and_no_others(telemetry, clock):
    for minute in range(4):
        clock.now_s = 1000.0 + 60 * minute
        telemetry.keep(request(clock.now_s, infer(clock.now_s, 10 * (minute + 1))))
    assert telemetry.window(90).requests == 2
    (row,) = stage_times(telemetry.window(90).stages)
    assert row.p50_ms == pytest.approx(30, rel=0.02)
    assert telemetry.window(KEPT_S).requests == 4
    assert [each.start_s for each in telemetry.slices_of(KEPT_S)] == [1000, 1060, 1120, 1180]


def test_requests_are_counted_by_how_they_went(telemetry, clock):
    now_s = clock.now_s
    telemetry.keep(request(now_s, Span("load", now_s - 1, now_s), outcome="ok"))
    telemetry.keep(request(now_s, outcome="OverloadedError"))
    telemetry.keep(request(now_s, Span("embed", now_s - 1, now_s, *NAMES, items=5, cached=3)))
    window = telemetry.window(60)
    assert (window.requests, window.failed, window.cold, window.items, window.cached) == (3, 1, 1, 5, 3)


def test_the_rate_is_zero_where_nothing_ended(telemetry, clock):
    telemetry.keep(request(clock.now_s))
    clock.now_s += 4 * SLICE_S
    telemetry.keep(request(clock.now_s))
    telemetry.keep(request(clock.now_s, outcome="overloaded"))
    clock.now_s += 2 * SLICE_S
    view = take_view(telemetry, 60.0, WHOLE, None)
    assert [each.requests_per_s * SLICE_S for each in view.rates] == [1, 0, 0, 0, 2, 0, 0]
    assert [each.failed_per_s * SLICE_S for each in view.rates] == [0, 0, 0, 0, 1, 0, 0]
    assert [each.ago_s for each in view.rates] == sorted((each.ago_s for each in view.rates), reverse=True)


def test_a_window_begins_with_what_the_engines_did_up_to_its_first_sample(telemetry, clock):
    for number in range(61):
        counts = EngineCounts({4: 10 * number}, infer_s=SLICE_S * number)
        telemetry.tick(sample(clock.now_s, {EngineKey(*NAMES[:2]): counts}))
        clock.now_s += SLICE_S
    view = take_view(telemetry, 60.0, WHOLE, None)
    assert [each.engine_calls for each in view.states] == [1.0] * len(view.states)
    assert view.batch_sizes == {4: 10 * len(view.states)}
    assert len(view.states) == 60 / SLICE_S - 1  # the clock stands a slice after the last one
    everything = take_view(telemetry, KEPT_S, WHOLE, None)
    assert [each.engine_calls for each in everything.states] == [0.0] + [1.0] * 60


def test_all_that_is_kept_is_bounded(telemetry, clock):
    for _ in range(2 * MAX_TRACES):
        telemetry.keep(request(clock.now_s))
    telemetry.count()
    assert len(telemetry.traces) == MAX_TRACES
    for _ in range(int(3 * KEPT_S / SLICE_S)):
        clock.now_s += SLICE_S
        telemetry.keep(request(clock.now_s))
        telemetry.tick(sample(clock.now_s))
    assert len(telemetry.slices) <= KEPT_S / SLICE_S + 2
    assert len(telemetry.samples) <= KEPT_S / SLICE_S + 2


def test_requests_that_end_out_of_order_land_in_their_own_slices(telemetry, clock):
    for end_s in (1004.9, 1005.1, 1004.8):
        clock.now_s = 1006.0
        telemetry.keep(request(end_s))
    assert [(each.start_s, each.requests) for each in telemetry.slices_of(60)] == [(1000, 2), (1005, 1)]


def test_a_clock_on_the_wall_that_jumps_changes_no_distance(clock):
    wall = Clock(1_700_000_000.0)
    telemetry = Telemetry(clock=clock, wall_clock=wall)
    before = telemetry.time_of_day(clock.now_s)
    wall.now_s -= 86_400
    clock.now_s += 10
    assert telemetry.time_of_day(clock.now_s) == before + 10


def test_reset_forgets_everything_that_the_listeners_have_got(telemetry, clock):
    told = []
    telemetry.listeners.append(told.extend)
    telemetry.keep(request(clock.now_s, infer(clock.now_s, 5)))
    telemetry.tick(sample(clock.now_s))
    telemetry.keep(request(clock.now_s))
    telemetry.reset()
    assert len(told) == 2
    assert telemetry.window(KEPT_S).requests == 0
    assert not telemetry.traces
    assert not telemetry.samples


def test_new_traces_are_told_once(telemetry, clock):
    told = []
    telemetry.listeners.append(told.extend)
    traces = [request(clock.now_s), request(clock.now_s)]
    for trace in traces:
        telemetry.keep(trace)
    telemetry.count()
    telemetry.count()
    assert told == traces


def test_shares_add_up_and_stages_at_the_same_time_share_it():
    trace = request(
        10.1,
        Span("embed", 10.0, 10.08, *NAMES),  # around the others: not a share of its own
        Span("decode", 10.0, 10.04),
        Span("infer", 10.04, 10.08, *NAMES),
        Span("infer", 10.06, 10.08, "siglit-mini", "onnx-fp32", "text"),
        Span("queue", 10.06, 10.08, *NAMES),
    )
    shares = {each.stage: each for each in time_shares([trace])}
    assert sum(each.share for each in shares.values()) == pytest.approx(1)
    assert shares["decode"].total_ms == pytest.approx(40)
    assert shares["infer"].total_ms == pytest.approx(20 + 20 * 2 / 3)
    assert shares["queue"].total_ms == pytest.approx(20 / 3)
    assert shares[BETWEEN].total_ms == pytest.approx(20)
    assert next(iter(shares)) == "decode"
    assert time_shares([]) == []


def test_the_slowest_requests_are_known_however_many_came_after_them(telemetry, clock):
    for number in range(5):
        telemetry.keep(request(clock.now_s, infer(clock.now_s, 5), duration_s=2.0 + number))
    for _ in range(2 * MAX_TRACES):
        clock.now_s += 0.01
        telemetry.keep(request(clock.now_s, duration_s=0.01))
    view = take_view(telemetry, 60, WHOLE, None)
    assert [round(each.duration_ms) for each in view.slowest] == [6000, 5000, 4000, 3000, 2000, 10]
    of_engine = take_view(telemetry, 60, WHOLE, EngineKey(*NAMES[:2]))
    assert [round(each.duration_ms) for each in of_engine.slowest] == [6000, 5000, 4000, 3000, 2000]
    assert len(view.traces) == MAX_TRACES


def test_the_csv_has_a_line_for_whole_requests_and_one_for_each_stage(telemetry, clock):
    telemetry.keep(request(clock.now_s, infer(clock.now_s, 8)))
    window = telemetry.window(60)
    (sketch,) = window.operations.values()
    written = to_csv([summarize(StageKey("classify"), sketch)], stage_times(window.stages))
    whole, row = csv.DictReader(io.StringIO(written))
    assert (whole["of"], whole["stage"], whole["number"], row["of"]) == ("request", "classify", "1", "stage")
    assert float(whole["p50_ms"]) == pytest.approx(100, rel=0.02)
    assert (row["model"], row["stage"], row["number"]) == ("siglit-mini", "infer", "1")
    assert float(row["p50_ms"]) == pytest.approx(8, rel=0.02)


def test_the_chrome_trace_has_complete_events_that_never_cross_in_a_thread():
    trace = request(10.1, Span("decode", 10.0, 10.05), Span("infer", 10.02, 10.08, *NAMES, batch_size=4))
    events = json.loads(to_chrome_trace([trace, request(11.0)]))["traceEvents"]
    names = {event["pid"]: event["args"]["name"] for event in events if event["ph"] == "M"}
    assert names == {1: "rest classify", 2: "rest classify"}
    whole, decode, call = (event for event in events if event["ph"] == "X" and event["pid"] == 1)
    assert (whole["tid"], decode["tid"], call["tid"]) == (0, 1, 2)
    assert decode["dur"] == pytest.approx(50_000)
    assert call["args"]["batch_size"] == 4
