"""The cases of cel-spec (logic, comparisons, string, lists) that the subset covers, on the oracle and on the engine."""

from __future__ import annotations

import subprocess

import pytest

from engine import Snapshot
from rules_compiler import compile_flags
from tests import cel_cases, reference
from tests.front_end import lowered
from tests.semantics_table import TRUTHS, truth_flag


@pytest.fixture(scope="module")
def files() -> dict[str, str]:
    try:
        return cel_cases.feature_files()
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"the cel-spec files are not to be had here, neither in BURGEE_CEL_SPEC nor by pip: {error}")


def test_cel_spec(files: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    cases, excluded = cel_cases.read_cases(files)
    with capsys.disabled():
        print(f"\n{cel_cases.report(cases, excluded)}")
    assert len({case.name for case in cases}) >= 260  # as many as ever were covered
    document = {"flags": {f"case-{n}": truth_flag(case.condition) for n, case in enumerate(cases)}}
    environment = lowered(document)
    snapshot = Snapshot.from_bytes(compile_flags(document))
    wrong = []
    for n, case in enumerate(cases):
        expected = TRUTHS[case.truth]
        oracle = reference.evaluate(environment, f"case-{n}", case.context, 0).variant
        compiled = snapshot.evaluate(f"case-{n}", case.context, now=0).variant
        if not expected == oracle == compiled:
            wrong.append(f"{case}: the oracle says {oracle}, the engine {compiled}")
    assert not wrong, "\n".join(wrong)
