"""flagsmith-flag-engine: Python. A segment a flag, whose override switches the flag on; all flags in one call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flag_engine.engine import get_evaluation_result

from benchmarks.flags import SPLIT_PERCENT, Context, FlagSpec
from benchmarks.peers import Peer


def load(specs: Sequence[FlagSpec]) -> Peer:
    environment = {
        "environment": {"key": "production", "name": "production"},
        "features": {spec.key: {"key": spec.key, "name": spec.key, "enabled": False, "value": None} for spec in specs},
        "segments": {spec.key: segment_of(spec) for spec in specs},
    }

    def prepare(context: Context) -> dict[str, Any]:
        traits = {name: value for name, value in context.items() if name != "targetingKey"}
        return {**environment, "identity": {"identifier": context["targetingKey"], "traits": traits}}

    def values(answer: Any) -> list[bool]:
        return [answer["flags"][spec.key]["enabled"] for spec in specs]

    return Peer("flagsmith-flag-engine", "flag engine", "get_evaluation_result", prepare, get_evaluation_result, values)


def segment_of(spec: FlagSpec) -> dict[str, Any]:
    # A list as text: the engine keeps what it parsed of a text, and parses a list again each time.
    countries = {"property": "country", "operator": "IN", "value": ",".join(spec.countries)}
    plan = {"property": "plan", "operator": "EQUAL", "value": "enterprise"}
    version = {
        "property": "app_version",
        "operator": "GREATER_THAN_INCLUSIVE",
        "value": f"{spec.first_version}:semver",
    }
    share = {"property": "", "operator": "PERCENTAGE_SPLIT", "value": str(SPLIT_PERCENT)}
    ways = [
        {"type": "ALL", "conditions": [countries, plan]},
        {"type": "ALL", "conditions": [version]},
        {"type": "ALL", "conditions": [share]},
    ]
    return {
        "key": spec.key,
        "name": spec.key,
        "rules": [{"type": "ANY", "rules": ways}],
        "overrides": [{"key": spec.key, "name": spec.key, "enabled": True, "value": None}],
    }
