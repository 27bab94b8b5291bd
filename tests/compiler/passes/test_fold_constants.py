import pytest

from rules_compiler.diagnostics import Report
from rules_compiler.passes.fold_constants import fold_constants
from tests.compiler.golden_files import Golden, golden
from tests.compiler.passes.flags import passed, told
from tests.compiler.passes.notation import shown


@pytest.mark.parametrize("case", golden("fold_constants"), ids=lambda case: case.name)
def test_golden(case: Golden, update_golden: bool) -> None:
    report = Report()
    conditions = passed(case.given, fold_constants, report)
    case.check("\n".join(map(shown, conditions)) + told(report), update_golden)
