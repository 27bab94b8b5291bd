"""growthbook: Python. Two forced rules, then a rule whose coverage is the share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from growthbook import GrowthBook

from benchmarks.flags import SPLIT_PERCENT, Context, FlagSpec
from benchmarks.peers import Peer


def load(specs: Sequence[FlagSpec]) -> Peer:
    client = GrowthBook(features={spec.key: flag_of(spec) for spec in specs})
    keys = [spec.key for spec in specs]

    def answer_all(attributes: Any) -> list[Any]:
        client.set_attributes(attributes)
        return [client.eval_feature(key) for key in keys]

    def values(answers: list[Any]) -> list[bool]:
        return [answer.value for answer in answers]

    return Peer("growthbook", "flag engine", "eval_feature", dict[str, Any], answer_all, values, client.destroy)


def flag_of(spec: FlagSpec) -> Context:
    return {
        "defaultValue": False,
        "rules": [
            {"condition": {"country": {"$in": list(spec.countries)}, "plan": "enterprise"}, "force": True},
            {"condition": {"app_version": {"$vgte": spec.first_version}}, "force": True},
            {"force": True, "coverage": SPLIT_PERCENT / 100, "hashAttribute": "targetingKey", "hashVersion": 2},
        ],
    }
