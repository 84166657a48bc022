"""Traces as OpenTelemetry spans, sent to a collector: on when the environment names its endpoint.

The endpoint and everything else (headers, timeout, service name) are OpenTelemetry's own variables, see
https://opentelemetry.io/docs/specs/otel/protocol/exporter/.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from engines.errors import BackendUnavailableError
from engines.tracing import Span, Trace

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.util.types import AttributeValue

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_SERVICE = "siglip-as-server"  # unless OTEL_SERVICE_NAME says otherwise
_QUEUE_SIZE, _MAX_WAITING = "OTEL_BSP_MAX_QUEUE_SIZE", 32_768  # spans; they come in portions
_NANOSECONDS = 1e9


def is_wanted() -> bool:
    """Tell whether the environment names an endpoint."""
    return any(os.environ.get(name) for name in ENDPOINTS)


class OtlpSender:
    """Sends traces to a collector, in a thread and a few at a time; what it cannot send it drops and logs."""

    def __init__(self, time_of_day: Callable[[float], float], exporter: SpanExporter | None = None) -> None:
        """Begin to send.

        Args:
            time_of_day: returns the seconds since 1970 at a moment of `time.perf_counter`.
            exporter: sends; OTLP over HTTP when not given.

        Raises:
            BackendUnavailableError: when OpenTelemetry is not installed.
        """
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import SERVICE_NAME, Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError:
            raise BackendUnavailableError(
                f"{' or '.join(ENDPOINTS)} is set, but OpenTelemetry is not installed: pip install"
                " opentelemetry-sdk opentelemetry-exporter-otlp-proto-http, or unset it."
            ) from None
        name = os.environ.get("OTEL_SERVICE_NAME", _SERVICE)
        self._provider = TracerProvider(resource=Resource.create({SERVICE_NAME: name}))
        # Its default holds what a busy server's requests leave in a few seconds, and drops the rest.
        queue_size = None if os.environ.get(_QUEUE_SIZE) else _MAX_WAITING
        self._provider.add_span_processor(
            BatchSpanProcessor(exporter or OTLPSpanExporter(), max_queue_size=queue_size)
        )
        self._tracer = self._provider.get_tracer("siglip")
        self._time_of_day = time_of_day

    def send(self, traces: Sequence[Trace]) -> None:
        """Send a span for each request, with its stages as children."""
        from opentelemetry.trace import set_span_in_context

        for trace in traces:
            facts: dict[str, AttributeValue] = {
                "siglip.door": trace.door,
                "siglip.outcome": trace.outcome,
                "siglip.spans_left_out": trace.left_out,
            }
            parent = self._tracer.start_span(
                trace.operation, start_time=self._nanoseconds(trace.start_s), attributes=facts
            )
            context = set_span_in_context(parent)
            for span in trace.spans:
                child = self._tracer.start_span(
                    span.stage, context, start_time=self._nanoseconds(span.start_s), attributes=_facts(span)
                )
                child.end(self._nanoseconds(span.end_s))
            parent.end(self._nanoseconds(trace.end_s))

    def close(self) -> None:
        """Send what is left, and stop."""
        self._provider.shutdown()

    def _nanoseconds(self, at_s: float) -> int:
        return round(self._time_of_day(at_s) * _NANOSECONDS)


def _facts(span: Span) -> dict[str, AttributeValue]:
    facts = span._asdict()
    names = ("model", "engine", "tower", "batch_size", "items", "cached")
    return {f"siglip.{name}": facts[name] for name in names if facts[name]}
