"""yggdrasil-engine: Unleash's evaluator in Rust behind ctypes. A flag is on when one of its strategies is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from yggdrasil_engine.engine import UnleashEngine

from benchmarks.flags import SPLIT_PERCENT, Context, FlagSpec
from benchmarks.peers import Peer


def load(specs: Sequence[FlagSpec]) -> Peer:
    engine = UnleashEngine()
    state = {"version": 2, "features": [feature_of(spec) for spec in specs]}
    warnings = engine.take_state(msgspec.json.encode(state).decode())
    assert warnings is None, warnings
    keys = [spec.key for spec in specs]

    def answer_all(context: Any) -> list[Any]:
        check = engine.check_enabled
        return [check(key, context) for key in keys]

    def values(answers: list[Any]) -> list[bool]:
        assert all(answer.is_found for answer in answers)
        return [answer.is_enabled for answer in answers]

    return Peer("yggdrasil-engine", "flag engine", "check_enabled", prepare, answer_all, values)


def prepare(context: Context) -> dict[str, Any]:
    properties = {name: str(value) for name, value in context.items() if name != "targetingKey"}
    return {"userId": context["targetingKey"], "properties": properties}


def feature_of(spec: FlagSpec) -> dict[str, Any]:
    countries = {"contextName": "country", "operator": "IN", "values": list(spec.countries)}
    plan = {"contextName": "plan", "operator": "IN", "values": ["enterprise"]}
    below = {"contextName": "app_version", "operator": "SEMVER_LT", "value": spec.first_version, "inverted": True}
    share = {"rollout": str(SPLIT_PERCENT), "stickiness": "userId", "groupId": spec.key}
    return {
        "name": spec.key,
        "enabled": True,
        "strategies": [
            {"name": "default", "constraints": [countries, plan]},
            {"name": "default", "constraints": [below]},
            {"name": "flexibleRollout", "parameters": share},
        ],
    }
