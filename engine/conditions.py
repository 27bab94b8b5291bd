"""A condition, looked at node by node: the truth of each, the values its operands saw, and why, in words.

    country in ["DE", "FR"] && age >= 18        with {"country": "IT"}

becomes

    Condition('country in ["DE", "FR"] && age >= 18', "false", '`country` is "IT", not one of …', "and", items=(
        Condition('country in ["DE", "FR"]', "false", …, "in", seen=(Seen("country", "string", "IT"),)),
        Condition("age >= 18", "unknown", "`age` is missing", "compare", seen=(Seen("age", "missing", None),))))

The tree comes from a snapshot's source map: rules_compiler/ir.py as JSON, with segments written in where they are used.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import msgspec
import re2

from engine.readings import id_text, kind_of, network_holds, read, read_version, value_at
from engine.wording import (
    VARIABLES,
    Tree,
    all_shown,
    as_json,
    operand_text,
    path_text,
    shown,
    text_of,
    time_text,
    too_long_inside,
    unfit,
)

Truth = Literal["true", "false", "unknown"]
TRUTHS: dict[bool | None, Truth] = {True: "true", False: "false", None: "unknown"}
BOOLEANS: dict[Truth, bool | None] = {"true": True, "false": False, "unknown": None}
OPPOSITE: dict[Truth, Truth] = {"true": "false", "false": "true", "unknown": "unknown"}
ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
}
NEEDED = {
    "value": "a string, a number or a boolean",
    "lower": "a string",
    "size": "a string, a list or an object",
    "semver": "a version",
    "timestamp": "a time",
    "ip": "an address",
}
ELEMENTS_SHOWN = 16
MAX_INNER_ELEMENTS = 64  # of a list that is looked into for each element of another; with a longer one it is unknown


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

    def look_at(self, condition: Tree) -> Condition:
        """A whole condition."""
        self.texts: dict[int, str] = {}  # of nodes, by identity: a quantifier looks at its body again and again
        return self.look(condition, ())

    def look(self, tree: Tree, scopes: Sequence[Any]) -> Condition:
        """`scopes`: the elements that the quantifiers around are looking at, outermost first."""
        truth, why, seen, items = self.looked(tree, scopes)
        text = self.texts.get(id(tree))
        if text is None:
            text = self.texts[id(tree)] = text_of(tree, len(scopes))
        return Condition(text, TRUTHS[truth], why, tree["node"], seen, items)

    def looked(self, tree: Tree, scopes: Sequence[Any]) -> Looked:
        match tree["node"]:
            case "constant":
                return tree.get("value"), "it is always so", (), ()
            case "and" | "or":
                return self.junction(tree, scopes)
            case "not":
                item = self.look(tree["item"], scopes)
                return BOOLEANS[OPPOSITE[item.truth]], item.why, (), (item,)
            case "segment":
                item = self.look(tree["item"], scopes)
                return BOOLEANS[item.truth], item.why, (), (item,)
            case "choice":
                return self.choice(tree, scopes)
            case "quantified":
                return self.quantified(tree, scopes)
            case "compare_operands":
                return self.compare_operands(tree, scopes)
            case "flag_is":
                gave = self.variant_of(tree["flag"])
                why = f"flag `{tree['flag']}` gives " + ("no variant" if gave is None else f"`{gave}`")
                return None if gave is None else gave in tree["variants"], why, (), ()
        value, seen = self.saw(tree["operand"], scopes)
        long = tree["node"] == "contains" and kind_of(value) == "list" and len(value) > MAX_INNER_ELEMENTS
        if long and _mentions(tree, len(scopes)):
            return None, too_long_inside(path_text(tree["operand"]), value), (seen,), ()
        return *self.atom(tree, value), (seen,), ()

    def junction(self, tree: Tree, scopes: Sequence[Any]) -> Looked:
        items = tuple([self.look(item, scopes) for item in tree["items"]])
        decisive: Truth = "false" if tree["node"] == "and" else "true"
        found = next((truth for truth in (decisive, "unknown") if any(item.truth == truth for item in items)), None)
        if found is None:
            return BOOLEANS[OPPOSITE[decisive]], "; ".join(item.why for item in items), (), items
        return BOOLEANS[found], next(item.why for item in items if item.truth == found), (), items

    def choice(self, tree: Tree, scopes: Sequence[Any]) -> Looked:
        items = tuple([self.look(tree[part], scopes) for part in ("test", "then", "otherwise")])
        test, then, otherwise = items
        if test.truth == "unknown":
            return None, test.why, (), items
        taken = then if test.truth == "true" else otherwise
        return BOOLEANS[taken.truth], f"{test.why}; {taken.why}", (), items

    def quantified(self, tree: Tree, scopes: Sequence[Any]) -> Looked:
        name = path_text(tree["operand"])
        elements, seen = self.saw(tree["operand"], scopes)
        if seen.kind != "list":
            return None, unfit(tree["operand"], elements, "a list"), (seen,), ()
        if len(elements) > MAX_INNER_ELEMENTS and _mentions(tree, len(scopes)):
            return None, too_long_inside(name, elements), (seen,), ()
        decisive: Truth = "true" if tree["kind"] == "exists" else "false"
        unknown: Condition | None = None
        items: list[Condition] = []
        for index, element in enumerate(elements):
            body = self.look(tree["body"], (*scopes, element))
            text = f"{VARIABLES[len(scopes) + 1]} = {name}[{index}]"
            item = Condition(text, body.truth, f"{text}: {body.why}", "element", items=(body,))
            if body.truth == decisive:  # later elements change nothing
                return BOOLEANS[decisive], item.why, (seen,), (*items, item)
            if body.truth == "unknown" and unknown is None:
                unknown = item
            if len(items) < ELEMENTS_SHOWN or unknown is item:
                items.append(item)
        if unknown is not None:
            return None, unknown.why, (seen,), tuple(items)
        why = f"`{name}` has {len(elements)} elements, {'none' if decisive == 'true' else 'all'} of them so"
        return BOOLEANS[OPPOSITE[decisive]], why, (seen,), tuple(items)

    def compare_operands(self, tree: Tree, scopes: Sequence[Any]) -> Looked:
        left, right = tree["left"], tree["right"]
        (one, one_seen), (other, other_seen) = self.saw(left, scopes), self.saw(right, scopes)
        seen = (one_seen, other_seen)
        readings = []
        for operand, value in ((left, one), (right, other)):
            via = operand.get("via", "value")
            reading = value if via == "now" else read(via, value)
            if reading is None:
                return None, unfit(operand, value, NEEDED[via]), seen, ()
            readings.append(reading)
        why = f"`{path_text(left)}` is {shown(one_seen.value)} and `{path_text(right)}` is {shown(other_seen.value)}"
        a, b = readings
        if _order_of(a) != _order_of(b) or (isinstance(a, bool) and tree["op"] != "=="):
            return None, f"{why}: not to be compared", seen, ()
        offset = tree.get("offset", 0)
        return ORDERS[tree["op"]](a, b + offset if offset else b), why, seen, ()

    def atom(self, tree: Tree, value: Any) -> tuple[bool | None, str]:
        """The truth of a question about one value, and why."""
        node, operand = tree["node"], tree["operand"]
        via, name = operand.get("via", "value"), path_text(operand)
        if node == "has":
            return value is not None, f"`{name}` is {'missing' if value is None else 'there'}"
        if node == "in_ids":
            text = id_text(value)
            if text is None:
                return None, unfit(operand, value, "an id")
            listed = self.in_ids(tree["ids"], operand["path"], text)
            return listed, f"`{name}` is {shown(value)}, {'' if listed else 'not '}listed in `{tree['ids']}`"
        if node == "contains":
            if kind_of(value) != "list":
                return None, unfit(operand, value, "a list")
            kind = kind_of(tree["values"][0])
            return any(kind_of(e) == kind and e in tree["values"] for e in value), f"`{name}` is {shown(value)}"

        reading = value if via == "now" else read(via, value)
        if node == "in_networks":
            reading = read("ip", value)
            truth = None if reading is None else any(network_holds(network, reading) for network in tree["networks"])
            needed = "an address"
        elif node == "in":
            kind = kind_of(tree["values"][0])
            truth = reading in tree["values"] if reading is not None and kind_of(reading) == kind else None
            needed = f"a {kind}"
        elif node == "text":
            truth = _text_test(tree["test"], reading, tree["pattern"]) if isinstance(reading, str) else None
            needed = "a string"
        elif node == "compare":
            constant = read_version(tree["value"]) if via == "semver" else tree["value"]
            fits = reading is not None and _order_of(reading) == _order_of(constant)
            truth = ORDERS[tree["op"]](reading, constant) if fits else None
            needed = NEEDED[via] if via in NEEDED and via != "value" else f"a {_order_of(constant)}"
        else:
            raise ValueError(f"unknown condition node `{node}`")
        if truth is None:
            return None, unfit(operand, value, needed)
        if via == "now":
            return truth, f"`now` is {time_text(self.now)}"
        why = (
            f"`{operand_text(operand)}` is {shown(reading)}"
            if via in ("lower", "size")
            else f"`{name}` is {shown(value)}"
        )
        if node == "in" and not truth:
            why += f", not {'one of ' if len(tree['values']) > 1 else ''}{all_shown(tree['values'])}"
        return truth, why

    def saw(self, operand: Tree, scopes: Sequence[Any]) -> tuple[Any, Seen]:
        if operand.get("via") == "now":
            return self.now, Seen("now", "time", time_text(self.now))
        value = value_at((self.context, *scopes)[operand.get("scope", 0)], operand["path"])
        return value, Seen(operand_text(operand), kind_of(value), as_json(value))


Looked = tuple[bool | None, str, tuple[Seen, ...], tuple[Condition, ...]]  # truth, why, seen, items


def _order_of(reading: Any) -> str:
    """What a reading can be compared with."""
    if isinstance(reading, bool):
        return "boolean"
    return "string" if isinstance(reading, str) else "version" if isinstance(reading, tuple) else "number"


def _text_test(test: str, text: str, pattern: str) -> bool:
    match test:
        case "starts_with":
            return text.startswith(pattern)
        case "ends_with":
            return text.endswith(pattern)
        case "contains":
            return pattern in text
    return re2.search(pattern, text) is not None


def _mentions(tree: Any, depth: int) -> bool:
    """Whether an operand below looks at the element of one of the `depth` quantifiers around."""
    if isinstance(tree, dict):
        return 1 <= tree.get("scope", 0) <= depth or any(_mentions(each, depth) for each in tree.values())
    return isinstance(tree, list | tuple) and any(_mentions(each, depth) for each in tree)
