"""The float32 yardstick is one of the two libraries' rates."""

from engines.profiling import peak


def test_the_peak_is_a_rate_of_one_of_the_libraries(monkeypatch):
    monkeypatch.setattr(peak, "_SHAPES", ((128, 128, 128),))
    monkeypatch.setattr(peak, "_DURATION_S", 0.05)
    found = peak.measure_float32_peak(1)
    assert found.gflops > 0
    assert found.library in ("NumPy", "ONNX Runtime")
