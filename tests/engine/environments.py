"""The environments that the engine's tests evaluate."""

from __future__ import annotations

from typing import Any

from engine import Snapshot
from rules_compiler import compile_flags

EVERYTHING: dict[str, Any] = {
    "segments": {
        "staff": {"when": 'email.endsWith("@example.com") || email.matches("^root@.*[.]test$")'},
        "beta": {"include": ["u-1", "u-2", "17"], "exclude": ["u-3"], "when": 'segment("staff") || plan == "beta"'},
    },
    "flags": {
        "constant": {"type": "string", "variants": {"a": "A"}, "fallthrough": "a"},
        "disabled": {"type": "boolean", "variants": {"on": True, "off": False}, "enabled": False, "offVariant": "off"},
        "code-default": {"type": "boolean", "variants": {"on": True}, "rules": [{"when": "beta", "serve": "on"}]},
        "checkout": {
            "type": "string",
            "clientVisible": True,
            "variants": {"old": "old", "new": "new-v2"},
            "offVariant": "old",
            "prerequisites": [{"flag": "payments", "variants": ["on"]}],
            "rules": [
                {"when": 'segment("beta") && semver(app.version) >= semver("2.3.0-rc.2")', "serve": "new"},
                {
                    "when": 'country in ["DE", "FR"]',
                    "serve": {"split": [{"variant": "new", "weight": 20}, {"variant": "old", "weight": 80}]},
                },
            ],
            "fallthrough": "old",
        },
        "payments": {
            "type": "boolean",
            "variants": {"on": True, "off": False},
            "offVariant": "off",
            "rules": [{"when": 'timestamp(created) < timestamp("2026-01-01T00:00:00Z")', "serve": "off"}],
            "fallthrough": "on",
        },
        "limits": {
            "type": "object",
            "variants": {"small": {"requests": 10, "paths": ["/a"]}, "large": {"requests": 1000.5, "paths": []}},
            "rules": [
                {"when": 'now >= timestamp("2030-01-01T00:00:00Z") && flag("payments")', "serve": "large"},
                {"when": 'ip(address) in [cidr("10.0.0.0/8"), cidr("2001:db8::/32")]', "serve": "large"},
                {"when": 'cart.exists(item, item.sku.startsWith("x-") && item.price > 9.5)', "serve": "large"},
                {"when": 'size(name) > 3 && lower(name) == "grün" || "vip" in tags', "serve": "large"},
                {"when": "age < 18.5 || (age >= 65 && has(app.version))", "serve": "large"},
            ],
            "fallthrough": {
                "split": [{"variant": "small", "weight": 99.999}, {"variant": "large", "weight": 0.001}],
                "by": "account.id",
            },
        },
    },
}


def snapshot_of(document: dict[str, Any], **options: Any) -> Snapshot:
    return Snapshot.from_bytes(compile_flags(document, **options))


def everything() -> Snapshot:
    return snapshot_of(EVERYTHING, version=17, flag_set_id="acme/shop/production")
