"""Documents: what is said about each (golden/documents.txt), the caps, and what no input may do."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules_compiler import limits, lint
from rules_compiler.diagnostics import Report
from rules_compiler.dialects.burgee import lower
from tests.compiler.golden_files import Golden, golden

SWITCH: dict[str, Any] = {"type": "boolean", "variants": {"on": True, "off": False}}


def report_of(document: Any, environment: str | None = None) -> Report:
    """INVARIANT: there is an environment, or there are errors, and never both; nothing is raised."""
    report = Report()
    lowered = lower(document, environment, report)
    assert (lowered is None) == report.has_errors
    return report


def codes(document: Any) -> list[str]:
    return [each.code for each in report_of(document).diagnostics]


@pytest.mark.parametrize("case", golden("documents"), ids=lambda case: case.name)
def test_golden(case: Golden, update_golden: bool) -> None:
    report = report_of(case.given.encode())
    case.check("\n".join(f"{each.severity} {each}" for each in report.diagnostics) or "fine", update_golden)


def test_the_document_of_the_manual() -> None:
    text = (golden("documents")[0].file.parents[3] / "docs" / "flag-documents.md").read_text()
    written = text.partition("```yaml\n")[2].partition("```")[0]
    for environment in ("development", "production"):
        assert report_of(written.encode(), environment).diagnostics == ()
    assert lint(written.encode()) == []


def test_the_conditions_of_the_manual() -> None:
    text = (golden("documents")[0].file.parents[3] / "docs" / "flag-documents.md").read_text()
    rows = re.findall(r"^\| (?:.*?) \| (`.*) \|$", text.partition("## Conditions")[2].partition("## Limits")[0], re.M)
    conditions = [each.replace("\\|", "|") for row in rows for each in re.findall("`([^`]+)`", row)]
    assert len(conditions) > 20
    for condition in conditions:
        rules = [{"when": condition, "serve": "on"}]
        flag = {"type": "boolean", "variants": {"on": True, "off": False}, "rules": rules, "fallthrough": "off"}
        theme = {"type": "string", "variants": {"dark": "dark"}, "fallthrough": "dark"}
        live = {"type": "boolean", "variants": {"on": True}, "fallthrough": "on"}
        flags = {"f": flag, "theme": theme, "payments-live": live}
        assert lint({"segments": {"staff": {"when": "employee"}}, "flags": flags}) == [], condition


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (b'{"flags": {}}' + b" " * limits.DOCUMENT_BYTES, "B501"),
        (b" " * 100_000_000, "B501"),
        ({"flags": {f"f{n}": SWITCH for n in range(limits.FLAGS + 1)}}, "B502"),
        ({"segments": {f"s{n}": {} for n in range(limits.SEGMENTS + 1)}}, "B503"),
        ({"environments": [f"e{n}" for n in range(limits.ENVIRONMENTS + 1)]}, "B518"),
        ({"flags": {"f": {"type": "integer", "variants": {f"v{n}": n for n in range(limits.VARIANTS + 1)}}}}, "B504"),
        ({"flags": {"f": {**SWITCH, "rules": [{"when": "a", "serve": "on"}] * (limits.RULES + 1)}}}, "B505"),
        ({"flags": {"f": {"type": "string", "variants": {"a": "x" * limits.VALUE_BYTES}}}}, "B506"),
        ({"segments": {"s": {"include": [str(n) for n in range(limits.IDS)], "exclude": ["x"]}}}, "B507"),
        (
            {
                "flags": {
                    f"f{n}": {
                        **SWITCH,
                        "rules": [{"when": " || ".join(f"a{n}_{m}" for m in range(100)), "serve": "on"}],
                    }
                    for n in range(21)
                }
            },
            "B508",
        ),
        ({"segments": {f"s{n:02}": {"when": f'segment("s{n + 1:02}") || a'} for n in range(17)} | {"s17": {}}}, "B514"),
        (
            {
                "flags": {"f00": SWITCH}
                | {
                    f"f{n:02}": {**SWITCH, "prerequisites": [{"flag": f"f{n - 1:02}", "variants": ["on"]}]}
                    for n in range(1, 17)
                }
            },
            "B515",
        ),
        ({"segments": {"s": {"include": ["x"], "by": ".".join("a" * 40)}}}, "B517"),
        (b'{"flags": ' + b"[" * 40_000 + b"]" * 40_000 + b"}", "B106"),
        (b'{"flags": {"f": ' + b'{"a":' * 40_000 + b"1" + b"}" * 40_000 + b"}}", "B106"),
        (b'{"flags": {"f": {"type": "object", "variants": {"x": ' + b"[" * 100 + b"]" * 100 + b"}}}}", "B106"),
        (b'{"flags": {"f": {"type": "object", "variants": {"x": ' + b"[" * 33 + b"]" * 33 + b"}}}}", "B106"),
        (b"[" * 100_000, "B106"),
        (b"".join(b" " * n + b"a:\n" for n in range(1000)), "B106"),
        (b"\xff\xfe{}", "B101"),
        (b'{"flags": {"f": 1' + b"0" * 5000 + b"}}", "B109"),
        ("flags: {}", "B101"),
        (None, "B101"),
        ({"flags": {"a": float("nan")}}, "B101"),
        ({"flags": {"a": "\ud800"}}, "B101"),
        ({"flags": {"a": object()}}, "B101"),
        ({"flags": {b"a": 1}}, "B101"),
        ({"flags": {1: {}, "1": {}}}, "B105"),
    ],
    ids=lambda value: str(value)[:16] if not isinstance(value, str) else value,
)
def test_caps_and_oddities(document: Any, code: str) -> None:
    assert codes(document) == [code]


def test_as_much_as_is_allowed() -> None:
    chain = {
        f"f{n:02}": {**SWITCH, "prerequisites": [{"flag": f"f{n - 1:02}", "variants": ["on"]}]} for n in range(1, 16)
    }
    nested = {f"s{n:02}": {"when": f'segment("s{n + 1:02}") || a'} for n in range(15)} | {"s15": {"when": "a"}}
    value: list[Any] = []
    for _ in range(limits.VALUE_DEPTH - 1):
        value = [value]
    deep = {"type": "object", "variants": {"x": value}}
    assert codes({"segments": nested, "flags": {"f00": SWITCH, **chain, "deep": deep}}) == []


def test_shared_parts_of_a_mapping_do_not_grow_without_end() -> None:
    part: list[Any] = ["x"]
    for _ in range(100):
        part = [part, part]
    assert codes({"flags": {"f": {"type": "object", "variants": {"x": part}}}}) == ["B501"]
    within: dict[str, Any] = {}
    within["flags"] = within
    assert codes(within) == ["B106"]


class Hostile(Mapping[str, Any]):
    def __getitem__(self, key: str) -> Any:
        raise ZeroDivisionError

    def __iter__(self) -> Iterator[str]:
        return iter(("flags",))

    def __len__(self) -> int:
        return 1


def test_a_mapping_that_raises() -> None:
    assert codes(Hostile()) == ["B101"]
    assert codes({"flags": Hostile()}) == ["B101"]


def test_json_yaml_and_mappings_mean_the_same() -> None:
    document = {"segments": {"s": {"include": ["ü"]}}, "flags": {"a": {**SWITCH, "fallthrough": "on"}}}
    written = json.dumps(document).encode()
    found = [lower(each, None, Report()) for each in (document, written, b"\xef\xbb\xbf" + written, b"--- " + written)]
    assert found[0] is not None and found.count(found[0]) == 4


def test_an_environment_replaces_what_it_names() -> None:
    document: dict[str, Any] = {
        "environments": ["a", "b"],
        "segments": {
            "s": {"include": ["1"], "exclude": ["2"], "when": "x", "environments": {"b": {"include": [], "when": "y"}}}
        },
        "flags": {"f": {**SWITCH, "fallthrough": "on", "environments": {"b": {"enabled": False, "fallthrough": None}}}},
    }
    assert codes(document) == ["B117"]
    assert [each.code for each in report_of(document, "c").diagnostics] == ["B116"]
    found = {name: lower(document, name, Report()) for name in ("a", "b")}
    assert found["a"] is not None and found["b"] is not None
    assert [(each.flags[0].enabled, each.flags[0].fallthrough) for each in (found["a"], found["b"])] == [
        (True, "on"),
        (False, None),
    ]
    assert (found["a"].ids, found["b"].ids) == ({"s/include": ("1",), "s/exclude": ("2",)}, {"s/exclude": ("2",)})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(st.text(max_size=5), inside, max_size=4),
    max_leaves=8,
)
MEMBERS = st.sampled_from(
    "environments segments flags type variants enabled offVariant prerequisites rules fallthrough when serve split by "
    "salt include exclude variant weight flag id name on off default production f g s".split()
)
WORDS = st.sampled_from(
    [
        "on",
        "off",
        "f",
        "g",
        "s",
        "default",
        "boolean",
        "string",
        "object",
        "number",
        "a == 1",
        'segment("s")',
        'flag("f")',
    ]
)
NEARLY = st.recursive(
    WORDS | JSON,
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(MEMBERS, inside, max_size=6),
    max_leaves=30,
)
TOKENS = st.sampled_from(
    'a b.c x now ( ) [ ] { } , . ? : && || ! == != < <= > >= in + - * / "x" \'y\' r"\\d" 1 2.5 1e3 0x1 true false null '
    'has size semver ip cidr timestamp duration lower segment flag exists all startsWith matches "1.2" "10.0.0.0/8" '
    '"2026-01-01T00:00:00Z" "1h" "s" "f" a.exists(x, x.b) // " \' \\ ` = & é'.split(" ")
)


@given(st.binary(max_size=200))
def test_any_bytes(document: bytes) -> None:
    report_of(document)


@given(st.text(max_size=200))
def test_any_text(document: str) -> None:
    report_of(document.encode("utf-8", "surrogatepass"))
    report_of(("{" + document).encode("utf-8", "surrogatepass"))


@given(st.dictionaries(MEMBERS, NEARLY))
def test_anything_like_a_document(document: dict[str, Any]) -> None:
    report_of(document)


@given(st.dictionaries(st.sampled_from("fgh"), st.dictionaries(MEMBERS, NEARLY), max_size=3))
def test_anything_like_flags(flags: dict[str, Any]) -> None:
    report_of({"flags": {key: {**SWITCH, **flag} for key, flag in flags.items()}, "segments": flags})


@given(st.lists(TOKENS, max_size=30).map(" ".join) | st.lists(TOKENS, max_size=30).map("".join) | st.text(max_size=60))
def test_anything_like_a_condition(condition: str) -> None:
    flag = {**SWITCH, "rules": [{"when": condition, "serve": "on"}]}
    report_of({"flags": {"f": SWITCH, "g": flag}, "segments": {"s": {"when": "a"}}})
