import pytest

from rules_compiler.diagnostics import Report
from rules_compiler.passes.inline_segments import inline_segments
from tests.compiler.golden_files import Golden, golden
from tests.compiler.passes.flags import passed, told
from tests.compiler.passes.notation import shown


@pytest.mark.parametrize("case", golden("inline_segments"), ids=lambda case: case.name)
def test_golden(case: Golden, update_golden: bool) -> None:
    report = Report()
    conditions = passed(case.given, inline_segments, report)
    case.check("\n".join(map(shown, conditions)) + told(report), update_golden)
