"""The startup command refuses what it cannot time, and says in a sentence why nothing was timed."""

import pytest

from app.cli import own_server, startup


@pytest.mark.parametrize("rounds", ["0", "-3", "x"])
def test_rounds_that_time_nothing_are_refused(rounds, capsys):
    with pytest.raises(SystemExit) as stop:
        startup.main([f"--rounds={rounds}"])
    assert stop.value.code == 2
    assert f"'{rounds}' is no whole number from 1" in capsys.readouterr().err


def test_a_server_that_does_not_start_is_quoted(tmp_path, monkeypatch, capsys):
    script = tmp_path / "app.py"
    script.write_text("raise SystemExit('error: Unknown engine.')")
    monkeypatch.setattr(own_server, "_APP", script)
    assert startup.main(["--rounds", "1"]) == 2
    assert capsys.readouterr() == ("", "error: The server did not start: Unknown engine.\n")


def test_a_server_that_does_not_answer_is_told(tmp_path, monkeypatch, capsys):
    script = tmp_path / "app.py"
    script.write_text("import time; print('http://127.0.0.1:9', flush=True); time.sleep(60)")
    monkeypatch.setattr(own_server, "_APP", script)
    assert startup.main(["--rounds", "1"]) == 2
    assert capsys.readouterr().err.startswith("error: The server did not answer: ")


def test_a_classify_command_that_fails_is_quoted(monkeypatch, capsys):
    monkeypatch.setattr(startup, "start_server_and_ask", lambda: 1.0)
    monkeypatch.setattr(startup, "_LABELS", " , ")
    assert startup.main(["--rounds", "1"]) == 2
    assert capsys.readouterr().err.startswith("error: The classify command failed: There are no labels")
