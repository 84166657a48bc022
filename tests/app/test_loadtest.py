"""The load test's command: against a real server, one of its own, and with arguments that cannot be used."""

import json
from functools import partial

import psutil
import pytest

from app.cli import loadtest, own_server, records
from use_cases.load import plan, quantities
from use_cases.load.connection import LoadTestError
from use_cases.load.inputs import NewTexts
from use_cases.record_tables import render_record
from use_cases.results import read_record, validate_record, write_record

QUICK = ["--seconds", "1", "--clients", "1,3", "--rounds", "1"]


@pytest.fixture(autouse=True)
def no_key(monkeypatch):
    monkeypatch.delenv("SIGLIP_API_KEYS", raising=False)


@pytest.mark.model
def test_a_running_server_is_tested_and_a_record_kept(server, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(records, "write_record", partial(write_record, folder=tmp_path))
    for name, small in (("_NUM_PAIRS", 3), ("_NUM_LABELS", 8), ("_MIN_LONE_REQUESTS", 3)):
        monkeypatch.setattr(quantities, name, small)
    monkeypatch.setattr(plan, "_MIN_ROUND_S", 1.0)  # other tests may keep both cores busy
    assert loadtest.main(["--url", server, *QUICK, "--write"]) == 0
    out = capsys.readouterr().out
    record = json.loads(out.splitlines()[-1])
    validate_record(record)
    (path,) = tmp_path.glob("load-*.json")
    assert read_record(path) == record
    assert path.with_suffix(".md").read_text("utf-8") == render_record(record)
    assert server not in out
    one, three, *comparisons = record["results"]
    assert (one["clients"], three["clients"]) == (1, 3)
    for level in (one, three):
        assert level["ok"] > 0
        assert level["engine"] == "onnx-fp32"
        assert [level[kind] for kind in ("shed", "server_errors", "other_errors", "hung")] == [0, 0, 0, 0]
    assert [row["measurement"] for row in comparisons] == ["overhead", "lone", "repeat", "labels"]
    assert all(row["value"]["num_rounds"] == 1 for row in comparisons)


@pytest.mark.model
def test_a_server_of_its_own_is_stopped_at_the_end(capsys, monkeypatch):
    pids = []

    def remember(server, plan, **_):
        pids.append(server.pid)
        assert server.check(NewTexts(1)) == "onnx-int8-dynamic"
        assert psutil.Process(server.pid).environ()["SIGLIP_DEMO_GALLERY"] == "false"  # it would take time
        raise LoadTestError("Enough.")

    monkeypatch.setattr(loadtest, "run_load_test", remember)
    assert loadtest.main([*QUICK, "--engine", "onnx-int8-dynamic"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "error: Enough."
    assert not psutil.pid_exists(pids[0])


def test_a_server_that_does_not_stop_is_killed_after_the_record_was_printed(tmp_path, monkeypatch, capsys):
    script = tmp_path / "app.py"
    script.write_text(
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        " print('http://127.0.0.1:9', flush=True); time.sleep(60)"
    )
    pids = []
    monkeypatch.setattr(own_server, "_APP", script)
    monkeypatch.setattr(own_server, "_STOP_S", 0.3)
    monkeypatch.setattr(
        loadtest, "run_load_test", lambda server, *_, **__: pids.append(server.pid) or ([], [])
    )
    assert loadtest.main(QUICK) == 2
    out, err = capsys.readouterr()
    assert json.loads(out.splitlines()[-1])["kind"] == "load"
    assert err == "error: The server did not stop within 0.3 s of SIGTERM and was killed.\n"
    assert not psutil.pid_exists(pids[0])


@pytest.mark.model
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--url", "here"], "'here' is no address of a server"),
        (["--url", "http://127.0.0.1:7860/ü"], "'http://127.0.0.1:7860/ü' is no address of a server"),
        (["--url", "http://.example.com"], "'http://.example.com' is no address of a server"),
        (["--url", "http://127.0.0.1:9"], "No server answers at http://127.0.0.1:9"),
        (["--model", "random:resnet"], "No random checkpoint 'resnet'"),
        (["--model", "nothing"], "The server did not start: No model 'nothing'"),
    ],
)
def test_what_cannot_be_tested_ends_with_code_2_and_a_sentence(arguments, sentence, capsys):
    assert loadtest.main([*QUICK, *arguments]) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.model
def test_a_model_that_the_server_does_not_offer_is_named(server, capsys):
    assert loadtest.main([*QUICK, "--url", server, "--model", "lit-maxi"]) == 2
    assert "Unknown model 'lit-maxi'; this server offers siglit-mini, lit-mini." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--clients", "1,many"], "'many' is no whole number from 1"),
        (["--clients", ""], "is no whole number"),
        (["--mix", "classify"], "'' is no whole number from 1"),
        (["--mix", "rank=1"], "'rank' is no kind of request; there are classify, embed"),
        (["--seconds", "nan"], "'nan' is no number of seconds"),
        (["--rounds", "0"], "'0' is no whole number"),
        (["--engine", "tensorrt"], "invalid choice"),
    ],
)
def test_arguments_that_cannot_be_used_end_with_code_2(arguments, problem, capsys):
    with pytest.raises(SystemExit) as stop:
        loadtest.main(arguments)
    assert stop.value.code == 2
    assert problem in capsys.readouterr().err


def test_the_command_in_a_record_names_no_address_and_no_folder(tmp_path):
    given = ["--url", "http://secret:1", "--model", str(tmp_path), "--mix", "classify=2,embed=1", "--sweep"]
    assert loadtest.command_line(loadtest.build_parser().parse_args(given)) == (
        f"python -m app.cli.loadtest --model {tmp_path.name} --url URL --seconds 30 --rounds 3"
        " --mix classify=2,embed=1 --sweep"
    )
