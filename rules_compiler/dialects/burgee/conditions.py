"""The text of a condition -> an expression of the IR, or diagnostics, each with its line and column.

    country in ["DE", "FR"] && !segment("staff")

becomes

    And((In(Operand(("country",)), ("DE", "FR")), Not(SegmentIs("staff"))))

Each operand of `&&`, `||`, `!` and `?:` is lowered on its own, so that one that is refused does not hide the next: it
becomes an unknown constant, in an expression that nobody will use.
"""

from __future__ import annotations

from typing import Final

from rules_compiler import ir, limits
from rules_compiler.diagnostics import Report, quoted, shown
from rules_compiler.dialects.burgee import cel
from rules_compiler.dialects.burgee.atoms import atoms_of, mixed_kinds
from rules_compiler.dialects.burgee.comparisons import compared, contained, flag_is_true
from rules_compiler.dialects.burgee.functions import ONE_ARGUMENT, TEXT_TESTS, text_test
from rules_compiler.dialects.burgee.refusal import Refused
from rules_compiler.dialects.burgee.scope import Scope, Seen, like
from rules_compiler.dialects.burgee.terms import (
    NOW,
    Attribute,
    Constant,
    FlagValue,
    Items,
    Moment,
    Term,
    Truth,
    described,
    moments_added,
)

UNKNOWN: Final = ir.Constant(None)

_QUANTIFIERS: Final = frozenset(("exists", "all"))
_FUNCTIONS: Final = frozenset((*ONE_ARGUMENT, *TEXT_TESTS, *_QUANTIFIERS, "has", "segment", "flag"))
_ELSEWHERE_IN_CEL: Final = {
    "exists_one": "use `exists` or `all`",
    "map": "use `exists` or `all`",
    "filter": "use `exists` or `all`",
    "int": "numbers need no conversion",
    "uint": "numbers need no conversion",
    "double": "numbers need no conversion",
    "string": "compare the attribute as it is",
    "bool": "compare with `true`",
    "bytes": "compare strings",
    "type": "an attribute of another kind makes its comparison unknown",
    "dyn": "leave it out",
    "getFullYear": "compare with `timestamp(…)`",
    "getHours": "compare with `timestamp(…)`",
    "lowerAscii": "write `lower(a)`",
    "toLowerCase": "write `lower(a)`",
}


def lower_condition(text: str, place: str, scope: Scope, seen: Seen, report: Report) -> ir.Expr:
    """Never raises. Where the report has an error of this place, the expression is of no use."""
    lowering = _Lowering(text, place, scope, seen, report)
    try:
        tree = cel.parse(text)
    except Refused as refused:
        lowering.report_refused(refused)
        return UNKNOWN
    expr = lowering.condition(tree)
    number = 0
    for atom in atoms_of(expr):
        number += 1
        for operand in atom.operands:
            if operand.scope == 0 and operand.path:
                seen.attributes.add(operand.path)
    if number > limits.ATOMS:
        hint = "use `in [...]` or move parts into segments"
        report.error("B511", place, f"the condition asks {number} things; at most {limits.ATOMS}", hint=hint)
    for path, kinds in mixed_kinds(expr):
        hint = "where it is of one kind, the comparisons with the others are unknown"
        report.warning("B206", place, f"{path} is compared as {' and as '.join(kinds)}", hint=hint)
    return expr


class _Lowering:
    """One condition. `names` is what the quantifiers around the present place call their elements, outermost first."""

    def __init__(self, text: str, place: str, scope: Scope, seen: Seen, report: Report) -> None:
        self.text = text
        self.place = place
        self.scope = scope
        self.seen = seen
        self.report = report
        self.names: list[str] = []

    def report_refused(self, refused: Refused) -> None:
        line, column = self._position(refused.at)
        self.report.error(refused.code, self.place, refused.message, hint=refused.hint, line=line, column=column)

    def warn(self, code: str, at: int, message: str, hint: str) -> None:
        line, column = self._position(at)
        self.report.warning(code, self.place, message, hint=hint, line=line, column=column)

    def _position(self, at: int) -> tuple[int, int]:
        before = self.text[:at]
        return before.count("\n") + 1, len(before) - before.rfind("\n")

    def condition(self, tree: cel.Tree) -> ir.Expr:
        """Where true, false or unknown is wanted."""
        try:
            match tree:
                case cel.Logic(_, _, operator, items):
                    parts = tuple(self.condition(item) for item in items)
                    return ir.And(parts) if operator == "&&" else ir.Or(parts)
                case cel.Inverse(_, _, item):
                    return ir.Not(self.condition(item))
                case cel.Ternary(_, _, test, then, otherwise):
                    return ir.Choice(self.condition(test), self.condition(then), self.condition(otherwise))
                case _:
                    return self._truth(self.term(tree), tree.at)
        except Refused as refused:
            self.report_refused(refused)
            return UNKNOWN

    def _truth(self, term: Term, at: int) -> ir.Expr:
        match term:
            case Truth(expr):
                return expr
            case Attribute(operand) if operand.via is ir.Via.VALUE:
                return ir.In(operand, (True,))
            case Constant("boolean", bool(value)):
                return ir.Constant(value)
            case FlagValue(_, signature) if signature is None or signature.type == "boolean":
                expr = flag_is_true(term, at)
                self._warn_if_never(expr, at)
                return expr
            case _:
                hint = "compare it with something"
                raise Refused("B214", at, f"{described(term)} is neither true nor false", hint)

    def term(self, tree: cel.Tree) -> Term:
        """Where any value may stand. Raises Refused."""
        match tree:
            case cel.Literal(_, value):
                return _constant(value)
            case cel.Path():
                return self._path(tree)
            case cel.ListOf(_, _, items):
                return self._list(tree.at, items)
            case cel.Call():
                return self._call(tree)
            case cel.Binary():
                return self._binary(tree)
            case _:
                return Truth(self.condition(tree))

    def _path(self, tree: cel.Path) -> Term:
        first, *members = tree.names
        if len(tree.names) > limits.PATH_MEMBERS:
            raise Refused("B517", tree.at, f"a context is at most {limits.PATH_MEMBERS} levels deep")
        for depth in range(len(self.names), 0, -1):
            if self.names[depth - 1] == first:
                return Attribute(ir.Operand(tuple(members), ir.Via.VALUE, depth))
        if first == "now":
            if members:
                raise Refused("B202", tree.at, "`now` is the time of the evaluation and has no members")
            return Moment((NOW,), (), 0, 1)
        return Attribute(ir.Operand(tuple(tree.names)))

    def _list(self, at: int, items: list[cel.Tree]) -> Term:
        if len(items) > limits.LIST_LITERALS:
            raise Refused("B512", at, f"a list has at most {limits.LIST_LITERALS} literals", "use a segment")
        terms: list[Constant | Moment] = []
        for item in items:
            term = self.term(item)
            if not isinstance(term, Constant | Moment):
                hint = "write `a == b || a == c`" if isinstance(term, Attribute) else "a list holds constants"
                raise Refused("B204", item.at, f"a list holds constants, not {described(term)}", hint)
            terms.append(term)
        return Items(tuple(terms))

    def _binary(self, tree: cel.Binary) -> Term:
        left, right = self.term(tree.left), self.term(tree.right)
        if tree.operator in ("+", "-"):
            if isinstance(left, Moment) and isinstance(right, Moment):
                return moments_added(left, right, 1 if tree.operator == "+" else -1, tree.at)
            hint = 'as `now - timestamp(a) < duration("24h")`'
            raise Refused("B218", tree.at, f"`{tree.operator}` is for times and durations only", hint)
        if tree.operator == "in":
            if isinstance(right, Items) and not right.items:
                self.warn("B217", tree.at, "nothing is in an empty list", "list the values, or leave the condition out")
            expr = contained(left, right, tree.at)
        else:
            expr = compared(tree.operator, left, right, tree.at)
        self._warn_if_never(expr, tree.at)
        return Truth(expr)

    def _warn_if_never(self, expr: ir.Expr, at: int) -> None:
        """Atoms that no value can make true, seen best where they are written."""
        match expr:
            case ir.FlagIs(flag, ()):
                self.warn("B307", at, f"no variant of flag `{flag}` has such a value", "look at its `variants`")
            case ir.In(ir.Operand(via=ir.Via.LOWER), values) | ir.Not(ir.In(ir.Operand(via=ir.Via.LOWER), values)):
                wrong = next((each for each in values if isinstance(each, str) and _has_upper(each)), None)
                if wrong is not None:
                    self._warn_upper(wrong, at)
            case _:
                pass

    def _warn_upper(self, text: str, at: int) -> None:
        self.warn("B215", at, f"`lower()` never gives {quoted(text)}", "write the text in lower case")

    def _call(self, call: cel.Call) -> Term:
        function, receiver = call.function, call.receiver
        if receiver is not None:
            if function in _QUANTIFIERS:
                return self._quantified(call, receiver)
            if function in TEXT_TESTS:
                truth = text_test(function, self.term(receiver), self.term(self._argument(call)), call.at)
                match truth.expr:
                    case ir.Text(ir.Operand(via=ir.Via.LOWER), "starts_with" | "ends_with" | "contains", pattern):
                        if _has_upper(pattern):
                            self._warn_upper(pattern, call.at)
                return truth
            if function in ONE_ARGUMENT or function == "has":
                raise Refused("B203", call.at, f"`{function}` is written before its argument", f"write `{function}(a)`")
        elif function in ONE_ARGUMENT:
            return ONE_ARGUMENT[function](self.term(self._argument(call)), call.at)
        elif function == "has":
            return self._has(call)
        elif function == "segment":
            return self._segment(call)
        elif function == "flag":
            return self._flag(call)
        elif function in TEXT_TESTS or function in _QUANTIFIERS:
            raise Refused("B203", call.at, f"`{function}` is asked of an attribute", f"write `a.{function}(…)`")
        if function in _ELSEWHERE_IN_CEL:
            message = f"`{function}()` is not in the part of CEL that conditions have"
            raise Refused("B202", call.at, message, _ELSEWHERE_IN_CEL[function])
        raise Refused("B203", call.at, f"unknown function {shown(function)}", like(function, _FUNCTIONS))

    def _argument(self, call: cel.Call) -> cel.Tree:
        if len(call.arguments) != 1:
            raise Refused("B204", call.at, f"`{call.function}()` takes one argument, got {len(call.arguments)}")
        return call.arguments[0]

    def _name(self, call: cel.Call) -> str:
        argument = self._argument(call)
        if isinstance(argument, cel.Literal) and isinstance(argument.value, str):
            return argument.value
        raise Refused("B204", call.at, f"`{call.function}()` takes a name, quoted", f'write `{call.function}("name")`')

    def _has(self, call: cel.Call) -> Term:
        term = self.term(self._argument(call))
        if isinstance(term, Attribute) and term.operand.via is ir.Via.VALUE:
            return Truth(ir.Has(term.operand))
        raise Refused("B204", call.at, f"`has()` takes an attribute, got {described(term)}")

    def _segment(self, call: cel.Call) -> Term:
        name = self._name(call)
        if not self.seen.segment_exists(name, self.place):
            raise Refused("B302", call.at, f"unknown segment {shown(name)}", like(name, self.scope.segments))
        return Truth(ir.SegmentIs(name))

    def _flag(self, call: cel.Call) -> Term:
        name = self._name(call)
        if not self.seen.flag_exists(name, self.place):
            raise Refused("B303", call.at, f"unknown flag {shown(name)}", like(name, self.scope.flags.keys()))
        return FlagValue(name, self.seen.signature(name))

    def _quantified(self, call: cel.Call, receiver: cel.Tree) -> Term:
        function = call.function
        over = self.term(receiver)
        if not isinstance(over, Attribute) or over.operand.via is not ir.Via.VALUE:
            raise Refused("B204", call.at, f"`{function}()` is asked of a list attribute, not of {described(over)}")
        if len(call.arguments) != 2 or not isinstance(call.arguments[0], cel.Path) or len(call.arguments[0].names) != 1:
            hint = f'write `a.{function}(x, x == "…")`'
            raise Refused("B204", call.at, f"`{function}()` takes a name for the element and a condition", hint)
        (name,) = call.arguments[0].names
        if name == "now":
            raise Refused("B204", call.arguments[0].at, "`now` is the time of the evaluation", "call the element `x`")
        if len(self.names) == limits.QUANTIFIER_NESTING:
            message = f"quantifiers go more than {limits.QUANTIFIER_NESTING} deep"
            raise Refused("B516", call.at, message, "bring the list nearer to the top of the context")
        self.names.append(name)
        try:
            body = self.condition(call.arguments[1])
        finally:
            self.names.pop()
        return Truth(ir.Quantified("exists" if function == "exists" else "all", over.operand, body))


def _constant(value: str | int | float | bool | None) -> Constant:
    if value is None:
        return Constant("null", None)
    if isinstance(value, bool):
        return Constant("boolean", value)
    return Constant("string" if isinstance(value, str) else "number", value)


def _has_upper(text: str) -> bool:
    return any("A" <= character <= "Z" for character in text)
