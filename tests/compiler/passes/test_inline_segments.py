import pytest

from rules_compiler.diagnostics import Report
from rules_compiler.passes.inline_segments import inline_segments
from tests.compiler.passes.golden import Case, cases, passed, told
from tests.compiler.passes.notation import shown


@pytest.mark.parametrize("case", cases("inline_segments"), ids=lambda case: case.name)
def test_golden(case: Case, update_golden: bool) -> None:
    report = Report()
    conditions = passed(case.rules, inline_segments, report)
    case.check("\n".join(map(shown, conditions)) + told(report), update_golden)
