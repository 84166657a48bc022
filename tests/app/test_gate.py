"""The time gate: it passes, and fails when a server has become slow; make test runs it on the real one."""

from dataclasses import replace
from pathlib import Path

import pytest

from app.cli import gate, gate_stages
from app.cli.gate import main

SLOW = Path(__file__).parent / "slow_server.py"


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run the command on a server that starts so many seconds late; return its exit code and output."""

    def run(delay_s, *arguments):
        monkeypatch.setenv("DELAY_S", str(delay_s))
        monkeypatch.setattr(gate_stages, "_import_app", lambda: None)
        budget = ["--budget", str(tmp_path / "budget.json"), "--engines", "", "--parts", "import"]
        code = main([*budget, "--script", str(SLOW), *arguments])
        return code, capsys.readouterr().out

    return run


def started(text):
    return [line for line in text.splitlines() if line.startswith("start until ready")][-1].split()


def test_the_gate_passes_and_fails_when_a_delay_is_injected(run, tmp_path, monkeypatch):
    monkeypatch.setenv("SIGLIP_SLA_SECONDS", "600")
    code, text = run(0, "--update")
    assert (code, "start until ready: nothing -> " in text) == (0, True)
    path = tmp_path / "budget.json"  # starting takes a moment, of which neighbours may make several
    wide = {name: replace(limit, high=5 * limit.high) for name, limit in gate.read_budget(path).items()}
    gate.write_budget(path, wide)
    code, text = run(0)
    assert code == 0, text
    code, text = run(8)
    assert (code, started(text)[-1]) == (1, "over")
    assert "once more, for a neighbour may have disturbed it" in text


def test_it_fails_when_the_whole_takes_too_long(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SIGLIP_SLA_SECONDS", "0.000001")
    monkeypatch.setattr(gate, "measure_stages", lambda *_: [gate.Quantity("stop", "kernels", 1.0, 5.0)])
    gate.write_budget(tmp_path / "budget.json", {"stop": gate.Limit("kernels", 1, 0.5, 2)})
    assert main(["--budget", str(tmp_path / "budget.json"), "--engines", ""]) == 1
    assert capsys.readouterr().out.splitlines()[-1].split()[-1] == "over"


MEASURED = [
    gate.Quantity("import the app", "kernels", 5.0, 50.0),
    gate.Quantity("start until ready", "kernels", 5.0, 50.0),
    gate.Quantity("classify over REST", "kernels", 5.0, 50.0),
    gate.Quantity("peak RSS of the server", "MB", 5.0),
    gate.Quantity("classify on onnx-fp32", "kernels", 5.0, 50.0),
    gate.Quantity("stop", "kernels", 5.0, 50.0),
]
PEAK, START, STOP = "peak RSS of the server", "start until ready", "stop"


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [
        (["--parts", "import"], [PEAK, STOP]),
        (["--parts", ""], [START, PEAK, STOP]),
        (["--parts", "rest,client"], [START, STOP]),
        (["--parts", "import,rest,client,engines", "--engines", "onnx-fp32"], [STOP]),
        (["--parts", "engines,client,rest,import"], []),
    ],
)
def test_a_part_neither_judges_nor_updates_what_the_parts_that_were_left_out_change(
    tmp_path, monkeypatch, capsys, arguments, kept
):
    path = tmp_path / "budget.json"
    monkeypatch.setattr(gate, "build_engines", lambda _: 0)
    monkeypatch.setattr(gate, "measure_stages", lambda *_: MEASURED)
    strict = {quantity.name: gate.Limit(quantity.unit, 1, 0.5, 2) for quantity in MEASURED}
    gate.write_budget(path, strict)
    main(["--budget", str(path), *arguments])
    out = capsys.readouterr().out
    judged = {quantity.name for quantity in MEASURED if f"\n{quantity.name}  " in out}
    assert judged == strict.keys() - set(kept)
    assert out.count("Not compared, for what they depend on was left out") == bool(kept)
    assert main(["--budget", str(path), "--update", *arguments]) == 0
    after = gate.read_budget(path)
    assert {name for name, limit in after.items() if limit == strict[name]} == set(kept)


def test_the_client_alone_finds_a_filled_gallery(tmp_path, monkeypatch):
    done = []
    monkeypatch.setenv("DELAY_S", "0")
    monkeypatch.setattr(gate_stages, "_fill_gallery", lambda api: done.append("fill"))
    monkeypatch.setattr(gate_stages, "_measure_client", lambda *_: done.append("client"))
    gate_stages.measure_stages(["client"], tmp_path, [], SLOW)
    assert done == ["fill", "client"]


def test_a_budget_that_cannot_be_written_is_told_before_measuring(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gate, "measure_stages", lambda *_: pytest.fail("it was measured"))
    path = tmp_path / "missing" / "budget.json"
    assert main(["--engines", "", "--budget", str(path), "--update"]) == 2
    assert capsys.readouterr().err == f"error: {path} cannot be written (No such file or directory).\n"


@pytest.mark.parametrize("arguments", [[], ["--update"]])
def test_a_folder_as_budget_is_one_sentence(tmp_path, capsys, arguments):
    assert main(["--engines", "", "--budget", str(tmp_path), *arguments]) == 2
    assert capsys.readouterr().err == f"error: {tmp_path} cannot be read (Is a directory).\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--budget", "nothing.json"], "There is no budget nothing.json"),
        (["--budget", "nothing.json", "--update", "--parts", "rest,some"], "There is no part 'some'"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(capsys, arguments, sentence):
    assert main(["--engines", "", *arguments]) == 2
    assert sentence in capsys.readouterr().err


def test_an_sla_that_is_no_number_is_one_sentence(monkeypatch, capsys):
    monkeypatch.setenv("SIGLIP_SLA_SECONDS", "soon")
    assert main(["--engines", ""]) == 2
    assert "SIGLIP_SLA_SECONDS is 'soon'" in capsys.readouterr().err
