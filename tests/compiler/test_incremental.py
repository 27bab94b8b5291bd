"""What did not change is not compiled again: the same objects come out, and nothing is parsed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from rules_compiler import ir
from rules_compiler.diagnostics import Report
from rules_compiler.dialects.burgee import cel, forget_compiled, lower
from rules_compiler.kept import Generations, begin_compilation


@pytest.fixture(autouse=True)
def cold() -> Iterator[None]:
    forget_compiled()
    yield
    forget_compiled()


def project() -> dict[str, Any]:
    def flag(*conditions: str) -> dict[str, Any]:
        rules = [{"when": each, "serve": "on"} for each in conditions]
        return {"type": "boolean", "variants": {"on": True, "off": False}, "rules": rules, "fallthrough": "off"}

    return {
        "environments": ["default", "other"],
        "segments": {"s": {"when": 'plan == "x"'}, "t": {"when": 'segment("s") && beta'}},
        "flags": {
            "alone": flag('country == "DE"'),
            "named": flag('country == "FR"'),
            "naming": flag('flag("named") == true'),
            "segmented": flag('segment("t")'),
        },
    }


def flags(document: dict[str, Any], environment: str = "default") -> dict[str, ir.Flag]:
    report = Report()
    lowered = lower(json.dumps(document).encode(), environment, report)
    assert lowered is not None, report.diagnostics
    return {flag.key: flag for flag in lowered.flags}


def same(before: dict[str, ir.Flag], after: dict[str, ir.Flag]) -> set[str]:
    return {key for key in before if after.get(key) is before[key]}


def test_nothing_changed() -> None:
    before = flags(project())
    parsed = cel.parse.cache_info().misses
    assert same(before, flags(project())) == set(before)
    document = json.dumps(project(), indent=3).encode()  # formatting is no change
    lowered = lower(document, "default", Report())
    assert lowered is not None and all(flag is before[flag.key] for flag in lowered.flags)
    assert cel.parse.cache_info().misses == parsed


def test_one_condition_changed() -> None:
    before, document = flags(project()), project()
    document["flags"]["alone"]["rules"][0]["when"] += " && new"
    parsed = cel.parse.cache_info().misses
    after = flags(document)
    assert same(before, after) == set(before) - {"alone"}
    assert cel.parse.cache_info().misses == parsed + 1


def test_the_variants_of_a_named_flag_changed() -> None:
    before, document = flags(project()), project()
    document["flags"]["named"]["variants"] = {"on": True, "yes": True, "off": False}
    after = flags(document)
    assert same(before, after) == set(before) - {"named", "naming"}
    assert after["naming"].rules[0].when == ir.FlagIs("named", ("on", "yes"))


def test_the_rules_of_a_named_flag_changed() -> None:
    before, document = flags(project()), project()
    document["flags"]["named"]["rules"] = []
    assert same(before, flags(document)) == set(before) - {"named"}


def test_a_named_segment_changed_or_went() -> None:
    before, document = flags(project()), project()
    document["segments"]["t"]["when"] = "beta"
    assert same(before, flags(document)) == set(before)  # it names the segment, whatever that says
    del document["segments"]["t"]
    report = Report()
    assert lower(document, "default", report) is None
    assert [each.code for each in report.diagnostics] == ["B302"]
    assert same(before, flags(project())) == set(before)


def test_an_environment_is_compiled_on_its_own() -> None:
    document = project()
    document["flags"]["alone"]["environments"] = {"other": {"enabled": False}}
    assert flags(document, "default")["alone"].enabled
    assert not flags(document, "other")["alone"].enabled
    assert flags(document, "default")["alone"].enabled


def test_warnings_are_said_again_and_errors_too() -> None:
    document = project()
    document["flags"]["alone"]["rules"][0]["when"] = 'a == 1 || a == "x"'
    document["flags"]["naming"]["rules"][0]["when"] = 'flag("named") == "x"'
    said = []
    for _ in range(3):
        report = Report()
        lower(document, "default", report)
        said.append(report.diagnostics)
    assert [each.code for each in said[0]] == ["B206", "B205"]
    assert said[0] == said[1] == said[2]


def test_what_was_not_used_for_long_goes_first() -> None:
    cache: Generations[str, str] = Generations(20)
    for key in "abc":
        cache.put(key, key.upper(), 5)
    assert [cache.get(key) for key in "abc"] == ["A", "B", "C"]
    for key in "defghi":
        assert cache.get("a") == "A"
        cache.put(key, key.upper(), 5)
    assert [cache.get(key) for key in "abci"] == ["A", None, None, "I"]
    cache.put("large", "L", 100)
    assert cache.get("large") == "L"
    cache.clear()
    assert cache.get("large") is None


def test_what_no_compilation_of_late_asked_for_goes() -> None:
    cache: Generations[int, int] = Generations(1_000_000)
    for number in range(2_000):
        begin_compilation()
        cache.put(number, number)
        assert cache.get(0) == 0
    held = sum(cache.get(number) is not None for number in range(2_000))
    assert 64 < held <= 130
    assert cache.get(1_999) == 1_999
