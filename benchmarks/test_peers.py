"""The same 1,000 flags on other engines: every flag for one context. `make bench-peers` installs them.

Before a peer is timed, its answers are held against answers computed without any engine: for every context, where rules
decide they are equal; where the split decides they are a fifth, and depend on nothing but the flag and the user.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from time import perf_counter

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.figures import Control, Loop, Report, at_least_times, looping, measure
from benchmarks.flags import SPLIT_PERCENT, Context, bodies, contexts, specs
from benchmarks.peers import PEERS, Peer, load
from engine import Snapshot

COUNT = 1_000
ROUND_SECONDS = 0.05
BAR = at_least_times(50)


@dataclass(slots=True)
class Timed:
    """Nanoseconds for all flags of one context."""

    of_peer: dict[str, float] = field(default_factory=dict)  # flag engines only
    of_json: list[float] = field(default_factory=list)
    of_mapping: list[float] = field(default_factory=list)


@pytest.fixture(scope="module")
def timed() -> Timed:
    return Timed()


@pytest.fixture(scope="module", params=PEERS)
def peer(request: pytest.FixtureRequest) -> Iterator[Peer]:
    try:
        loaded = load(request.param, specs(COUNT))
    except ImportError as missing:
        pytest.skip(f"{missing} (hint: make bench-peers)")
    yield loaded
    loaded.close()


def assert_answers_are_right(peer: Peer, asked: tuple[Context, ...]) -> None:
    split = on = 0
    for number, context in enumerate(asked):
        answered = list(peer.values(peer.answer_all(peer.prepare(context))))
        assert len(answered) == COUNT and {type(answer) for answer in answered} == {bool}
        expected = [spec.expected(context) for spec in specs(COUNT)]
        wrong = [
            spec.key
            for spec, answer, right in zip(specs(COUNT), answered, expected, strict=True)
            if right is not None and answer is not right
        ]
        assert not wrong, f"{peer.distribution}: {len(wrong)} of {COUNT} answers are wrong for {context}"
        by_split = [answer for answer, right in zip(answered, expected, strict=True) if right is None]
        split, on = split + len(by_split), on + sum(by_split)
        if number % 100 == 0:
            elsewhere = {**context, "country": "XX", "device": "android", "email": "other@example.com"}
            moved = peer.values(peer.answer_all(peer.prepare(elsewhere)))
            stayed = [answer for answer, right in zip(moved, expected, strict=True) if right is None]
            assert stayed == by_split, f"{peer.distribution}: the split depends on more than the user"
    assert abs(100 * on / split - SPLIT_PERCENT) < 1.5, f"{peer.distribution}: {on} of {split} got the split's variant"


def test_peer(
    benchmark: BenchmarkFixture,
    report: Report,
    timed: Timed,
    snapshot_of: Callable[[int], Snapshot],
    smoke: bool,
    peer: Peer,
) -> None:
    assert_answers_are_right(peer, contexts()[:20] if smoke else contexts())
    prepared = [peer.prepare(context) for context in contexts()[:100]]
    started = perf_counter()
    peer.answer_all(prepared[0])
    asked = prepared[: max(1, int(ROUND_SECONDS / (perf_counter() - started)))]

    def run() -> None:
        for context in asked:
            peer.answer_all(context)

    snapshot = snapshot_of(COUNT)
    json, mapping = looping(bulk(snapshot)), looping(mapped(snapshot))

    def sample() -> float:
        timed.of_mapping.append(mapping.sample())
        return json.sample()

    row = measure(
        benchmark,
        report,
        f"{peer.distribution}: 1,000 flags ({peer.kind}, {peer.call})",
        Loop(peer.call, run, len(asked)),
        Control("Burgee, JSON to JSON", sample),
        rounds=9,
    )
    if row is not None and row.control_value is not None:
        timed.of_json.append(row.control_value)
        if peer.kind == "flag engine":
            timed.of_peer[peer.distribution] = row.value


def test_fastest_peer(report: Report, timed: Timed) -> None:
    """After all peers: how far ahead of the fastest Burgee is."""
    if not timed.of_peer:
        pytest.skip("no flag engine was timed")
    fastest = min(timed.of_peer, key=lambda name: timed.of_peer[name])
    theirs = timed.of_peer[fastest]
    for ours, times, bar in (("evaluate_json", timed.of_json, BAR), ("evaluate_all", timed.of_mapping, None)):
        report.add(
            f"ahead of the fastest flag engine by {ours}",
            min(times),
            control=fastest,
            control_value=theirs,
            ratio=theirs / min(times),
            bar=bar,
        )


def bulk(snapshot: Snapshot) -> Loop:
    asked = bodies()[:100]

    def run() -> None:
        for body in asked:
            snapshot.evaluate_json(body)

    return Loop("evaluate_json", run, len(asked))


def mapped(snapshot: Snapshot) -> Loop:
    asked = contexts()[:100]

    def run() -> None:
        for context in asked:
            snapshot.evaluate_all(context)

    return Loop("evaluate_all", run, len(asked))
