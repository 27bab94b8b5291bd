"""openfeature-flagd-core: flagd's evaluator in Python, targeting in JSONLogic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from openfeature.contrib.tools.flagd.core import FlagdCore
from openfeature.evaluation_context import EvaluationContext

from benchmarks.flags import BOOLEAN, SPLIT_PERCENT, Context, FlagSpec
from benchmarks.peers import Peer


def load(specs: Sequence[FlagSpec]) -> Peer:
    core = FlagdCore()
    core.set_flags({"flags": {spec.key: flag_of(spec) for spec in specs}})
    keys = [spec.key for spec in specs]

    def answer_all(context: Any) -> list[Any]:
        resolve = core.resolve_boolean_value
        return [resolve(key, False, context) for key in keys]

    def values(answers: list[Any]) -> list[bool]:
        return [answer.value for answer in answers]

    return Peer("openfeature-flagd-core", "flag engine", "resolve_boolean_value", prepare, answer_all, values)


def prepare(context: Context) -> Any:
    attributes = {name: value for name, value in context.items() if name != "targetingKey"}
    return EvaluationContext(context["targetingKey"], attributes)


def flag_of(spec: FlagSpec) -> dict[str, Any]:
    in_countries = {"in": [{"var": "country"}, list(spec.countries)]}
    enterprise = {"===": [{"var": "plan"}, "enterprise"]}
    from_version = {"sem_ver": [{"var": "app_version"}, ">=", spec.first_version]}
    share = {"fractional": [["on", SPLIT_PERCENT], ["off", 100 - SPLIT_PERCENT]]}
    return {
        "state": "ENABLED",
        "variants": BOOLEAN,
        "defaultVariant": "off",
        "targeting": {"if": [{"and": [in_countries, enterprise]}, "on", from_version, "on", share]},
    }
