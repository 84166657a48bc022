"""The yardstick of int8 arithmetic: the compiled peak, and nothing where it cannot be compiled."""

import shutil

import pytest

from engines.machine import int8_rate


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_the_peak_is_measured_by_the_program_that_ships():
    assert int8_rate.measure_int8_peak_gops(1) > 1  # of a CPU of this century


def test_a_machine_without_a_compiler_has_no_peak(monkeypatch):
    monkeypatch.setattr(int8_rate.shutil, "which", lambda name: None)
    assert int8_rate.measure_int8_peak_gops(1) is None


def test_a_program_that_does_not_compile_gives_no_peak(monkeypatch, tmp_path):
    (tmp_path / "broken.c").write_text("#error unknown CPU")
    monkeypatch.setattr(int8_rate, "_PEAK_SOURCE", tmp_path / "broken.c")
    assert int8_rate.measure_int8_peak_gops(1) is None
