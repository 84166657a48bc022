"""The yardstick of int8 arithmetic: the compiled peak, and nothing where it cannot be compiled or run."""

import shutil
from dataclasses import replace

import pytest

from engines.machine import int8_rate
from engines.machine.cpu import read_cpu

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
_NOISE = 0.8  # a neighbour may slow the one and not the other; with lesser instructions it was 0.2 to 0.4


@needs_compiler
def test_no_product_is_faster_than_the_peak_of_the_program_that_ships():
    peak = int8_rate.measure_int8_peak_gops(1)
    if peak is None:
        pytest.skip("the best int8 instructions of this CPU are not known here")
    assert peak > _NOISE * int8_rate.measure_int8_gops(1)


@needs_compiler
@pytest.mark.parametrize(
    ("machine", "old_native", "instruction"),
    [("x86_64", "haswell", "avx512_vnni"), ("aarch64", "armv8.2-a+dotprod", "arm_i8mm")],
)
def test_a_compiler_that_does_not_know_the_best_instructions_gives_no_peak(
    machine, old_native, instruction, monkeypatch, tmp_path
):
    if read_cpu().architecture != machine:
        pytest.skip(f"this is no {machine}")
    old = tmp_path / "cc"
    old.write_text(f'#!/bin/sh\nexec cc $(printf "%s\\n" "$@" | sed s/=native/={old_native}/)\n')
    old.chmod(0o755)
    monkeypatch.setattr(int8_rate.shutil, "which", lambda name: str(old))
    cpu = replace(read_cpu(), instructions=frozenset({instruction}))
    monkeypatch.setattr(int8_rate, "read_cpu", lambda: cpu)
    assert int8_rate.measure_int8_peak_gops(1) is None


def test_a_machine_without_a_compiler_has_no_peak(monkeypatch):
    monkeypatch.setattr(int8_rate.shutil, "which", lambda name: None)
    assert int8_rate.measure_int8_peak_gops(1) is None


@needs_compiler
def test_a_program_that_the_system_does_not_let_run_gives_no_peak(monkeypatch, tmp_path):
    (tmp_path / "refused.c").write_text("int main(void) { return 1; }")
    monkeypatch.setattr(int8_rate, "_PEAK_SOURCE", tmp_path / "refused.c")
    assert int8_rate.measure_int8_peak_gops(1) is None


def test_a_program_that_does_not_compile_gives_no_peak(monkeypatch, tmp_path):
    (tmp_path / "broken.c").write_text("#error unknown CPU")
    monkeypatch.setattr(int8_rate, "_PEAK_SOURCE", tmp_path / "broken.c")
    assert int8_rate.measure_int8_peak_gops(1) is None
