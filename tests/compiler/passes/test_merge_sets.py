import pytest

from rules_compiler.diagnostics import Report
from rules_compiler.passes.merge_sets import merge_sets
from tests.compiler.golden_files import Golden, golden
from tests.compiler.passes.flags import passed, told
from tests.compiler.passes.notation import shown


@pytest.mark.parametrize("case", golden("merge_sets"), ids=lambda case: case.name)
def test_golden(case: Golden, update_golden: bool) -> None:
    report = Report()
    conditions = passed(case.given, merge_sets, report)
    case.check("\n".join(map(shown, conditions)) + told(report), update_golden)
