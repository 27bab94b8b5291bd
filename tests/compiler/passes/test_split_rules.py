import pytest

from rules_compiler.diagnostics import Report
from tests.compiler.golden_files import Golden, golden
from tests.compiler.passes.flags import conjunctions_of, told
from tests.compiler.passes.notation import shown_literals


@pytest.mark.parametrize("case", golden("split_rules"), ids=lambda case: case.name)
def test_golden(case: Golden, update_golden: bool) -> None:
    report = Report()
    _, conjunctions = conjunctions_of(case.given, report)
    lines = [f"{each.rule}: {shown_literals(each.literals)}".strip() for each in conjunctions]
    case.check("\n".join(lines) + told(report), update_golden)
