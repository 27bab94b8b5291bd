"""Conditions and values in words, for explanations.

{"node": "in", "operand": {"path": ["country"]}, "values": ["DE", "FR"]}    ->    country in ["DE", "FR"]
{"path": ["app", "version"], "via": "semver"}                               ->    semver(app.version)
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from engine.readings import EPOCH, kind_of

Tree = Mapping[str, Any]  # a node of rules_compiler/ir.py, as JSON

VARIABLES = ("", "x", "y", "z", "w")  # of the quantifiers around, outermost first; their own names are not kept
METHODS = {"starts_with": "startsWith", "ends_with": "endsWith", "contains": "contains", "matches": "matches"}
RELATIONS = frozenset("and or choice in in_networks in_ids contains compare compare_operands flag_is".split())
VALUES_SHOWN = 8


def path_text(operand: Tree) -> str:
    """Where the value is: `account.plan`, or `x.year` within a quantifier."""
    scope = operand.get("scope", 0)
    return ".".join((*((VARIABLES[scope],) if scope else ()), *operand["path"])) or "now"


def operand_text(operand: Tree) -> str:
    via = operand.get("via", "value")
    return path_text(operand) if via in ("value", "now") else f"{via}({path_text(operand)})"


def text_of(tree: Tree, depth: int = 0) -> str:
    """The condition as one would write it, inside `depth` quantifiers."""
    node = tree["node"]
    match node:
        case "constant":
            return {True: "true", False: "false", None: "unknown"}[tree.get("value")]
        case "and" | "or":
            wrapped = ("or", "choice") if node == "and" else ("choice",)
            return (" && " if node == "and" else " || ").join(_inside(item, wrapped, depth) for item in tree["items"])
        case "not":
            return "!" + _inside(tree["item"], RELATIONS, depth)
        case "choice":
            test, then, otherwise = (_inside(tree[part], ("choice",), depth) for part in ("test", "then", "otherwise"))
            return f"{test} ? {then} : {otherwise}"
        case "segment":
            return f'segment("{tree["segment"]}")'
        case "flag_is":
            return f'flag("{tree["flag"]}") gives {" or ".join(f"`{v}`" for v in tree["variants"]) or "nothing named"}'
        case "compare_operands":
            return f"{operand_text(tree['left'])} {tree['op']} {operand_text(tree['right'])}{_offset_text(tree)}"
        case "quantified":
            body = text_of(tree["body"], depth + 1)
            return f"{operand_text(tree['operand'])}.{tree['kind']}({VARIABLES[depth + 1]}, {body})"
    return _atom_text(tree, operand_text(tree["operand"]))


def _atom_text(tree: Tree, name: str) -> str:
    match tree["node"]:
        case "has":
            return f"has({name})"
        case "in":
            values = tree["values"]
            return f"{name} == {shown(values[0])}" if len(values) == 1 else f"{name} in [{all_shown(values)}]"
        case "in_ids":
            return f"{name} in ids {tree['ids']}"
        case "in_networks":
            more = ", …" if len(tree["networks"]) > VALUES_SHOWN else ""
            return f"{name} in [{', '.join(tree['networks'][:VALUES_SHOWN])}{more}]"
        case "contains":
            return " || ".join(f"{shown(value)} in {name}" for value in tree["values"][:VALUES_SHOWN])
        case "text":
            return f"{name}.{METHODS[tree['test']]}({shown(tree['pattern'])})"
        case "compare":
            via, value = tree["operand"].get("via", "value"), tree["value"]
            if via in ("timestamp", "now"):
                return f'{name} {tree["op"]} timestamp("{time_text(value)}")'
            return f"{name} {tree['op']} " + (f"semver({shown(value)})" if via == "semver" else shown(value))
    raise ValueError(f"unknown condition node `{tree['node']}`")


def _inside(tree: Tree, wrapped: Sequence[str] | frozenset[str], depth: int) -> str:
    text = text_of(tree, depth)
    return f"({text})" if tree["node"] in wrapped else text


def _offset_text(tree: Tree) -> str:
    offset = tree.get("offset", 0)
    return f' {"-" if offset < 0 else "+"} duration("{abs(offset) / 1_000_000:g}s")' if offset else ""


# Values


def unfit(operand: Tree, value: Any, needed: str) -> str:
    """Why an atom about this operand is unknown."""
    name, kind = path_text(operand), kind_of(value)
    if kind == "missing":
        return f"`{name}` is missing"
    if kind == "unusable":
        return f"`{name}` is a value that cannot be compared ({shown(value)})"
    return f"`{name}` is {shown(value)}, and {needed} is needed"


def too_long_inside(name: str, elements: Sequence[Any]) -> str:
    """Why looking into a list inside a quantifier is unknown."""
    return f"`{name}` has {len(elements)} elements, more than are looked at inside a quantifier"


def shown(value: Any) -> str:
    """As JSON, cut to 80 characters."""
    try:
        text = json.dumps(value, ensure_ascii=False)
        text.encode()
    except (TypeError, ValueError, RecursionError):
        text = ascii(value) if isinstance(value, str) else f"a {type(value).__name__}"
    return text if len(text) <= 80 else text[:79] + "…"


def all_shown(values: Sequence[Any]) -> str:
    more = f", … ({len(values)} in all)" if len(values) > VALUES_SHOWN else ""
    return ", ".join(map(shown, values[:VALUES_SHOWN])) + more


def as_json(value: Any) -> Any:
    """The value itself where JSON can hold it and it is not long; else as text."""
    kind = kind_of(value)
    if kind in ("missing", "boolean", "number") or (kind == "string" and len(value) <= 200):
        return value
    if kind in ("list", "object"):
        try:
            text = json.dumps(value, ensure_ascii=False, allow_nan=False)
            text.encode()
        except (TypeError, ValueError, RecursionError):
            return shown(value)
        if len(text) <= 1000:
            return value
    return shown(value)


def time_text(microseconds: int) -> str:
    try:
        return (EPOCH + timedelta(microseconds=microseconds)).isoformat().replace("+00:00", "Z")
    except OverflowError:
        return f"{microseconds / 1_000_000:f} s"
