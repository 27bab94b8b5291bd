"""eppo-server-sdk: Rust behind PyO3. Each rule is an allocation; the last one has a shard range."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import eppo_client
import msgspec

from benchmarks.flags import SPLIT_PERCENT, Context, FlagSpec
from benchmarks.peers import Peer

SHARDS = 10_000


def load(specs: Sequence[FlagSpec]) -> Peer:
    logging.getLogger("eppo").setLevel(logging.ERROR)
    configuration = eppo_client.Configuration(
        flags_configuration=msgspec.json.encode(
            {
                "createdAt": "2026-01-01T00:00:00.000Z",
                "format": "SERVER",
                "environment": {"name": "production"},
                "flags": {spec.key: flag_of(spec) for spec in specs},
            }
        )
    )
    client = eppo_client.init(
        eppo_client.ClientConfig(
            api_key="none",
            base_url="http://127.0.0.1:9",
            assignment_logger=eppo_client.AssignmentLogger(),
            poll_interval_seconds=None,
            initial_configuration=configuration,
        )
    )
    keys = [spec.key for spec in specs]

    def answer_all(prepared: tuple[str, dict[str, Any]]) -> list[bool]:
        subject, attributes = prepared
        assign = client.get_boolean_assignment
        return [assign(key, subject, attributes, False) for key in keys]

    return Peer("eppo-server-sdk", "flag engine", "get_boolean_assignment", prepare, answer_all, list, client.shutdown)


def prepare(context: Context) -> tuple[str, dict[str, Any]]:
    return context["targetingKey"], {name: value for name, value in context.items() if name != "targetingKey"}


def flag_of(spec: FlagSpec) -> dict[str, Any]:
    countries = {"attribute": "country", "operator": "ONE_OF", "value": list(spec.countries)}
    plan = {"attribute": "plan", "operator": "ONE_OF", "value": ["enterprise"]}
    version = {"attribute": "app_version", "operator": "GTE", "value": spec.first_version}
    edge = SHARDS * SPLIT_PERCENT // 100

    def allocation(key: str, rules: list[Any], splits: list[Any]) -> dict[str, Any]:
        return {"key": key, "rules": rules, "splits": splits, "doLog": False}

    def split(variation: str, start: int, end: int) -> dict[str, Any]:
        shard = {"salt": spec.key, "ranges": [{"start": start, "end": end}]}
        return {"variationKey": variation, "shards": [shard]}

    return {
        "key": spec.key,
        "enabled": True,
        "variationType": "BOOLEAN",
        "variations": {"on": {"key": "on", "value": True}, "off": {"key": "off", "value": False}},
        "totalShards": SHARDS,
        "allocations": [
            allocation("countries", [{"conditions": [countries, plan]}], [{"variationKey": "on", "shards": []}]),
            allocation("versions", [{"conditions": [version]}], [{"variationKey": "on", "shards": []}]),
            allocation("share", [], [split("on", 0, edge), split("off", edge, SHARDS)]),
        ],
    }
