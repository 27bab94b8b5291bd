"""When the workers on a canary fare worse than the others, and when that is only chance."""

from __future__ import annotations

import random

import pytest

from server.evaluations.messages import Counted, Row
from server.shared.page import Page
from server.state.committed import Committed
from server.state.records import Canary, ProjectRecord, Published
from server.sync.trials import ALL_POINTS, Side, Trials, is_worse
from server.types import EnvironmentId

APP = EnvironmentId("a", "app", "default")


def committed() -> Committed:
    live, canary = (Published("default", version, "", 1, 1, 0.0) for version in (1, 2))
    return Committed(10, [ProjectRecord("a", "app", (live,), version=2, canaries=(Canary(canary, 0.5, 0.0),))])


def counted(version: int, *rows: Row) -> Counted:
    return Counted(1, 1, 0, ((str(APP), rows),), versions=(version,))


def complaint(trials: Trials) -> str:
    return trials.reports()[str(APP)].complaint


def test_the_code_default_on_one_side() -> None:
    trials = Trials(committed(), 2)
    trials.hear(counted(1, ("f", "a", 500), ("g", "a", 500)))
    trials.hear(counted(2, ("f", "a", 500), ("g", None, 499), ("g", "a", 1)))
    assert complaint(trials).startswith("code default and errors: 49.9% of 1000 evaluations, beside 0.0% of 1000")
    report = trials.reports()[str(APP)]
    assert (report.version, report.evaluations, report.defaults) == (2, 1000, 499)
    assert (report.other_evaluations, report.other_defaults) == (1000, 0)


def test_one_flag_of_many() -> None:
    trials = Trials(committed(), 2)
    others: tuple[Row, ...] = tuple((f"f{number}", "a", 200) for number in range(100))
    trials.hear(counted(1, ("g", "a", 200), *others))
    trials.hear(counted(2, ("g", None, 200), *others))
    assert (
        complaint(trials)
        == "`g`: code default and errors: 100.0% of 200 evaluations, beside 0.0% of 200 of other workers"
    )


@pytest.mark.parametrize(
    ("live", "canary"),
    [
        ((("g", "a", 5000),), (("g", None, 99),)),  # too few
        ((("g", "a", 99),), (("g", None, 5000),)),
        ((("g", None, 5000),), (("g", None, 5000),)),  # as bad before
        ((("g", "a", 5000),), (("g", "a", 4800), ("g", None, 200))),  # 4 points
        ((("g", "a", 100),), (("g", "a", 94), ("g", None, 6))),  # 6 points, which may be chance
        ((), (("new", None, 5000),)),  # a flag that was not there
    ],
)
def test_no_complaint(live: tuple[Row, ...], canary: tuple[Row, ...]) -> None:
    trials = Trials(committed(), 2)
    trials.hear(counted(1, *live))
    trials.hear(counted(2, *canary))
    assert complaint(trials) == ""


def test_counts_of_other_versions_are_not_of_the_trial() -> None:
    trials = Trials(committed(), 2)
    trials.hear(counted(1, ("g", "a", 500)))
    trials.hear(counted(3, ("g", None, 500)))
    trials.hear(Counted(1, 1, 0, (("b/app/default", (("g", None, 500),)),), versions=(2,)))
    assert trials.reports()[str(APP)].evaluations == 0 and complaint(trials) == ""


def test_status_500_on_one_side() -> None:
    page, trials = Page(3), Trials(committed(), 2)
    blocks = [page.block(index) for index in range(2)]
    for slot, block in enumerate(blocks):
        block.pid, block.slot = 100 + slot, slot
        block.count("evaluate", 500, 1000)  # of before
    trials.look(blocks)
    for block in blocks:
        block.count("evaluate", 200, 300)
        block.count("evaluate", 503, 300)
    trials.look(blocks)
    assert complaint(trials) == ""
    blocks[0].count("ofrep_flag", 500, 60)
    trials.look(blocks)
    assert complaint(trials) == "status 500: 9.1% of 660 requests, beside 0.0% of 600 of other workers"


def test_a_snapshot_that_cannot_be_mapped() -> None:
    trials = Trials(committed(), 2)
    trials.cannot_map(APP, 1)
    assert complaint(trials) == ""
    trials.cannot_map(APP, 2)
    assert complaint(trials) == "a worker cannot map its snapshot"


def test_the_next_canary_begins_anew() -> None:
    history = committed()
    trials = Trials(history, 2)
    trials.cannot_map(APP, 2)
    assert complaint(trials)
    live, canary = (Published("default", version, "", 1, 1, 0.0) for version in (3, 4))
    history.note([ProjectRecord("a", "app", (live,), version=3)], 20)
    assert trials.reports() == {}
    history.note([ProjectRecord("a", "app", (live,), version=4, canaries=(Canary(canary, 0.5, 0.0),))], 30)
    assert complaint(trials) == ""


def test_equal_sides_are_never_found_to_differ() -> None:
    draw = random.Random(7)

    def side(share: float) -> Side:
        count = draw.randrange(100, 400)
        return Side(count, sum(draw.random() < share for _ in range(count)))

    for _ in range(1000):
        share = draw.random()
        assert not is_worse(side(share), side(share), ALL_POINTS)
