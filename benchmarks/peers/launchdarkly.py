"""launchdarkly-server-sdk: Python. Two rules, a fallthrough rollout; flags in its memory store, no events."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import ldclient
from ldclient.config import Config
from ldclient.feature_store import InMemoryFeatureStore
from ldclient.versioned_data_kind import FEATURES, SEGMENTS

from benchmarks.flags import SPLIT_PERCENT, Context, FlagSpec
from benchmarks.peers import Peer


def load(specs: Sequence[FlagSpec]) -> Peer:
    logging.getLogger("ldclient").setLevel(logging.CRITICAL)
    store = InMemoryFeatureStore()
    store.init({FEATURES: {spec.key: flag_of(spec) for spec in specs}, SEGMENTS: {}})
    client = ldclient.LDClient(
        Config("none", feature_store=store, use_ldd=True, send_events=False, diagnostic_opt_out=True)
    )

    def answer_all(context: Any) -> Any:
        return client.all_flags_state(context)  # faster than variation() for each

    def values(state: Any) -> list[bool]:
        return [state.get_flag_value(spec.key) for spec in specs]

    return Peer("launchdarkly-server-sdk", "flag engine", "all_flags_state", prepare, answer_all, values, client.close)


def prepare(context: Context) -> Any:
    attributes = {name: value for name, value in context.items() if name != "targetingKey"}
    return ldclient.Context.from_dict({"kind": "user", "key": context["targetingKey"], **attributes})


def flag_of(spec: FlagSpec) -> dict[str, Any]:
    countries = {"contextKind": "user", "attribute": "country", "op": "in", "values": list(spec.countries)}
    plan = {"contextKind": "user", "attribute": "plan", "op": "in", "values": ["enterprise"]}
    below = {
        "contextKind": "user",
        "attribute": "app_version",
        "op": "semVerLessThan",
        "values": [spec.first_version],
        "negate": True,
    }
    rollout = [
        {"variation": 0, "weight": SPLIT_PERCENT * 1000},
        {"variation": 1, "weight": (100 - SPLIT_PERCENT) * 1000},
    ]
    return {
        "key": spec.key,
        "version": 1,
        "on": True,
        "variations": [True, False],
        "offVariation": 1,
        "salt": spec.key,
        "rules": [
            {"id": "countries", "variation": 0, "clauses": [countries, plan]},
            {"id": "versions", "variation": 0, "clauses": [below]},
        ],
        "fallthrough": {"rollout": {"contextKind": "user", "variations": rollout}},
        "targets": [],
        "contextTargets": [],
        "prerequisites": [],
    }
