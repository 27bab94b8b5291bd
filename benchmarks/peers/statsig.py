"""statsig-python-core: Rust behind PyO3. A gate a flag, from a data store, with the network off."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import msgspec
from statsig_python_core import DataStore, Statsig, StatsigOptions, StatsigUser
from statsig_python_core.data_store import DataStoreResponse

from benchmarks.flags import SPLIT_PERCENT, Context, FlagSpec
from benchmarks.peers import Peer


class Fixed(DataStore):  # type: ignore[misc, unused-ignore]  # Any where the peer is absent
    """Hands out one configuration, whatever the key."""

    specs = ""

    def get(self, key: str) -> Any:
        return DataStoreResponse(result=self.specs, time=int(time.time() * 1000))


def load(specs: Sequence[FlagSpec]) -> Peer:
    store = Fixed()
    conditions: dict[str, Any] = {}
    gates = {spec.key: gate_of(spec, conditions) for spec in specs}
    store.specs = msgspec.json.encode(
        {
            "has_updates": True,
            "time": 1_767_225_600_000,
            "feature_gates": gates,
            "dynamic_configs": {},
            "layer_configs": {},
            "condition_map": conditions,
            "experiment_to_layer": {},
        }
    ).decode()
    options = StatsigOptions(
        data_store=store,
        disable_network=True,
        disable_all_logging=True,
        disable_country_lookup=True,
        output_log_level="none",
    )
    client = Statsig("secret-none", options)
    client.initialize().wait()

    def answer_all(user: Any) -> str:
        answer: str = client.get_client_initialize_response(user, "none")  # faster than check_gate for each
        return answer

    def values(answer: str) -> list[bool]:
        answered = msgspec.json.decode(answer)["feature_gates"]
        return [answered[spec.key]["value"] for spec in specs]

    def close() -> None:
        client.shutdown().wait()

    return Peer(
        "statsig-python-core", "flag engine", "get_client_initialize_response", prepare, answer_all, values, close
    )


def prepare(context: Context) -> Any:
    custom = {name: value for name, value in context.items() if name != "targetingKey"}
    return StatsigUser(context["targetingKey"], custom=custom)


def gate_of(spec: FlagSpec, conditions: dict[str, Any]) -> dict[str, Any]:
    """Adds what the gate asks to `conditions`, where equal conditions of all gates are one."""

    def condition(kind: str, field: str | None, operator: str | None, target: Any) -> str:
        name = f"{field}-{operator}-{target}"
        conditions[name] = {
            "type": kind,
            "field": field,
            "operator": operator,
            "targetValue": target,
            "additionalValues": {},
            "idType": "userID",
        }
        return name

    def rule(name: str, percentage: int, asked: list[str]) -> dict[str, Any]:
        return {
            "name": name,
            "id": name,
            "salt": name,
            "passPercentage": percentage,
            "conditions": asked,
            "returnValue": True,
            "idType": "userID",
        }

    countries = condition("user_field", "country", "any", list(spec.countries))
    plan = condition("user_field", "plan", "any", ["enterprise"])
    version = condition("user_field", "app_version", "version_gte", spec.first_version)
    everyone = condition("public", None, None, None)
    return {
        "type": "feature_gate",
        "entity": "feature_gate",
        "salt": spec.key,
        "enabled": True,
        "defaultValue": False,
        "idType": "userID",
        "rules": [
            rule("countries", 100, [countries, plan]),
            rule("versions", 100, [version]),
            rule("share", SPLIT_PERCENT, [everyone]),
        ],
    }
