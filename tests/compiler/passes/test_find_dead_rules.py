import pytest

from rules_compiler.diagnostics import Report
from rules_compiler.passes.find_dead_rules import find_dead_rules
from tests.compiler.golden_files import Golden, golden
from tests.compiler.passes.flags import conjunctions_of, told


@pytest.mark.parametrize("case", golden("find_dead_rules"), ids=lambda case: case.name)
def test_golden(case: Golden, update_golden: bool) -> None:
    report = Report()
    find_dead_rules(*conjunctions_of(case.given, report), report)
    case.check(told(report), update_golden)


def test_a_variant_that_nothing_serves() -> None:
    report = Report()
    split = {"split": [{"variant": "on", "weight": 0}, {"variant": "off", "weight": 100}]}
    find_dead_rules(*conjunctions_of("", report, fallthrough=split), report)
    assert [(each.code, each.place) for each in report.diagnostics] == [("B404", "flags.it.variants.on")]


def test_the_off_variant_is_served() -> None:
    report = Report()
    find_dead_rules(*conjunctions_of("", report, fallthrough="on", offVariant="off"), report)
    assert report.diagnostics == ()
