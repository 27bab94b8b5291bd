"""Sampled evaluations as OpenTelemetry events, at a receiver that speaks OTLP over HTTP."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from structlog.testing import capture_logs

from engine import Snapshot
from rules_compiler import compile_flags
from server.evaluations.otlp import QUEUE, Exporter
from server.evaluations.telemetry import LARGEST, MOST_EVENTS, Telemetry, answers_in
from server.shared.page import Page
from server.state.catalog import Served
from server.state.records import Published
from server.types import EnvironmentId
from tests.server.running import BATCH, BULK, ROOT, SAMPLES, SHOP, running, until


@dataclass
class Receiver:
    url: str
    requests: list[ExportLogsServiceRequest] = field(default_factory=list)
    paths: set[str] = field(default_factory=set)

    @property
    def events(self) -> list[tuple[str, dict[str, str]]]:
        """(name, attributes)."""
        return [
            (record.event_name, {each.key: each.value.string_value for each in record.attributes})
            for request in list(self.requests)
            for resource in request.resource_logs
            for scope in resource.scope_logs
            for record in scope.log_records
        ]

    @property
    def resource(self) -> dict[str, str]:
        return {each.key: each.value.string_value for each in self.requests[0].resource_logs[0].resource.attributes}


@contextmanager
def receiving() -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            receiver.paths.add(self.path)
            receiver.requests.append(ExportLogsServiceRequest.FromString(body))
            answer = ExportLogsServiceResponse().SerializeToString()
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver = Receiver(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def served(tmp_path: Path) -> Served:
    document = (SAMPLES / "shop" / "web.yaml").read_bytes()
    blob = compile_flags(document, environment="production", version=17, flag_set_id="shop/web/production")
    identity = EnvironmentId("shop", "web", "production")
    return Served(identity, Published("production", 17, "", 0, 0, 0.0), Snapshot.from_bytes(blob), Page(1).cell("x"))


Events = list[dict[str, str]]


def telemetry_into(events: Events, share: float = 1.0, *, context_ids: bool = False) -> Telemetry:
    return Telemetry(lambda attributes, at: events.append(dict(attributes)), share, context_ids=context_ids)


def environment_of(url: str) -> dict[str, str]:
    """Of the server's process: the receiver's address, and little patience."""
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": url,
        "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
        "OTEL_BLRP_SCHEDULE_DELAY": "50",
    }


# The front leaves chunked requests to aiohttp, whose handlers record.
CHUNKED = {"Transfer-Encoding": "chunked"}


def chunked(body: Any) -> bytes:
    text = json.dumps(body).encode()
    return b"%x\r\n%b\r\n0\r\n\r\n" % (len(text), text)


@pytest.mark.parametrize("front", [True, False])
def test_events_arrive_with_the_names_of_the_conventions(samples: Path, tmp_path: Path, front: bool) -> None:
    more = {} if front else CHUNKED

    def form(body: Any) -> bytes:
        return json.dumps(body).encode() if front else chunked(body)

    with receiving() as receiver:
        env = {**environment_of(receiver.url), "OTEL_SERVICE_NAME": "ours"}
        options = ("--workers", "1", "--telemetry-sample", "1", "--state", str(tmp_path / "state"))
        with running(samples, *options, env=env) as server:
            asked = {"context": {"targetingKey": "someone@example.com"}}
            for path in (f"{BULK}/reviews", f"{BULK}/nothing", BULK):
                server.post(path, form(asked), key=SHOP, headers=more)
            batch = {"contexts": [{}, {}], "flags": ["reviews"]}
            server.post(BATCH, form(batch), key=SHOP, headers={**more, "Accept": "application/msgpack"})
            until(lambda: len(receiver.events) >= 1 + 1 + 13 + 2)
            log = server.log.read_text()
    every = {
        "feature_flag.provider.name": "burgee",
        "feature_flag.set.id": "shop/web/production",
        "feature_flag.version": receiver.events[0][1]["feature_flag.version"],
    }
    first = {**every, "feature_flag.key": "reviews", "feature_flag.result.reason": "static"}
    assert receiver.events[0] == ("feature_flag.evaluation", {**first, "feature_flag.result.variant": "on"})
    missing = {**every, "feature_flag.key": "nothing", "feature_flag.result.reason": "error"}
    assert receiver.events[1] == ("feature_flag.evaluation", {**missing, "error.type": "flag_not_found"})
    assert len({each["feature_flag.key"] for _, each in receiver.events[2:15]}) == 13
    assert receiver.paths == {"/v1/logs"} and receiver.resource["service.name"] == "ours"
    assert "someone" not in str(receiver.events) and "someone" not in log


def test_a_receiver_that_is_not_there_costs_events_and_nothing_else(samples: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        env = environment_of(f"http://127.0.0.1:{free.getsockname()[1]}")
        options = ("--workers", "1", "--telemetry-sample", "1", "--counts-interval", "0.1")
        with running(samples, *options, "--state", str(tmp_path / "state"), env=env) as server:
            for _ in range(20):
                asked = chunked({"context": {}})
                assert server.post(f"{BULK}/reviews", asked, key=SHOP, headers=CHUNKED).status == 200

            def lost() -> bool:
                metrics = server.manage("/metrics").body.decode()
                return "\nburgee_telemetry_lost_total 0.0" not in metrics and "\nburgee_telemetry_lost_total" in metrics

            until(lost)
            assert server.stop() == 0
            lines = [json.loads(line) for line in server.log.read_text().splitlines()]  # the SDK's too
        assert any(each["event"] == "telemetry is in trouble" for each in lines)


def test_without_the_extra_the_server_says_what_to_install(samples: Path, tmp_path: Path) -> None:
    (tmp_path / "opentelemetry").mkdir()
    (tmp_path / "opentelemetry" / "__init__.py").touch()  # in front of the one that is installed
    command = [sys.executable, "-m", "server.cli", "serve", "--tenants", str(samples), "--telemetry-sample", "0.1"]
    command += ["--port", "0", "--management-port", "0", "--state", str(tmp_path / "state")]
    env = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0 and "burgee[telemetry]" in done.stderr


def test_the_queue_is_bounded() -> None:
    """The receiver accepts a connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter

        exporter = Exporter(OTLPLogExporter(f"http://127.0.0.1:{silent.getsockname()[1]}/v1/logs", timeout=60))
        for n in range(3 * QUEUE):
            exporter.emit({"feature_flag.key": f"{n}"}, time.time_ns())
        assert exporter.lost >= QUEUE
        assert exporter.newly_lost() >= QUEUE and exporter.newly_lost() < QUEUE
        asyncio.run(exporter.close())


def test_all_that_is_emitted_arrives_before_the_end() -> None:
    with receiving() as receiver:
        from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter

        exporter = Exporter(OTLPLogExporter(f"{receiver.url}/v1/logs"))
        for n in range(QUEUE):
            exporter.emit({"feature_flag.key": f"{n}"}, time.time_ns())
        asyncio.run(exporter.close())
        assert len(receiver.events) + exporter.lost == QUEUE
        assert exporter.lost == 0


def test_what_does_not_arrive_at_the_end_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        for name, value in {**environment_of(url), "OTEL_BLRP_SCHEDULE_DELAY": "60000"}.items():
            monkeypatch.setenv(name, value)
        with capture_logs() as lines:
            exporter = Exporter()
            for _ in range(3):
                exporter.emit({}, 0)
            asyncio.run(exporter.close())
    assert [(each["event"], each.get("events")) for each in lines] == [("the last telemetry events did not arrive", 3)]


def test_every_kind_of_reply_gives_the_same_events(served: Served) -> None:
    contexts: list[dict[str, Any]] = [{"targetingKey": "u-1"}, {"country": "DE"}]
    found: list[Events] = []
    for body, packed in (({}, False), ({"format": "compact"}, False), ({}, True), ({"format": "compact"}, True)):
        events: Events = []
        asked = json.dumps({"contexts": contexts, "flags": ["new-checkout", "reviews", "nothing"], **body}).encode()
        reply = served.snapshot.evaluate_batch(asked, encoding="msgpack" if packed else "json")
        telemetry_into(events, context_ids=True).record(served, asked, reply, packed=packed)
        found.append(events)
    assert found[0] == found[1] == found[2] == found[3]
    singles: Events = []
    for context in contexts:
        for flag in ("new-checkout", "reviews", "nothing"):
            asked = json.dumps({"context": context}).encode()
            telemetry_into(singles, context_ids=True).record(served, asked, served.snapshot.evaluate_json(asked, flag))
    assert singles == found[0]
    assert [each.get("feature_flag.context.id") for each in singles] == ["u-1"] * 3 + [None] * 3
    assert singles[3]["error.type"] == "targeting_key_missing"


def test_a_targeting_key_is_named_only_where_that_is_wanted(served: Served) -> None:
    events: Events = []
    asked = b'{"context": {"targetingKey": "u-1"}}'
    telemetry_into(events).record(served, asked, served.snapshot.evaluate_json(asked))
    assert len(events) == 13 and "u-1" not in str(events)


@pytest.mark.parametrize(
    "body", [b"{", b'{"context": 7}', b'{"contexts": []}', b"[]", b'{"context": {"targetingKey": 7}}']
)
def test_odd_requests_record_what_they_were_answered(served: Served, body: bytes) -> None:
    for reply in (served.snapshot.evaluate_json(body, "reviews"), served.snapshot.evaluate_batch(body)):
        telemetry_into([], context_ids=True).record(served, body, reply)
    telemetry_into([], context_ids=True).record(served, body, served.snapshot.evaluate_json(body))


def test_a_large_reply_gives_few_events_and_a_huge_one_none(served: Served) -> None:
    events: Events = []
    reply = msgspec.json.encode({"results": [{"flags": [{"key": "f", "variant": "v"}]}] * 1000})
    telemetry_into(events).record(served, b"", reply)
    assert len(events) == MOST_EVENTS
    telemetry_into(events).record(served, b"", b" " * LARGEST + reply)
    assert len(events) == MOST_EVENTS
    assert len(answers_in(msgspec.json.decode(reply))) == 1000


@pytest.mark.parametrize("share", [1.0, 0.5, 0.01])
def test_the_share_is_what_it_says(share: float) -> None:
    telemetry = telemetry_into([], share)
    gaps = [telemetry.gap() for _ in range(20_000)]
    assert min(gaps) == 1
    assert abs(statistics.fmean(gaps) * share - 1) < 0.1  # 14 standard deviations of such a mean
    sampled = sum(telemetry.sampled() for _ in range(100_000))
    assert abs(sampled - 100_000 * share) <= 6 * (100_000 * share) ** 0.5


def test_the_smallest_share_has_a_gap() -> None:
    assert 1 <= telemetry_into([], 5e-324).gap() <= 2**63 - 1
