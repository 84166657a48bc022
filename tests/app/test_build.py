"""The build command: bad input, and several models at a time."""

import threading

import pytest

from app.cli import build


def test_a_model_that_is_not_there_ends_with_code_2_and_a_sentence_before_others_are_built(
    monkeypatch, capsys
):
    monkeypatch.setattr(build, "load_engine", None)  # a call would fail
    assert build.main(["siglit-mini", "nothing"]) == 2
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
    both, second_has_ended = threading.Barrier(2, timeout=60), threading.Event()

    def load_engine(spec, engine, options):
        both.wait()  # breaks when one has to wait for the other
        if spec.name == "lit-mini":
            assert second_has_ended.wait(60)
        second_has_ended.set()

    monkeypatch.setattr(build, "load_engine", load_engine)
    assert build.main(["lit-mini", "siglit-mini", "--jobs", "2"]) == 0
    lines = [f"{model} on onnx-fp32: ready" for model in ("lit-mini", "siglit-mini")]
    assert capsys.readouterr().out.splitlines() == lines
