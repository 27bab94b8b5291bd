"""datalogic-py: a JSONLogic engine in Rust, with flagd's operators. A rule a flag, one call for many rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import datalogic_py

from benchmarks.flags import SPLIT_PERCENT, FlagSpec
from benchmarks.peers import Peer


def load(specs: Sequence[FlagSpec]) -> Peer:
    engine = datalogic_py.Engine()
    session = engine.session()
    rules = [engine.compile(targeting_of(spec)) for spec in specs]

    def answer_all(handle: Any) -> Any:
        return session.evaluate_many(rules, handle)

    def values(answers: list[str]) -> list[bool]:
        assert set(answers) <= {'"on"', '"off"'}, answers[:3]
        return [answer == '"on"' for answer in answers]

    return Peer(
        "datalogic-py",
        "rule engine",
        "Session.evaluate_many",
        datalogic_py.DataHandle,
        answer_all,
        values,
        session.reset,
    )


def targeting_of(spec: FlagSpec) -> dict[str, Any]:
    """flagd's targeting, as benchmarks/peers/flagd.py has it too."""
    in_countries = {"in": [{"var": "country"}, list(spec.countries)]}
    enterprise = {"===": [{"var": "plan"}, "enterprise"]}
    from_version = {"sem_ver": [{"var": "app_version"}, ">=", spec.first_version]}
    bucketed_by = {"cat": [spec.key, {"var": "targetingKey"}]}
    share = {"fractional": [bucketed_by, ["on", SPLIT_PERCENT], ["off", 100 - SPLIT_PERCENT]]}
    return {"if": [{"and": [in_countries, enterprise]}, "on", from_version, "on", share]}
