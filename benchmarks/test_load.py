"""A snapshot file mapped and verified, and how large snapshots are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import rules_compiler
from benchmarks.controls.plain import map_and_hash
from benchmarks.figures import Loop, Report, at_most, looping, measure
from benchmarks.flags import contexts, document, id_list_document
from engine import Snapshot

IDS = 1_000_000


@pytest.mark.parametrize("count", [100, 1_000])
def test_map_and_verify(
    benchmark: BenchmarkFixture, report: Report, blob_of: Callable[[int], bytes], tmp_path: Path, count: int
) -> None:
    path = tmp_path / "flags.burgee"
    path.write_bytes(blob_of(count))
    assert len(Snapshot.map(path)) == count
    measure(
        benchmark,
        report,
        f"map + verify, {count:,} flags",
        Loop("Snapshot.map", lambda: Snapshot.map(path)),
        looping(map_and_hash(path)),
        bar=at_most(2e6, "<= 2 ms") if count == 1_000 else None,
    )


@pytest.mark.parametrize(("count", "limit"), [(100, 64_000), (1_000, 640_000)])
def test_size_of_a_snapshot(report: Report, blob_of: Callable[[int], bytes], count: int, limit: int) -> None:
    written = msgspec.json.encode(document(count))
    report.add(
        f"snapshot of {count:,} flags x 3 rules",
        len(blob_of(count)),
        unit="bytes",
        control="the document as JSON",
        control_value=len(written),
        bar=at_most(limit, f"<= {limit // 1000} kB"),
    )


def test_size_of_a_list_of_ids(report: Report, smoke: bool) -> None:
    ids = IDS // 100 if smoke else IDS
    without = len(rules_compiler.compile_flags(id_list_document(0)))
    written = msgspec.json.encode(id_list_document(ids))
    blob = rules_compiler.compile_flags(written)
    snapshot = Snapshot.from_bytes(blob)
    for number, context in enumerate(contexts()):
        assert snapshot.evaluate("members-only", context).value is (number % 2 == 0)
    report.add(
        f"list of {ids:,} ids",
        (len(blob) - without) / ids,
        unit="bytes an id",
        control="the document as JSON",
        control_value=len(written) / ids,
        bar=at_most(12, "<= 12 B"),
    )
