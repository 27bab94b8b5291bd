"""A condition, looked at node by node: the truth of each, the values its operands saw, and why, in words.

    country in ["DE", "FR"] && age >= 18        with {"country": "IT"}

becomes

    Condition("country in [\\"DE\\", \\"FR\\"] && age >= 18", "false", "`country` is \\"IT\\", not one of …", items=(
        Condition("country in …", "false", seen=(Seen("country", "string", "IT"),)),
        Condition("age >= 18", "unknown", "`age` is missing", seen=(Seen("age", "missing", None),))))

The tree comes from a snapshot's source map: rules_compiler/ir.py as JSON, with segments written in where they are used.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal

import msgspec
import re2

from engine.readings import EPOCH, id_text, kind_of, network_holds, read, value_at

Truth = Literal["true", "false", "unknown"]
TRUTHS: dict[bool | None, Truth] = {True: "true", False: "false", None: "unknown"}
ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
}
METHODS = {"starts_with": "startsWith", "ends_with": "endsWith", "contains": "contains", "matches": "matches"}
NEEDED = {
    "lower": "a string",
    "size": "a string, a list or an object",
    "semver": "a version",
    "timestamp": "a time",
    "ip": "an address",
}
ELEMENTS_SHOWN = 16
MAX_LOOKS = 100_000  # at elements of lists, in one condition; one that would look at more is unknown

Tree = Mapping[str, Any]


class Seen(msgspec.Struct, frozen=True):
    """What one operand found in the context."""

    operand: str  # as one would write it: lower(account.plan)
    kind: str  # of the value, see readings.kind_of; "time" for `now`
    value: Any  # JSON; what JSON cannot hold, and what is long, as text


class Condition(msgspec.Struct, frozen=True):
    text: str
    truth: Truth
    why: str
    node: str  # of rules_compiler/ir.py, or "segment", "element"
    seen: tuple[Seen, ...] = ()
    items: tuple[Condition, ...] = ()


class Looker:
    """Looks at conditions for one context and time. `variant_of` and `in_ids` ask the snapshot."""

    def __init__(
        self,
        context: Mapping[str, Any],
        now: int,
        variant_of: Callable[[str], str | None],
        in_ids: Callable[[str, Sequence[str], str], bool],
    ) -> None:
        self.context = context
        self.now = now * 1000  # microseconds
        self.variant_of = variant_of
        self.in_ids = in_ids
        self.looks = 0

    def look_at(self, condition: Tree) -> Condition:
        """A whole condition."""
        self.looks = 0
        return self.look(condition)

    def look(self, tree: Tree, scopes: Sequence[Any] = ()) -> Condition:
        """`scopes`: the elements that the quantifiers around are looking at, outermost first."""
        node = tree["node"]
        match node:
            case "constant":
                return self.condition(tree, len(scopes), tree.get("value"), "it is always so")
            case "and" | "or":
                return self.junction(tree, [self.look(item, scopes) for item in tree["items"]], len(scopes))
            case "not":
                item = self.look(tree["item"], scopes)
                return self.condition(tree, len(scopes), _negated(item.truth), item.why, items=(item,))
            case "segment":
                item = self.look(tree["item"], scopes)
                return self.condition(tree, len(scopes), _BOOLEANS[item.truth], item.why, items=(item,))
            case "choice":
                return self.choice(tree, scopes)
            case "flag_is":
                gave = self.variant_of(tree["flag"])
                truth = None if gave is None else gave in tree["variants"]
                words = "no variant" if gave is None else f"the variant `{gave}`"
                return self.condition(tree, len(scopes), truth, f"flag `{tree['flag']}` gives {words}")
            case "quantified":
                return self.quantified(tree, scopes)
            case "compare_operands":
                return self.compare_operands(tree, scopes)
        return self.atom(tree, scopes)

    @staticmethod
    def condition(
        tree: Tree,
        depth: int,
        truth: bool | None,
        why: str,
        seen: tuple[Seen, ...] = (),
        items: tuple[Condition, ...] = (),
    ) -> Condition:
        return Condition(text_of(tree, depth), TRUTHS[truth], why, tree["node"], seen, items)

    def junction(self, tree: Tree, items: list[Condition], depth: int) -> Condition:
        decisive: Truth = "false" if tree["node"] == "and" else "true"
        found: Truth = next((t for t in (decisive, "unknown") if any(i.truth == t for i in items)), _OPPOSITE[decisive])
        if found in (decisive, "unknown"):
            why = next(item.why for item in items if item.truth == found)
        else:
            why = "; ".join(item.why for item in items)
        return self.condition(tree, depth, _BOOLEANS[found], why, items=tuple(items))

    def choice(self, tree: Tree, scopes: Sequence[Any]) -> Condition:
        test, then, otherwise = (self.look(tree[part], scopes) for part in ("test", "then", "otherwise"))
        if test.truth == "unknown":
            return self.condition(tree, len(scopes), None, test.why, items=(test, then, otherwise))
        taken = then if test.truth == "true" else otherwise
        return self.condition(
            tree, len(scopes), _BOOLEANS[taken.truth], f"{test.why}; {taken.why}", items=(test, then, otherwise)
        )

    def quantified(self, tree: Tree, scopes: Sequence[Any]) -> Condition:
        name, elements, seen = self.saw(tree["operand"], scopes)
        if seen.kind != "list":
            return self.condition(tree, len(scopes), None, _unfit(name, elements, "a list"), (seen,))
        decisive: Truth = "true" if tree["kind"] == "exists" else "false"
        truth: Truth = _OPPOSITE[decisive]
        shown: list[Condition] = []
        for index, element in enumerate(elements):
            self.looks += 1
            if self.looks > MAX_LOOKS:
                why = f"`{name}` and the lists beside it have more elements than a condition looks at"
                return self.condition(tree, len(scopes), None, why, (seen,))
            body = self.look(tree["body"], (*scopes, element))
            if body.truth == decisive or (body.truth == "unknown" and truth != "unknown"):
                truth = body.truth
            elif len(shown) >= ELEMENTS_SHOWN:
                continue
            text = f"{_VARIABLES[len(scopes) + 1]} = {name}[{index}]"
            shown.append(Condition(text, body.truth, body.why, "element", items=(body,)))
            if truth == decisive:  # later elements change nothing
                break
        if truth == _OPPOSITE[decisive]:
            why = f"`{name}` has {len(elements)} elements, {'none' if decisive == 'true' else 'all'} of them so"
        else:
            why = (
                f"{shown[-1].text}: {shown[-1].why}"
                if truth == decisive
                else f"`{name}` has an element: " + next(item.why for item in shown if item.truth == "unknown")
            )
        return self.condition(tree, len(scopes), _BOOLEANS[truth], why, (seen,), tuple(shown))

    def compare_operands(self, tree: Tree, scopes: Sequence[Any]) -> Condition:
        op, offset = tree["op"], tree.get("offset", 0)
        sides = []
        for operand in (tree["left"], tree["right"]):
            name, value, seen = self.saw(operand, scopes)
            via = operand.get("via", "value")
            sides.append((name, value, seen, value if via == "now" else read(via, value), via))
        seen_both = (sides[0][2], sides[1][2])
        for name, value, _, reading, via in sides:
            if reading is None:
                return self.condition(
                    tree, len(scopes), None, _unfit(name, value, NEEDED.get(via, "a plain value")), seen_both
                )
        left, right = sides[0][3], sides[1][3]
        kinds = {
            "boolean" if isinstance(r, bool) else "string" if isinstance(r, str) else "other" for r in (left, right)
        }
        if len(kinds) > 1 or (kinds == {"boolean"} and op != "=="):
            why = f"`{sides[0][0]}` is {_shown(left)} and `{sides[1][0]}` is {_shown(right)}: not to be compared"
            return self.condition(tree, len(scopes), None, why, seen_both)
        truth = ORDERS[op](left, right + offset if offset else right)
        why = " and ".join(f"`{name}` is {_shown(value)}" for name, value, *_ in sides)
        return self.condition(tree, len(scopes), truth, why, seen_both)

    def atom(self, tree: Tree, scopes: Sequence[Any]) -> Condition:
        node, operand = tree["node"], tree["operand"]
        name, value, seen = self.saw(operand, scopes)
        via = operand.get("via", "value")
        reading = value if via == "now" else read(via, value)
        is_so = f"`{name}` is {_shown(value if via in ('value', 'semver', 'timestamp', 'ip') else reading)}"
        truth: bool | None
        match node:
            case "has":
                truth = seen.kind != "missing"
                why = f"`{name}` is {'there' if truth else 'missing'}"
            case "in_ids":
                text = id_text(value)
                truth = None if text is None else self.in_ids(tree["ids"], operand["path"], text)
                why = (
                    _unfit(name, value, "an id") if text is None else f"{is_so}, {_is(truth)}listed in `{tree['ids']}`"
                )
            case "in_networks":
                truth = None if reading is None else any(network_holds(n, reading) for n in tree["networks"])
                why = _unfit(name, value, "an address") if reading is None else is_so
            case "contains":
                kind = kind_of(tree["values"][0])
                truth = any(kind_of(e) == kind and e in tree["values"] for e in value) if seen.kind == "list" else None
                why = _unfit(name, value, "a list") if truth is None else f"`{name}` is {_shown(value)}"
            case "in":
                kind = kind_of(tree["values"][0])
                truth = reading in tree["values"] if reading is not None and kind_of(reading) == kind else None
                others = "one of" if len(tree["values"]) > 1 else ""
                why = (
                    _unfit(name, value, f"a {kind}")
                    if truth is None
                    else (is_so if truth else f"{is_so}, not {others} {_shown_all(tree['values'])}".replace("  ", " "))
                )
            case "text":
                truth = _text_test(tree["test"], reading, tree["pattern"]) if isinstance(reading, str) else None
                why = _unfit(name, value, "a string") if truth is None else is_so
            case "compare":
                constant = read("semver", tree["value"]) if via == "semver" else tree["value"]
                fits = reading is not None and isinstance(reading, str) == isinstance(constant, str)
                fits = fits and not isinstance(reading, bool)
                truth = ORDERS[tree["op"]](reading, constant) if fits else None
                needed = NEEDED.get(via, "a string" if isinstance(constant, str) else "a number")
                why = is_so if fits else _unfit(name, value, needed)
            case _:
                raise ValueError(f"unknown condition node `{node}`")
        return self.condition(tree, len(scopes), truth, why, (seen,))

    def saw(self, operand: Tree, scopes: Sequence[Any]) -> tuple[str, Any, Seen]:
        name = operand_text(operand)
        if operand.get("via") == "now":
            return name, self.now, Seen(name, "time", _time_text(self.now))
        value = value_at((self.context, *scopes)[operand.get("scope", 0)], operand["path"])
        return name, value, Seen(name, kind_of(value), _json(value))


_BOOLEANS: dict[Truth, bool | None] = {"true": True, "false": False, "unknown": None}
_OPPOSITE: dict[Truth, Truth] = {"true": "false", "false": "true", "unknown": "unknown"}
_VARIABLES = ("", "x", "y", "z", "w")
_RELATIONS = (
    "and",
    "or",
    "choice",
    "in",
    "in_networks",
    "in_ids",
    "contains",
    "compare",
    "compare_operands",
    "flag_is",
)


def _negated(truth: Truth) -> bool | None:
    return _BOOLEANS[_OPPOSITE[truth]]


def _is(truth: bool | None) -> str:
    return "" if truth else "not "


def _unfit(name: str, value: Any, needed: str) -> str:
    kind = kind_of(value)
    if kind == "missing":
        return f"`{name}` is missing"
    if kind == "unusable":
        return f"`{name}` is a value that cannot be compared ({_shown(value)})"
    return f"`{name}` is {_shown(value)}, and {needed} is needed"


def _text_test(test: str, text: str, pattern: str) -> bool:
    match test:
        case "starts_with":
            return text.startswith(pattern)
        case "ends_with":
            return text.endswith(pattern)
        case "contains":
            return pattern in text
    return re2.search(pattern, text) is not None


# In words


def _json(value: Any) -> Any:
    kind = kind_of(value)
    if kind in ("missing", "boolean", "number") or (kind == "string" and len(value) <= 200):
        return value
    if kind in ("list", "object"):
        try:
            text = json.dumps(value, ensure_ascii=False, allow_nan=False)
            text.encode()
        except (TypeError, ValueError, RecursionError):
            return _shown(value)
        if len(text) <= 1000:
            return value
    return _shown(value)


def _shown(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False)
        text.encode()
    except (TypeError, ValueError, RecursionError):
        text = ascii(value) if isinstance(value, str) else f"a {type(value).__name__}"
    return text if len(text) <= 80 else text[:79] + "…"


def _shown_all(values: Sequence[Any]) -> str:
    more = f", … ({len(values)} in all)" if len(values) > 8 else ""
    return ", ".join(map(_shown, values[:8])) + more


def _time_text(microseconds: int) -> str:
    try:
        return (EPOCH + timedelta(microseconds=microseconds)).isoformat().replace("+00:00", "Z")
    except OverflowError:
        return f"{microseconds / 1_000_000:f} s"


def operand_text(operand: Tree) -> str:
    via, scope = operand.get("via", "value"), operand.get("scope", 0)
    if via == "now":
        return "now"
    path = ".".join((*((_VARIABLES[scope],) if scope else ()), *operand["path"]))
    return path if via == "value" else f"{via}({path})"


def text_of(tree: Tree, depth: int = 0) -> str:
    """The condition as one would write it, inside `depth` quantifiers."""
    match tree["node"]:
        case "constant":
            return TRUTHS[tree.get("value")]
        case "and" | "or":
            inner = ("or", "choice") if tree["node"] == "and" else ("choice",)
            return (" && " if tree["node"] == "and" else " || ").join(
                _inside(item, inner, depth) for item in tree["items"]
            )
        case "not":
            return "!" + _inside(tree["item"], _RELATIONS, depth)
        case "choice":
            test, then, otherwise = (_inside(tree[part], ("choice",), depth) for part in ("test", "then", "otherwise"))
            return f"{test} ? {then} : {otherwise}"
        case "segment":
            return f'segment("{tree["segment"]}")'
        case "flag_is":
            return f'flag("{tree["flag"]}") gives {" or ".join(f"`{v}`" for v in tree["variants"]) or "nothing named"}'
        case "compare_operands":
            offset = tree.get("offset", 0)
            plus = (
                f" {'-' if offset < 0 else '+'} duration({_shown(f'{abs(offset) / 1_000_000:g}s')})" if offset else ""
            )
            return f"{operand_text(tree['left'])} {tree['op']} {operand_text(tree['right'])}{plus}"
    name = operand_text(tree["operand"])
    match tree["node"]:
        case "has":
            return f"has({name})"
        case "in":
            values = tree["values"]
            return f"{name} == {_shown(values[0])}" if len(values) == 1 else f"{name} in [{_shown_all(values)}]"
        case "in_ids":
            return f"{name} in ids {tree['ids']}"
        case "in_networks":
            return f"{name} in [{', '.join(tree['networks'][:8])}{', …' if len(tree['networks']) > 8 else ''}]"
        case "contains":
            return " || ".join(f"{_shown(value)} in {name}" for value in tree["values"][:8])
        case "text":
            return f"{name}.{METHODS[tree['test']]}({_shown(tree['pattern'])})"
        case "compare":
            via, value = tree["operand"].get("via", "value"), tree["value"]
            if via in ("timestamp", "now"):
                return f'{name} {tree["op"]} timestamp("{_time_text(value)}")'
            return f"{name} {tree['op']} " + (f"semver({_shown(value)})" if via == "semver" else _shown(value))
        case "quantified":
            return f"{name}.{tree['kind']}({_VARIABLES[depth + 1]}, {text_of(tree['body'], depth + 1)})"
    raise ValueError(f"unknown condition node `{tree['node']}`")


def _inside(tree: Tree, wrapped: Sequence[str], depth: int) -> str:
    text = text_of(tree, depth)
    return f"({text})" if tree["node"] in wrapped else text
