"""The checker finds what it is there to find: each history here has exactly one thing wrong."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from engine import Snapshot
from rules_compiler import CompileError, compile_flags
from tests.chaos.generations import CHAIN, EVERYBODY, FLAGS, Seen, Torn, document_of, seen_in
from tests.chaos.history import EPOCH, Answer, History, Publish, Settled, violations

GOOD = History(
    published=[Publish(1, 0.0, 1.0, 1), Publish(2, 2.0, 3.0, 2), Publish(3, 4.0), Publish(4, 6.0, 7.0, 3)],
    answers=[
        Answer(0, 1.5, 1.6, 1, 1, "a"),
        Answer(0, 2.4, 2.6, 2, 2, "a"),
        Answer(1, 2.4, 2.6, 1, 1, "a"),
        Answer(0, 7.0, 7.1, 4, 3, "a"),
    ],
    settled=[Settled(1.7, 1, "a"), Settled(3.5, 2, "a"), Settled(3.6, 1, "b")],
    recorded={1: 1, 2: 2, 3: 4},
    audited=[1, 2, 3],
    served_at_the_end=[Answer(0, 8.0, 8.1, 4, 3, "a")],
)
RESTORED = EPOCH * 460_000 + 1  # the first version after a backup


def test_a_good_history_has_no_violations() -> None:
    assert violations(GOOD) == []


def test_what_was_never_acknowledged_may_have_happened() -> None:
    happened = replace(
        GOOD,
        recorded={1: 1, 2: 2, 3: 3, 4: 4},
        audited=[1, 2, 3, 4],
        published=[*GOOD.published[:3], Publish(4, 6.0, 7.0, 4)],
        answers=[*GOOD.answers[:3], Answer(0, 7.0, 7.1, 4, 4, "a")],
        served_at_the_end=[Answer(0, 8.0, 8.1, 4, 4, "a")],
    )
    assert violations(happened) == []


def test_what_a_restored_backup_lost_was_served_and_is_not_in_the_record() -> None:
    """It begins with what was live in the backup, as the first version of its epoch."""
    restored = replace(
        GOOD,
        restored=True,
        lost_with_the_backup={3},
        recorded={1: 1, 2: 2, RESTORED: 2, RESTORED + 1: 5},
        audited=[1, 2, RESTORED + 1],
        published=[*GOOD.published, Publish(5, 9.0, 9.1, RESTORED + 1)],
        served_at_the_end=[Answer(0, 9.5, 9.6, 5, RESTORED + 1, "a")],
    )
    assert violations(restored) == []
    assert any("jump" in each for each in violations(replace(restored, restored=False)))
    assert any("jump" in each for each in violations(replace(restored, recorded={1: 1, 2: 2, RESTORED + 1: 5})))
    assert any("after 2" in each for each in violations(replace(restored, recorded={1: 1, 2: 2, RESTORED: 1})))
    wrong = replace(restored, answers=[*GOOD.answers, Answer(0, 7.2, 7.3, 2, 3, "a")])
    assert any("got generation 2 as version 3" in each for each in violations(wrong))


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"recorded": {1: 1, 2: 2, 4: 4}}, "versions jump from 2 to 4"),
        ({"recorded": {2: 2, 3: 4}}, "versions begin with 2"),
        ({"recorded": {1: 1, 3: 4}}, "is not in the record"),
        ({"recorded": {1: 1, 2: 2, 3: 4, 4: 4}}, "2 times"),
        ({"recorded": {1: 1, 2: 2, 3: 4, 4: 9}}, "nobody published it"),
        ({"recorded": {1: 2, 2: 1, 3: 4}}, "has generation 1, after 2"),
        ({"audited": [1, 3]}, "version 2 is in the audit 0 times"),
        ({"audited": [1, 2, 2, 3]}, "version 2 is in the audit 2 times"),
        ({"audited": [1, 2, 3, 4]}, "version 4 is in the audit and not in the record"),
        ({"answers": [*GOOD.answers, Answer(1, 7.0, 7.1, 2, 1)]}, "got generation 2 as version 1"),
        ({"answers": [Answer(0, 1.5, 1.6, 2, 2)]}, "before anybody published it"),
        ({"answers": [*GOOD.answers, Answer(0, 7.2, 7.3, 1, 1)]}, "went back from version 3 to 1"),
        ({"answers": [*GOOD.answers, Answer(7, 3.6, 3.7, 1, 1, "a")]}, "got version 1 of a, where all had 2"),
        ({"answers": []}, "nobody was answered"),
        ({"served_at_the_end": []}, "nobody looked"),
        ({"served_at_the_end": [Answer(0, 8.0, 8.1, 2, 2)]}, "is at version 2 at the end"),
        ({"torn": ["x"]}, "torn: x"),
        ({"failed": ["x"]}, "failed: x"),
    ],
)
def test_each_violation_is_found(change: dict[str, object], found: str) -> None:
    assert any(found in each for each in violations(replace(GOOD, **change)))  # type: ignore[arg-type]


def answer(generation: int, likely: int, **odd: int) -> bytes:
    flags = {f"plain-{i}": generation for i in range(FLAGS)} | {f"chain-{i}": generation for i in range(CHAIN)}
    everybody = flags | {"segment": generation} | {key.replace("_", "-"): value for key, value in odd.items()}
    other = flags | {"segment": generation if generation == likely else -1}
    results = [{"flags": [{"key": k, "value": v} for k, v in one.items()]} for one in (everybody, other)]
    return json.dumps({"results": results, "metadata": {"version": "17"}}).encode()


def test_an_answer_is_of_one_generation_or_torn() -> None:
    assert seen_in(answer(5, 5), 5) == Seen(5, 17)
    assert seen_in(answer(5, 6), 6) == Seen(5, 17)
    for odd in ({"plain_7": 4}, {"chain_3": -1}, {"segment": -1}):
        assert isinstance(seen_in(answer(5, 5, **odd), 5), Torn)
    assert isinstance(seen_in(answer(5, 5), 6), Torn)  # the segment knows generation 5 while it was asked as 6


@pytest.mark.parametrize("part", ["segments", "plain-3", "segment"])
def test_a_document_that_mixes_two_generations_is_torn(part: str) -> None:
    """The answers are the engine's own."""
    assert seen_by_the_engine(document_of(5), 5) == Seen(5, 17)
    assert seen_by_the_engine(document_of(5), 6) == Seen(5, 17)
    mixed = document_of(5)
    if part == "segments":
        mixed["segments"] = document_of(6)["segments"]
    else:
        mixed["flags"][part] = document_of(6)["flags"][part]
    assert any(isinstance(seen_by_the_engine(mixed, likely), Torn) for likely in (5, 6))


def test_a_chain_of_two_generations_does_not_compile() -> None:
    mixed = document_of(5)
    mixed["flags"]["chain-3"] = document_of(6)["flags"]["chain-3"]
    with pytest.raises(CompileError):
        compile_flags(mixed)


def seen_by_the_engine(document: dict[str, object], likely: int) -> Seen | Torn:
    snapshot = Snapshot.from_bytes(compile_flags(document))
    contexts = (EVERYBODY, {"targetingKey": "other", "generation": likely})
    results = [
        {"flags": [{"key": key, "value": snapshot.evaluate(key, each).value} for key in snapshot.flag_keys]}
        for each in contexts
    ]
    return seen_in(json.dumps({"results": results, "metadata": {"version": "17"}}).encode(), likely)
