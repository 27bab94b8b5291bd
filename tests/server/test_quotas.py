"""The file of quotas: what it means, and what is refused of it."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from server.quotas import Quota, Quotas, QuotasError, parse_quotas
from server.settings import variable_of
from tests.server.running import BATCH, PATIENCE, ROOT, SAMPLES, SHOP, running, until

SETTINGS = Quota(10.0, 0.0, 1000, 5, False)


def test_what_is_left_out_is_as_the_default_and_then_as_the_settings() -> None:
    text = b"""
default: {evaluationsPerSecond: 2_000_000, streams: 7}
tenants:
  shop: {requestsPerSecond: 500.5, mode: warn}
  bank: {bytesInFlight: 0, mode: enforce}
  game: {}
"""
    default = Quota(10.0, 2e6, 1000, 7, False)
    quotas = parse_quotas(text, SETTINGS)
    assert quotas.default == quotas.of("game") == quotas.of("nobody") == default
    assert quotas.of("shop") == Quota(500.5, 2e6, 1000, 7, True)
    assert quotas.of("bank") == Quota(10.0, 2e6, 0, 7, False)


@pytest.mark.parametrize("text", [b"", b"# nothing\n", b"{}", b"tenants: {}"])
def test_an_empty_file_changes_nothing(text: bytes) -> None:
    assert parse_quotas(text, SETTINGS) == Quotas(SETTINGS)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"- 1", "expected `object`, got `array`"),
        (b"limits: {}", "unknown member `limits` (hint: there are `default`, `tenants`)"),
        (
            b"tenants: {shop: {requests: 1}}",
            "tenants.shop: unknown member `requests` (hint: there are `requestsPerSecond`, `eval",
        ),
        (b"default: {stream: 1}", "default: unknown member `stream` (hint: "),
        (b"default:", "default: expected `object`, got `null`"),
        (b"tenants: {shop: 3}", "tenants.shop: expected `object`, got `int`"),
        (b"tenants: {shop: {requestsPerSecond: many}}", "tenants.shop.requestsPerSecond: expected `float`, got `str`"),
        (b"tenants: {shop: {requestsPerSecond: true}}", "expected `float`, got `bool`"),
        (b"tenants: {shop: {streams: 1.5}}", "expected `int`, got `float`"),
        (b"tenants: {shop: {streams: null}}", "expected `int`, got `null`"),
        (b"tenants: {shop: {mode: hope}}", "invalid enum value 'hope'"),
        (b"tenants: {shop: {requestsPerSecond: -1}}", "tenants.shop.requestsPerSecond: must be a number from 0"),
        (b"default: {evaluationsPerSecond: .nan}", "default.evaluationsPerSecond: must be a number from 0"),
        (b"default: {evaluationsPerSecond: .inf}", "default.evaluationsPerSecond: must be a number from 0"),
        (b"tenants: {'shop/web': {}}", "tenants: `shop/web` is not the name of a tenant"),
        (b"tenants: {1: {}}", "tenants: expected `str`, got `int`"),
        (b"tenants:\n  shop: {}\n  shop: {}\n", "line 2: a name is there twice"),
        (b"tenants: {shop: [", "line 1: "),
        (b"a: !!python/object:os.system {}", "could not determine a constructor"),
        (b"\xff\xfe\xfd", "it is not YAML in UTF-8"),
    ],
)
def test_what_is_refused(text: bytes, why: str) -> None:
    with pytest.raises(QuotasError) as refused:
        parse_quotas(text, SETTINGS)
    assert why in str(refused.value)


def test_the_file_is_read_again_at_sighup_unless_it_is_broken(tmp_path: Path) -> None:
    tenants = tmp_path / "tenants"
    tenants.symlink_to(SAMPLES)
    file = tmp_path / "quotas.yaml"
    file.write_text("tenants: {shop: {requestsPerSecond: 1000}}")
    with running(tenants, "--workers", "2", env={variable_of("quotas"): str(file)}) as server:

        def limit() -> float:
            found = server.manage("/status?tenant=shop").json["limits"]
            assert found["now"] == {"bytesInFlight": 0, "streams": 0}
            return float(found["requestsPerSecond"])

        def pids() -> set[int]:
            return {each["pid"] for each in server.manage("/status").json["workers"]}

        assert limit() == 1000
        before = pids()
        file.write_text("tenants: {shop: {requestsPerSecond: none}}")
        server.process.send_signal(signal.SIGHUP)
        until(lambda: "quotas, keys or certificate cannot be used" in server.log.read_text())
        assert "no process is replaced" in server.log.read_text()
        assert (limit(), pids()) == (1000, before)
        file.write_text("tenants: {shop: {requestsPerSecond: 0.001}}")
        server.process.send_signal(signal.SIGHUP)
        until(lambda: not pids() & before and len(pids()) == 2)
        until(lambda: limit() == 0.001)
        statuses = {server.post(BATCH, {"contexts": [{}]}, key=SHOP).status for _ in range(3)}
        assert statuses == {200, 429}


def test_a_broken_file_at_the_start(tmp_path: Path) -> None:
    file = tmp_path / "quotas.yaml"
    file.write_text("tenant: {}")
    command = [
        sys.executable,
        "-m",
        "server.cli",
        "serve",
        "--tenants",
        str(SAMPLES),
        "--state",
        str(tmp_path / "state"),
    ]
    done = subprocess.run([*command, "--quotas", str(file)], capture_output=True, text=True, timeout=PATIENCE, cwd=ROOT)
    assert done.returncode != 0
    assert "unknown member `tenant` (hint: there are `default`, `tenants`)" in done.stderr
    assert str(file) in done.stderr.replace("\n", "")
    assert "Traceback" not in done.stderr
