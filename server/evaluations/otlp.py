"""Events to an OpenTelemetry collector: the SDK, bounded on all sides, and quiet.

    OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318 burgee serve --telemetry-sample 0.001 …

At most QUEUE events wait; what is more is lost and counted, and so is what the collector does not take.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Mapping, Sequence

import structlog
from opentelemetry._logs import LogRecord
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.sdk._logs import LoggerProvider, ReadableLogRecord
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.resources import OTELResourceDetector, Resource

from server.evaluations.telemetry import EVENT
from server.version import version

QUEUE = 2048  # events
BATCH = 512  # events of one export
FINISH = 2.0  # seconds for the last ones
QUIET = 60.0  # seconds between two lines about the same trouble


class Exporter:
    """`emit` never waits; `lost` is what did not arrive."""

    def __init__(self, sink: LogRecordExporter | None = None) -> None:
        """In a process that forks no more: it has threads. `sink`: else where OTEL_EXPORTER_OTLP_* say."""
        log = logging.getLogger("opentelemetry")
        self._complaints = _Quietly()
        log.handlers, log.propagate = [self._complaints], False
        self._sink = _Counting(sink or OTLPLogExporter())
        # The operator's OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win.
        resource = Resource.create({"service.name": "burgee", "service.version": version()})
        self._provider = LoggerProvider(resource.merge(OTELResourceDetector().detect()), shutdown_on_exit=False)
        self._provider.add_log_record_processor(
            BatchLogRecordProcessor(self._sink, max_queue_size=QUEUE, max_export_batch_size=BATCH)
        )
        self._logger = self._provider.get_logger("burgee", version())
        self._emitted = 0
        self._overflown = 0
        self._reported = 0

    def emit(self, attributes: Mapping[str, str], at: int) -> None:
        if self._emitted - self._sink.taken >= QUEUE:
            self._overflown += 1
            return
        self._emitted += 1
        self._logger.emit(LogRecord(timestamp=at, event_name=EVENT, attributes=attributes))

    @property
    def lost(self) -> int:
        return self._overflown + self._sink.failed

    def newly_lost(self) -> int:
        """Since the last call."""
        lost = self.lost
        new, self._reported = lost - self._reported, lost
        return new

    async def close(self) -> None:
        """Send what waits, within FINISH; what does not arrive is said in one line."""
        failed = self._sink.failed
        self._complaints.setLevel(logging.CRITICAL + 1)  # of tries that there will not be
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        give_up = time.monotonic() + FINISH
        while closing.is_alive() and time.monotonic() < give_up:
            await asyncio.sleep(0.02)
        self._sink.give_up()
        lost = self._emitted - self._sink.arrived - failed
        if lost:
            structlog.get_logger("telemetry").warning("the last telemetry events did not arrive", events=lost)


class _Counting(LogRecordExporter):
    def __init__(self, sink: LogRecordExporter) -> None:
        self._sink = sink
        self._given_up = False
        self.taken = 0  # events, off the queue
        self.arrived = 0
        self.failed = 0

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        self.taken += len(batch)
        result = LogRecordExportResult.FAILURE if self._given_up else self._sink.export(batch)
        if result is LogRecordExportResult.SUCCESS:
            self.arrived += len(batch)
        else:
            self.failed += len(batch)
        return result

    def give_up(self) -> None:
        self._given_up = True
        self._sink.shutdown()  # type: ignore[no-untyped-call]

    def shutdown(self) -> None:
        if not self._given_up:
            self._sink.shutdown()  # type: ignore[no-untyped-call]

    def force_flush(self, timeout_millis: int = 10_000) -> bool:
        return True  # nothing waits here


class _Quietly(logging.Handler):
    """The SDK's own complaints, in our log, not too often."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._next = 0.0
        self._log = structlog.get_logger("telemetry")

    def emit(self, record: logging.LogRecord) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + QUIET
            self._log.warning("telemetry is in trouble", why=record.getMessage())
