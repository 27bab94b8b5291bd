import pytest

from rules_compiler.diagnostics import Report
from tests.compiler.passes.golden import Case, cases, conjunctions_of, told
from tests.compiler.passes.notation import shown_literals


@pytest.mark.parametrize("case", cases("split_rules"), ids=lambda case: case.name)
def test_golden(case: Case, update_golden: bool) -> None:
    report = Report()
    _, conjunctions = conjunctions_of(case.rules, report)
    lines = [f"{each.rule}: {shown_literals(each.literals)}".strip() for each in conjunctions]
    case.check("\n".join(lines) + told(report), update_golden)
