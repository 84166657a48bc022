"""The build command: bad input, and several models at a time."""

import threading

import pytest

from app.cli import build


def test_a_model_that_is_not_there_ends_with_code_2_and_a_sentence(capsys):
    assert build.main(["nothing"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "No model 'nothing'" in err


@pytest.mark.parametrize("jobs", ["0", "-1", "many", "65"])
def test_numbers_of_jobs_that_cannot_be_used_end_with_code_2(jobs, capsys):
    with pytest.raises(SystemExit) as stop:
        build.main([f"--jobs={jobs}"])
    assert stop.value.code == 2
    assert "no whole number from 1 to 64" in capsys.readouterr().err


def test_models_are_built_at_the_same_time_and_told_in_their_order(monkeypatch, capsys):
    both, first_may_end = threading.Barrier(2, timeout=60), threading.Event()

    def load_engine(model, engine, options):
        both.wait()  # breaks when one has to wait for the other
        if model == "first":
            assert first_may_end.wait(60)
        first_may_end.set()

    monkeypatch.setattr(build, "load_engine", load_engine)
    assert build.main(["first", "second", "--jobs", "2"]) == 0
    assert capsys.readouterr().out.splitlines() == ["first on onnx-fp32: ready", "second on onnx-fp32: ready"]
