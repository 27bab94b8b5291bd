"""The checker finds what it is there to find: each history here has exactly one thing wrong."""

from __future__ import annotations

import dataclasses
import json

import pytest

from tests.chaos.generations import CHAIN, FLAGS, Seen, Torn, seen_in
from tests.chaos.history import Answer, History, Publish, violations

GOOD = History(
    published=[Publish(1, 0.0, 1.0, 1), Publish(2, 2.0, 3.0, 2), Publish(3, 4.0), Publish(4, 6.0, 7.0, 3)],
    answers=[
        Answer(0, 1.5, 1.6, 1, 1),
        Answer(0, 2.4, 2.6, 2, 2),
        Answer(1, 2.4, 2.6, 1, 1),
        Answer(0, 7.0, 7.1, 4, 3),
    ],
    recorded={1: 1, 2: 2, 3: 4},
    served_at_the_end=[Answer(0, 8.0, 8.1, 4, 3)],
)


def test_a_good_history_has_no_violations() -> None:
    """Generation 3 was asked for and never acknowledged: it may have happened or not."""
    assert violations(GOOD) == []
    happened = dataclasses.replace(GOOD, recorded={1: 1, 2: 2, 3: 3, 4: 4}, published=[
        *GOOD.published[:3], Publish(4, 6.0, 7.0, 4)], answers=[*GOOD.answers[:3], Answer(0, 7.0, 7.1, 4, 4)],
        served_at_the_end=[Answer(0, 8.0, 8.1, 4, 4)])  # fmt: skip
    assert violations(happened) == []


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"recorded": {1: 1, 2: 2, 4: 4}}, "versions jump from 2 to 4"),
        ({"recorded": {1: 1, 3: 4}}, "is not in the record"),
        ({"recorded": {1: 1, 2: 2, 3: 4, 4: 4}}, "2 times"),
        ({"recorded": {1: 1, 2: 2, 3: 4, 4: 9}}, "nobody published it"),
        ({"answers": [*GOOD.answers, Answer(1, 7.0, 7.1, 2, 1)]}, "got generation 2 as version 1"),
        ({"answers": [Answer(0, 1.5, 1.6, 2, 2)]}, "before anybody published it"),
        ({"answers": [*GOOD.answers, Answer(0, 7.2, 7.3, 1, 1)]}, "went back from version 3 to 1"),
        ({"served_at_the_end": []}, "nobody looked"),
        ({"served_at_the_end": [Answer(0, 8.0, 8.1, 2, 2)]}, "is at version 2 at the end"),
        ({"torn": ["x"]}, "torn: x"),
        ({"failed": ["x"]}, "failed: x"),
    ],
)
def test_each_violation_is_found(change: dict[str, object], found: str) -> None:
    assert any(found in each for each in violations(dataclasses.replace(GOOD, **change)))  # type: ignore[arg-type]


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
