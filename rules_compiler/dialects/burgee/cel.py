"""The text of a condition -> its syntax tree.

    country in ["DE"] && !beta

becomes

    Logic("&&", [Binary("in", Path(["country"]), ListOf([Literal("DE")])), Inverse(Path(["beta"]))])

(less the offset and the height of each node). The grammar is cel-python's `cel.lark`, run by lark. Two things are ours:
the lexer, because cel-python's pattern for strings takes exponential time on one that is never closed (18 escapes:
0.06 s, and twice that for each more); and the tree, built while parsing in a third of the time of lark's own, without
nodes for levels of precedence, and with chains of one operator flat, so that no text makes it deep.
"""

from __future__ import annotations

import functools
import importlib.util
import re
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from typing import Any, Final, cast

import msgspec
from lark import Lark, Token, Transformer, UnexpectedInput
from lark.common import LexerConf
from lark.lexer import Lexer

from rules_compiler import limits
from rules_compiler.diagnostics import shown
from rules_compiler.dialects.burgee.literals import float_value, integer_value, string_value
from rules_compiler.dialects.burgee.refusal import Refused


class Syntax(msgspec.Struct, frozen=True):
    at: int  # offset in the text, of the first thing in the node


class Literal(Syntax, frozen=True):
    value: str | int | float | bool | None


class Path(Syntax, frozen=True):
    """`a.b.c`: an attribute, or a name that a quantifier gave and its members."""

    names: list[str]  # filled while parsing, then left alone; so are the lists below


class Compound(Syntax, frozen=True):
    """A node with others inside it. `height` is how deep those go, which is capped: one may recurse."""

    height: int


class Call(Compound, frozen=True):
    function: str
    receiver: Tree | None
    arguments: list[Tree]


class ListOf(Compound, frozen=True):
    items: list[Tree]


class Inverse(Compound, frozen=True):
    """`!item`; two in a row are none."""

    item: Tree


class Binary(Compound, frozen=True):
    """A comparison, `in`, or `+` and `-`."""

    operator: str
    left: Tree
    right: Tree


class Logic(Compound, frozen=True):
    """A chain of `&&` or of `||`."""

    operator: str
    items: list[Tree]


class Ternary(Compound, frozen=True):
    test: Tree
    then: Tree
    otherwise: Tree


Tree = Literal | Path | Call | ListOf | Inverse | Binary | Logic | Ternary

_PARSED_CONDITIONS: Final = 20_000  # texts whose trees are kept; a tree is a few kB


@functools.lru_cache(maxsize=_PARSED_CONDITIONS)
def parse(text: str) -> Tree:
    """The tree of a condition. Raises Refused."""
    if len(text.encode("utf-8")) > limits.CONDITION_BYTES:
        raise Refused("B509", 0, f"a condition has at most {limits.CONDITION_BYTES} bytes", "move parts into segments")
    if not text.strip():
        raise Refused("B201", 0, "the condition is empty", "write `true` for a rule that always matches")
    try:
        return cast(Tree, _parser().parse(text))
    except UnexpectedInput as error:
        token = getattr(error, "token", None)
        if token is None or token.type == "$END":
            raise Refused("B201", len(text.rstrip()), "the condition ends too early") from None
        raise Refused("B201", token.start_pos, f"unexpected {shown(str(token))}", _WORDS.get(str(token), "")) from None


_WORDS: Final = {
    "and": "write `&&`",
    "or": "write `||`",
    "not": "write `!`",
    "AND": "write `&&`",
    "OR": "write `||`",
    "NOT": "write `!`",
    "is": "write `==`",
    "IN": "write `in`",
}

_RESERVED: Final = frozenset(
    "as break const continue else for function if import let loop package namespace return var void while".split()
)

_TOKEN: Final = re.compile(
    r"""[\t\n\f\r ]+ | //[^\n]*
    | (?P<STRING> [rRbB]{0,2} (?: \"""|'''|"|' ) )
    | (?P<UINT> (?: 0x[0-9a-fA-F]+ | [0-9]+ ) [uU] \b )
    | (?P<FLOAT_LIT> [0-9]*\.[0-9]+ (?:[eE][+-]?[0-9]+)? | [0-9]+[eE][+-]?[0-9]+ )
    | (?P<INT_LIT> 0x[0-9a-fA-F]+ | [0-9]+ )
    | (?P<IDENT> [_a-zA-Z][_a-zA-Z0-9]* )
    | (?P<OPERATOR> && | \|\| | [<>=!]= | [-+*/%<>!?:.,()\[\]{}] )""",
    re.VERBOSE,
)

_STRAY: Final = {
    "=": "compare with `==`",
    "&": "write `&&`",
    "|": "write `||`",
    "“": 'quote with `"`',
    "”": 'quote with `"`',
    "‘": "quote with `'`",
    "’": "quote with `'`",
    "`": 'quote with `"`',
    ";": "a condition is one expression",
}


class _Lexer(Lexer):
    """Tokens of CEL, in time linear in the text."""

    def __init__(self, conf: LexerConf) -> None:
        self.names = {each.pattern.value: each.name for each in conf.terminals if each.pattern.type == "str"}

    def lex(self, text: str) -> Iterator[Token]:  # type: ignore[override]  # lark's interface for a lexer of one's own
        at = nesting = 0
        while at < len(text):
            found = _TOKEN.match(text, at)
            if found is None:
                stray = text[at]
                raise Refused("B201", at, f"unexpected {shown(stray)}", _STRAY.get(stray, ""))
            kind, word, end = found.lastgroup, found[0], found.end()
            if kind == "OPERATOR":
                if word in "([{":
                    nesting += 1
                    if nesting > limits.CONDITION_NESTING:
                        raise Refused(
                            "B510",
                            at,
                            f"parentheses go more than {limits.CONDITION_NESTING} deep",
                            "move parts into segments",
                        )
                elif word in ")]}":
                    nesting -= 1
                yield Token(self.names[word], word, at)
            elif kind == "IDENT":
                if word in self.names:  # `in`
                    yield Token(self.names[word], word, at)
                elif word in ("true", "false"):
                    yield Token("BOOL_LIT", word, at)
                else:
                    yield Token("NULL_LIT" if word == "null" else "IDENT", word, at)
            elif kind == "STRING":
                end = _end_of_string(text, found)
                yield Token("STRING_LIT", text[at:end], at)
            elif kind == "UINT":
                raise Refused("B202", at, f"unsigned numbers such as {shown(word)} are not read", "leave the `u` out")
            elif kind is not None:
                if re.match(r"[_a-zA-Z0-9.]", text[end : end + 1]):
                    raise Refused("B201", at, f"not a number: {shown(text[at : end + 1])}", "quote it if it is text")
                yield Token(kind, word, at)
            at = end


def _end_of_string(text: str, found: re.Match[str]) -> int:
    """The offset after the closing quote of the string that `found` opens."""
    opening = found[0]
    prefix = opening.rstrip("\"'").lower()
    if "b" in prefix or len(prefix) > 1:
        raise Refused("B202", found.start(), "byte strings are not read", "write a string, without the prefix")
    quote = opening[len(prefix) :]
    at = found.end()
    while True:
        if text.startswith(quote, at):
            return at + len(quote)
        if at >= len(text) or (len(quote) == 1 and text[at] in "\r\n"):
            raise Refused("B201", found.start(), "the string is never closed", f"end it with {shown(quote)}")
        at += 2 if text[at] == "\\" and not prefix else 1


def _height(at: int, *inside: Tree) -> int:
    height = 1 + max((each.height if isinstance(each, Compound) else 0 for each in inside), default=0)
    if height > limits.CONDITION_HEIGHT:
        raise Refused("B510", at, "the condition is nested too deeply", "use several rules, or segments")
    return height


_INSTEAD_OF_INDEX: Final = "members are `a.b`; look into lists with `a.exists(x, …)`"


class _Builder(Transformer[Token, Tree]):
    """Called by lark as each grammar rule is complete; `children` are the results of those inside it."""

    def _only(self, children: list[Any]) -> Any:
        return children[0]

    member = primary = paren_expr = _only

    def _list(self, children: list[Any]) -> list[Any]:
        return children

    exprlist = _list

    def literal(self, children: list[Token]) -> Tree:
        (token,) = children
        at = token.start_pos or 0
        text = str(token)
        if token.type == "STRING_LIT":
            return Literal(at, string_value(text, at))
        if token.type == "INT_LIT":
            return Literal(at, integer_value(text, at))
        if token.type == "FLOAT_LIT":
            return Literal(at, float_value(text, at))
        return Literal(at, {"true": True, "false": False}.get(text))

    def ident(self, children: list[Token]) -> Tree:
        (name,) = children
        at = name.start_pos or 0
        if name in _RESERVED:
            raise Refused("B201", at, f"{shown(str(name))} is a reserved word of CEL", "name the attribute otherwise")
        return Path(at, [str(name)])

    def member_dot(self, children: list[Any]) -> Tree:
        item, name = children
        if not isinstance(item, Path):
            raise Refused("B202", name.start_pos, f"only an attribute has members such as {shown(str(name))}")
        item.names.append(str(name))
        return item

    def ident_arg(self, children: list[Any]) -> Tree:
        name, *rest = children
        arguments: list[Tree] = rest[0] if rest else []
        return Call(name.start_pos, _height(name.start_pos, *arguments), str(name), None, arguments)

    def member_dot_arg(self, children: list[Any]) -> Tree:
        receiver, name, *rest = children
        arguments: list[Tree] = rest[0] if rest else []
        return Call(receiver.at, _height(receiver.at, receiver, *arguments), str(name), receiver, arguments)

    def list_lit(self, children: list[Any]) -> Tree:
        items: list[Tree] = children[0] if children else []
        at = items[0].at if items else 0
        return ListOf(at, _height(at, *items), items)

    def member_index(self, children: list[Any]) -> Tree:
        raise Refused("B202", children[0].at, "`[…]` after an attribute is not part of conditions", _INSTEAD_OF_INDEX)

    def member_object(self, children: list[Any]) -> Tree:
        raise Refused("B202", children[0].at, "objects are not part of conditions")

    def map_lit(self, children: list[Any]) -> Tree:
        raise Refused("B202", 0, "maps, `{…}`, are not part of conditions", 'compare with a list: `a in ["x", "y"]`')

    def _leading_dot(self, children: list[Any]) -> Tree:
        raise Refused("B202", children[0].start_pos, "a leading `.` is not part of conditions", "leave the dot out")

    dot_ident = dot_ident_arg = _leading_dot
    fieldinits = mapinits = _list

    def expr(self, children: list[Any]) -> Tree:
        if len(children) == 1:
            return children[0]  # type: ignore[no-any-return]
        test, then, otherwise = children
        return Ternary(test.at, _height(test.at, test, then, otherwise), test, then, otherwise)

    def _chain(self, operator: str, children: list[Any]) -> Tree:
        if len(children) == 1:
            return children[0]  # type: ignore[no-any-return]
        left, right = children
        if isinstance(left, Logic) and left.operator == operator:
            left.items.append(right)
            return Logic(left.at, max(left.height, _height(right.at, right)), operator, left.items)
        return Logic(left.at, _height(left.at, left, right), operator, [left, right])

    def conditionalor(self, children: list[Any]) -> Tree:
        return self._chain("||", children)

    def conditionaland(self, children: list[Any]) -> Tree:
        return self._chain("&&", children)

    def _binary(self, children: list[Any]) -> Tree:
        if len(children) == 1:
            return children[0]  # type: ignore[no-any-return]
        (operator, left), right = children
        return Binary(left.at, _height(left.at, left, right), operator, left, right)

    relation = addition = multiplication = _binary

    def relation_lt(self, children: list[Any]) -> tuple[str, Tree]:
        return ("<", children[0])

    def relation_le(self, children: list[Any]) -> tuple[str, Tree]:
        return ("<=", children[0])

    def relation_gt(self, children: list[Any]) -> tuple[str, Tree]:
        return (">", children[0])

    def relation_ge(self, children: list[Any]) -> tuple[str, Tree]:
        return (">=", children[0])

    def relation_eq(self, children: list[Any]) -> tuple[str, Tree]:
        return ("==", children[0])

    def relation_ne(self, children: list[Any]) -> tuple[str, Tree]:
        return ("!=", children[0])

    def relation_in(self, children: list[Any]) -> tuple[str, Tree]:
        return ("in", children[0])

    def addition_add(self, children: list[Any]) -> tuple[str, Tree]:
        return ("+", children[0])

    def addition_sub(self, children: list[Any]) -> tuple[str, Tree]:
        return ("-", children[0])

    def _arithmetic(self, children: list[Any]) -> tuple[str, Tree]:
        raise Refused(
            "B202", children[0].at, "`*`, `/` and `%` are not part of conditions", "compute it before, as an attribute"
        )

    multiplication_mul = multiplication_div = multiplication_mod = _arithmetic

    def unary_not(self, children: list[Any]) -> str:
        return "!"

    def unary_neg(self, children: list[Any]) -> str:
        return "-"

    def unary(self, children: list[Any]) -> Tree:
        if len(children) == 1:
            return children[0]  # type: ignore[no-any-return]
        operator, item = children
        if operator == "!":
            if isinstance(item, Inverse):
                return item.item
            return Inverse(item.at, _height(item.at, item), item)
        if isinstance(item, Literal) and isinstance(item.value, int | float) and not isinstance(item.value, bool):
            return Literal(item.at, -item.value or 0)
        raise Refused("B202", item.at, "`-` stands before numbers only", "compute it before, as an attribute")


@functools.cache
def _parser() -> Lark:
    """Built on first use: 0.1 s for the tables. cel-python's package is found, not imported: that loads far more."""
    package = importlib.util.find_spec("celpy")
    if package is None or package.origin is None or not isinstance(package.loader, SourceFileLoader):
        raise ImportError("cel-python is not installed")
    grammar = package.loader.get_data(package.origin.replace("__init__.py", "cel.lark")).decode("utf-8")
    return Lark(grammar, parser="lalr", start="expr", lexer=_Lexer, transformer=_Builder(), maybe_placeholders=False)
