"""OpenTelemetry: a span a stage below one a request, sent to a collector that listens."""

import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from engines.errors import BackendUnavailableError
from engines.tracing import Span, Trace
from use_cases.telemetry import otlp
from use_cases.telemetry.otlp import OtlpSender


@pytest.fixture
def collector(monkeypatch):
    """Listen as a collector does; yield the bodies that came."""
    bodies = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            bodies.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
    yield bodies
    server.shutdown()
    server.server_close()


def test_requests_reach_the_collector_with_their_stages(collector):
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    assert otlp.is_wanted()
    trace = Trace("rest", "classify")
    trace.add(Span("infer", trace.start_s, trace.start_s + 0.01, "siglit-mini", "onnx-fp32", "image", 4))
    trace.end("ok")
    sender = OtlpSender(lambda at_s: at_s - trace.start_s + 1_700_000_000)
    sender.send([trace])
    sender.close()
    ((path, body),) = collector
    assert path == "/v1/traces"
    (resource,) = ExportTraceServiceRequest.FromString(body).resource_spans
    spans = {span.name: span for span in resource.scope_spans[0].spans}
    assert spans["infer"].parent_span_id == spans["classify"].span_id
    assert spans["infer"].start_time_unix_nano == 1_700_000_000 * 10**9
    took_ns = spans["infer"].end_time_unix_nano - spans["infer"].start_time_unix_nano
    assert took_ns == pytest.approx(10_000_000, abs=1_000)  # a float of seconds since 1970 is that coarse
    facts = {each.key: each.value for each in spans["infer"].attributes}
    assert facts["siglip.engine"].string_value == "onnx-fp32"
    assert facts["siglip.batch_size"].int_value == 4
    names = {each.key: each.value.string_value for each in resource.resource.attributes}
    assert names["service.name"] == "siglip-as-server"


def test_without_an_endpoint_nothing_is_wanted(monkeypatch):
    for name in otlp.ENDPOINTS:
        monkeypatch.delenv(name, raising=False)
    assert not otlp.is_wanted()


def test_a_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(BackendUnavailableError, match="pip install opentelemetry-sdk"):
        OtlpSender(float)


def test_what_comes_within_seconds_is_not_dropped(monkeypatch):
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    class SlowExporter(InMemorySpanExporter):
        def export(self, spans):
            time.sleep(0.02)
            return super().export(spans)

    traces = [Trace("rest", "classify") for _ in range(500)]
    for trace in traces:
        for _ in range(9):
            trace.add(Span("infer", trace.start_s, trace.start_s + 0.01))
        trace.end("ok")
    exporter = SlowExporter()
    sender = OtlpSender(float, exporter)
    sender.send(traces)
    sender.close()
    assert len(exporter.get_finished_spans()) == 500 * 10
