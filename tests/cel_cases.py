"""The cases of cel-spec that Burgee's subset covers, as conditions over a context.

    Scenario: eq_literal/not_eq_string          "'a' == 'b'"        false

becomes

    Case("comparisons: eq_literal/not_eq_string", "a0 == 'b'", {"a0": "a"}, truth=False)
    Case("comparisons: eq_literal/not_eq_string", "'a' == a1", {"a1": "b"}, truth=False)
    Case("comparisons: eq_literal/not_eq_string", "a0 == a1", {"a0": "a", "a1": "b"}, truth=False)

cel-spec compares constants; conditions are about attributes, so a case's constants become attributes of a context.
What is an error in CEL is unknown here; numbers are one kind here, so `1u` is `1` and `dyn(…)` says nothing; an error
within an expression (`1/0 > 3`) is an attribute that is missing.

The files ship in cel-python's sdist. They are read from the folder that BURGEE_CEL_SPEC names (with *.feature in it),
else from the sdist in .cache/cel-spec, which pip downloads once. `python -m tests.cel_cases` lists them all.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILES = ("logic", "comparisons", "string", "lists")
RELEASE = "0.5.0"
CACHE = Path(__file__).resolve().parent.parent / ".cache" / "cel-spec"


@dataclass(frozen=True)
class Scenario:
    name: str
    expression: str
    result: str  # as the file says it: celpy.celtypes.BoolType(source=True), or an error
    bindings: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Case:
    name: str
    condition: str
    context: dict[str, Any]
    truth: bool | None


@dataclass(frozen=True)
class Excluded:
    name: str
    expression: str
    reason: str


class Uncovered(Exception):
    """Why a scenario is not one of the subset."""


def feature_files() -> dict[str, str]:
    """The text of each file. Raises OSError or subprocess.SubprocessError where they are not to be had."""
    folder = os.environ.get("BURGEE_CEL_SPEC")
    if folder:
        return {name: (Path(folder) / f"{name}.feature").read_text("utf-8") for name in FILES}
    archive = CACHE / f"cel_python-{RELEASE}.tar.gz"
    if not archive.exists():
        pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--retries", "1")
        sdist = ("download", "--no-deps", "--no-binary", ":all:", f"cel-python=={RELEASE}", "--dest", str(CACHE))
        subprocess.run((*pip, *sdist), check=True, timeout=120, capture_output=True)
    with tarfile.open(archive) as tar:
        root = f"cel_python-{RELEASE}/features"
        found = {name: tar.extractfile(f"{root}/{name}.feature") for name in FILES}
        return {name: file.read().decode("utf-8") for name, file in found.items() if file is not None}


def scenarios(name: str, text: str) -> Iterator[Scenario]:
    for block in re.split(r"^Scenario: ", text, flags=re.M)[1:]:
        title, _, body = block.partition("\n")
        expression = re.search(r"When CEL expression (.+) is evaluated", body)
        result = re.search(r"Then (?:value is (.+)|(eval_error) is .+)", body)
        if expression and result:
            bindings = tuple(re.findall(r'bindings parameter "(\w+)" is (.+)', body))
            parsed = ast.literal_eval(expression[1])
            yield Scenario(f"{name}: {title.strip()}", parsed, result[1] or result[2], bindings)


def read_cases(files: dict[str, str]) -> tuple[list[Case], list[Excluded]]:
    cases: list[Case] = []
    excluded: list[Excluded] = []
    for name, text in files.items():
        for scenario in scenarios(name, text):
            try:
                cases.extend(rewritten(scenario))
            except Uncovered as reason:
                excluded.append(Excluded(scenario.name, scenario.expression, str(reason)))
    return cases, excluded


# Rewriting


STRING = r"""(?:r'[^']*'|'(?:[^'\\]|\\.)*'|r"[^"]*"|"(?:[^"\\]|\\.)*")"""
NUMBER = r"-?(?:[0-9]+\.[0-9]+(?:[eE][+-]?[0-9]+)?|\.[0-9]+(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+|[0-9]+)"
LITERAL = rf"(?:{STRING}|{NUMBER}\b|true\b|false\b)"
OPERATOR = r"(?:==|!=|<=|>=|<|>)"
ERROR = re.compile(r"\b[0-9]+ ?/ ?0 (?:==|!=|<=|>=|<|>) [0-9]+")

UNCOVERED: tuple[tuple[str, str], ...] = (  # what makes an expression one that the subset does not have
    (r"\bb['\"]", "bytes are not in the subset"),
    (r"google\.|TestAllTypes|\bAny\b", "messages are not in the subset"),
    (r"\bnull\b", "null is missing here, not a value"),
    (r"\btype\(|\bduration\(|\btimestamp\(", "constants of times and types"),
    (r"\][ ]*\[|[\w)\]]\[", "indexing is not in the subset"),
    (r"\{", "map literals are not in the subset"),
    (r"[\]'\"] \+ [\['\"]", "concatenation is not in the subset"),
    (r"0\.0 ?/ ?0\.0", "NaN is unusable here"),
    (rf"\[[^\]]*\] {OPERATOR}|{OPERATOR} \[", "lists are not compared with lists"),
    (r"\b(?:true|false) (?:<|>|<=|>=) |(?:<|>|<=|>=) (?:true|false)\b", "booleans have no order here"),
)


def rewritten(scenario: Scenario) -> list[Case]:
    """The scenario's forms over attributes. Raises Uncovered."""
    shape = re.sub(STRING, "''", scenario.expression)
    for pattern, reason in UNCOVERED:
        if re.search(pattern, shape):
            raise Uncovered(reason)
    expression = re.sub(r"\b([0-9]+)u\b", r"\1", scenario.expression)
    while "dyn(" in expression:
        plain = re.sub(rf"\bdyn\(({LITERAL})\)", r"\1", expression)
        if plain == expression:
            raise Uncovered("dyn of more than a constant")
        expression = plain
    if any(abs(int(n)) > 2**53 - 1 for n in re.findall(r"(?<![\w.])-?[0-9]+(?![\w.])", re.sub(STRING, "", expression))):
        raise Uncovered("integers beyond 2^53 - 1 are unusable here")
    context = {name: bound(value) for name, value in scenario.bindings}
    truth, suffix = expected(scenario.result)
    return [
        Case(scenario.name, form, {**context, **attributes}, truth)
        for form, attributes in forms(expression, suffix, context)
    ]


def bound(text: str) -> Any:
    found = re.fullmatch(r"celpy\.celtypes\.(?:Int|Uint|Double|String|Bool)Type\(source=(.+)\)", text.strip())
    if found is None:
        raise Uncovered("bound to a value of a kind that conditions do not compare")
    return ast.literal_eval(found[1])


def expected(result: str) -> tuple[bool | None, str]:
    """The truth, and what makes a condition of a number: (True, " == 3")."""
    if result == "eval_error":
        return None, ""
    found = re.fullmatch(r"celpy\.celtypes\.(\w+)Type\(source=(.+)\)", result)
    if found is None or found[1] not in ("Bool", "Int"):
        raise Uncovered("the result is not a truth")
    return (found[2] == "True", "") if found[1] == "Bool" else (True, f" == {found[2]}")


def forms(expression: str, suffix: str, context: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    if context:  # about variables already
        yield expression + suffix, {}
    elif found := re.fullmatch(rf"({LITERAL}) ({OPERATOR}) ({LITERAL})", expression):
        left, operator, right = found.groups()
        one, other = value_of(left), value_of(right)
        yield f"a0 {operator} {right}", {"a0": one}
        yield f"{left} {operator} a1", {"a1": other}
        yield f"a0 {operator} a1", {"a0": one, "a1": other}
    elif found := re.fullmatch(rf"({STRING})\.(\w+)\(({STRING})\)", expression):
        yield f"a0.{found[2]}({found[3]})", {"a0": value_of(found[1])}
    elif found := re.fullmatch(r"size\((.+)\)", expression):
        yield f"size(a0){suffix}", {"a0": value_of(found[1])}
    elif found := re.fullmatch(rf"({LITERAL}) in (\[.*\])", expression):
        yield f"{found[1]} in a1", {"a1": value_of(found[2])}
        if (
            len({type(value) is str for value in value_of(found[2])}) == 1
        ):  # a written list is not empty, and of one kind
            yield f"a0 in {found[2]}", {"a0": value_of(found[1])}
    elif suffix:
        raise Uncovered("a choice between values that are not truths")
    else:
        yield logic(expression)


def value_of(literal: str) -> Any:
    if literal in ("true", "false"):
        return literal == "true"
    try:
        return ast.literal_eval(literal)
    except (ValueError, SyntaxError):
        raise Uncovered("a constant that is no JSON") from None


def logic(expression: str) -> tuple[str, dict[str, Any]]:
    """Every constant of a logical expression becomes an attribute, and every error one that is missing."""
    attributes: dict[str, Any] = {}

    def named(found: re.Match[str]) -> str:
        name = f"a{len(attributes)}"
        attributes[name] = value_of(found[0])
        return name

    without_errors = ERROR.sub("absent", expression)
    condition = re.sub(LITERAL, named, without_errors)
    if not re.fullmatch(r"(?:a[0-9]+|absent|&&|\|\||[!?:() ])+", condition):
        raise Uncovered("another shape of expression")
    return condition, attributes


def main() -> None:
    cases, excluded = read_cases(feature_files())
    for case in cases:
        print(f"{case.name:50} {case.condition}   {case.context}   {case.truth}")
    for each in excluded:
        print(f"not covered: {each.name:40} {each.expression[:70]}   ({each.reason})")
    print(report(cases, excluded))


def report(cases: list[Case], excluded: list[Excluded]) -> str:
    covered = len({case.name for case in cases})
    reasons = "".join(
        f"\n  {count:4}  {reason}" for reason, count in Counter(each.reason for each in excluded).most_common()
    )
    return (
        f"cel-spec {', '.join(FILES)}: {covered} of {covered + len(excluded)} scenarios covered, "
        f"in {len(cases)} conditions; not covered:{reasons}"
    )


if __name__ == "__main__":
    main()
