"""Comparisons in rounds, against a server that answers at once and a worker that pretends."""

from dataclasses import asdict, replace

import pytest

from app.cli.load_table import load_table
from engines.errors import BackendUnavailableError
from tests.stub_server import serving
from use_cases.load import clients, plan
from use_cases.load.plan import LoadPlan
from use_cases.load.run import fewest_clean_rounds, run_load_test
from use_cases.load.server import Server
from use_cases.load.tables import load_tables
from use_cases.workers import TIMEOUT_S

ANSWERS = {
    "models": (200, b'{"data": [{"id": "m"}]}'),
    "embeddings": (200, b'{"engine": "e"}'),
    "classify": (200, b'{"timings_ms": {"decode": 2.0, "infer": 0.0}}'),
    "metrics": (200, b"siglip_resident_memory_bytes 3.4e+08"),
}
LOOP = {"best": "parallel x 1", "work_per_s": 50.0, "engine_per_s": 80.0, "call_ms": 20.0, "prepare_ms": 5.0}
RATES = {"adaptive": 38.0, "serial x 1": 40.0, "parallel x 4": 30.0}
PLAN = LoadPlan(clients=(2,), seconds=0.1, rounds=2, sweep=True)


@pytest.fixture(autouse=True)
def short_rounds(monkeypatch):
    monkeypatch.setattr(plan, "_MIN_ROUND_S", 0.1)
    monkeypatch.setattr(clients, "_MAX_PAUSE_S", 0.02)


def fake_worker(job):
    assert (job["model"], job["engine"]) == ("m", "e")
    found = {"load_loop": LOOP, "load_policies": {"rates": RATES}}[job["task"]]
    return {**found, "foreign_cores": 0.0}


def run(worker=fake_worker, planned=PLAN, **answers):
    with serving(**ANSWERS | answers) as (_, address):
        return run_load_test(
            Server(address=address, model="m"), planned, model="public", source="m", worker=worker
        )


def test_every_quantity_has_its_rounds_and_what_it_is_made_of():
    levels, comparisons = run()
    assert [level.clients for level in levels] == [2]
    found = {each.measurement: each for each in comparisons}
    assert list(found) == ["overhead", "lone", "repeat", "labels", "policy"]
    assert {each.value.num_rounds for each in comparisons} == {2}
    assert {(each.model, each.engine) for each in comparisons} == {("public", "e")}
    rate = found["overhead"].parts["http_requests_per_s"].rounds[0]
    assert found["overhead"].value.rounds[0] == pytest.approx(1 - rate / 50)
    p50_ms = found["lone"].parts["p50_ms"].rounds[0]
    assert found["lone"].value.rounds[0] == p50_ms  # the engine took no time
    decode_ms = found["lone"].parts["decode_ms"].rounds[0]
    assert found["lone"].parts["beside_image_work_ms"].rounds[0] == p50_ms - decode_ms
    assert found["lone"].parts["beside_loop_call_ms"].rounds[0] == p50_ms - 20
    assert found["policy"].value.median == 38 / 40
    assert found["policy"].note == "best fixed: serial x 1"
    assert fewest_clean_rounds(comparisons) <= 2
    table = load_table(levels, comparisons)
    assert "policy: 0.95 x the best fixed policy's rate" in table
    rows = [asdict(row) for row in (*levels, *comparisons)]
    assert "| policy | serial x 1 | 40.00 |" in load_tables(rows)


def test_a_model_that_is_only_on_the_server_leaves_the_rest_to_be_compared():
    def worker(job):
        raise BackendUnavailableError("No model 'm' here.")

    levels, comparisons = run(worker)
    found = {each.measurement: each for each in comparisons}
    assert found["overhead"].reason == found["policy"].reason == "No model 'm' here."
    assert found["repeat"].value.num_rounds == 2
    assert "beside_loop_call_ms" not in found["lone"].parts
    assert "overhead: not available: No model 'm' here." in load_table(levels, comparisons)
    rows = [asdict(row) for row in (*levels, *comparisons)]
    assert "| - | - | of the loop's rate lost | No model 'm' here. |" in load_tables(rows)


def test_a_server_that_refuses_leaves_the_rest_to_be_compared():
    refused = (429, b'{"error": {"message": "Too many."}}')
    levels, comparisons = run(classify=refused, planned=replace(PLAN, mix={"classify": 1}))
    found = {each.measurement: each for each in comparisons}
    assert [level.clients for level in levels] == [2]
    assert "No request was answered well" in found["overhead"].reason
    assert found["lone"].reason == found["repeat"].reason == "The server refused a request: Too many."
    assert {found[name].value.num_rounds for name in ("labels", "policy")} == {2}
    assert "lone: not available: The server refused a request" in load_table(levels, comparisons)


def test_a_server_that_is_gone_leaves_what_was_measured_and_no_address():
    with serving(**ANSWERS) as (http, address):

        def worker(job):
            http.shutdown()
            http.server_close()
            return fake_worker(job)

        levels, comparisons = run_load_test(
            Server(address=address, model="m"),
            replace(PLAN, sweep=False),
            model="public",
            source="m",
            worker=worker,
        )
    assert levels[0].ok > 0
    assert {each.value for each in comparisons} == {None}
    overhead, *others = (each.reason for each in comparisons)
    assert overhead.startswith("No request was answered well")
    assert {reason.partition(" (")[0] for reason in others} == {"No server answers at URL"}


def test_the_longest_times_fit_into_what_a_worker_has():
    longest = LoadPlan(seconds=3600.0)
    assert 11 * longest.round_s + longest.warmup_s + 10 + 120 < TIMEOUT_S  # each policy, and loading
    assert LoadPlan(seconds=30.0).round_s == 6.0
