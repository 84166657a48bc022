"""The time gate: it passes, and fails when a server has become slow; make test runs it on the real one."""

from dataclasses import replace
from pathlib import Path

import pytest

from app.cli import gate
from app.cli.gate import main

SLOW = Path(__file__).parent / "slow_server.py"


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run the command on a server that starts so many seconds late; return its exit code and output."""

    def run(delay_s, *arguments):
        monkeypatch.setenv("DELAY_S", str(delay_s))
        budget = ["--budget", str(tmp_path / "budget.json"), "--engines", "", "--parts", ""]
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
