"""A batch: 100 contexts x 20 flags in one body; the price of one flag for one context."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import msgspec
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.controls.plain import decode_only
from benchmarks.figures import Loop, Report, at_most, looping, measure
from benchmarks.flags import answers, contexts, specs
from engine import Snapshot

CONTEXTS = 100
FLAGS = 20
EVALUATIONS = CONTEXTS * FLAGS
BAR = at_most(50, ">= 20 M/s")  # 50 ns an evaluation
CALLS = 5  # a round

Encoding = Literal["json", "msgpack"]


def body_of(format: str, *, named: bool) -> bytes:
    request: dict[str, Any] = {"contexts": contexts()[:CONTEXTS], "format": format}
    if named:
        request["flags"] = [spec.key for spec in specs(FLAGS)]
    return msgspec.json.encode(request)


@pytest.mark.parametrize("count", [FLAGS, 1_000])
@pytest.mark.parametrize(
    ("format", "encoding"), [("compact", "json"), ("compact", "msgpack"), ("full", "json"), ("full", "msgpack")]
)
def test_batch(
    benchmark: BenchmarkFixture,
    report: Report,
    snapshot_of: Callable[[int], Snapshot],
    count: int,
    format: str,
    encoding: Encoding,
) -> None:
    snapshot = snapshot_of(count)
    body = body_of(format, named=count != FLAGS)
    reply = snapshot.evaluate_batch(body, encoding=encoding)
    assert read_reply(reply, format, encoding) == [list(expected[:FLAGS]) for expected in answers(FLAGS)[:CONTEXTS]]

    def run() -> None:
        for _ in range(CALLS):
            snapshot.evaluate_batch(body, encoding=encoding)

    kind = {"json": format, "msgpack": f"{format}, MessagePack"}[encoding]
    measure(
        benchmark,
        report,
        f"batch of {CONTEXTS} x {FLAGS} flags" + (" of 1,000" if count != FLAGS else "") + f", {kind}: one flag",
        Loop("evaluate_batch", run, CALLS * EVALUATIONS),
        looping(decode_only(body, EVALUATIONS)),
        bar=BAR if format == "compact" and encoding == "json" else None,
    )


def read_reply(reply: bytes, format: str, encoding: Encoding) -> list[list[tuple[bool, str]]]:
    """Value and reason, per context and flag, in the order of `specs`."""
    decoded = msgspec.msgpack.decode(reply) if encoding == "msgpack" else msgspec.json.decode(reply)
    rows: list[dict[str, dict[str, Any]]]
    if format == "full":
        rows = [{flag["key"]: flag for flag in row["flags"]} for row in decoded["results"]]
    else:
        rows = [
            {
                key: outcomes[index]
                for key, outcomes, index in zip(decoded["flags"], decoded["outcomes"], row, strict=True)
            }
            for row in decoded["results"]
        ]
    assert all(len(row) == FLAGS for row in rows)
    return [[(row[spec.key]["value"], row[spec.key]["reason"]) for spec in specs(FLAGS)] for row in rows]
