"""The functions of conditions whose result follows from their arguments alone: terms in, a term out.

    semver(Attribute(app.version))                    -> Attribute(app.version, via SEMVER)
    semver(Constant("2.3"))                           -> Constant("version", "2.3.0")
    Attribute(email).endsWith(Constant("@x.org"))     -> Truth(Text(email, "ends_with", "@x.org"))

`has`, `segment`, `flag`, `exists` and `all` look at more than values: they are in conditions.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

import re2

from rules_compiler import ir, limits
from rules_compiler.diagnostics import quoted
from rules_compiler.dialects.burgee import constants
from rules_compiler.dialects.burgee.refusal import Refused
from rules_compiler.dialects.burgee.terms import Attribute, Constant, Kind, Moment, Term, Truth, described

_TEXT_TESTS: Final[dict[str, ir.TextTest]] = {
    "startsWith": "starts_with",
    "endsWith": "ends_with",
    "contains": "contains",
    "matches": "matches",
}


OneArgument = Callable[[Term, int], Term]


def _reading(function: str, via: ir.Via, kind: Kind, read: Callable[[str], str], code: str) -> OneArgument:
    """`semver()` and `ip()`: of an attribute a way to read it, of a string a constant."""

    def apply(argument: Term, at: int) -> Term:
        if isinstance(argument, Constant) and isinstance(argument.value, str) and argument.kind == "string":
            return Constant(kind, _read(read, argument.value, code, at))
        return Attribute(_attribute(function, argument, via, at))

    return apply


T = TypeVar("T")


def _read(read: Callable[[str], T], text: str, code: str, at: int) -> T:
    try:
        return read(text)
    except ValueError as error:
        message, hint = error.args
        raise Refused(code, at, f"{message}, got {quoted(text)}", hint) from None


def _attribute(function: str, argument: Term, via: ir.Via, at: int) -> ir.Operand:
    if isinstance(argument, Attribute) and argument.operand.via is ir.Via.VALUE:
        return ir.Operand(argument.operand.path, via, argument.operand.scope)
    raise Refused("B204", at, f"`{function}()` takes an attribute or a string, got {described(argument)}")


def _string(function: str, argument: Term, at: int) -> str:
    if isinstance(argument, Constant) and argument.kind == "string" and isinstance(argument.value, str):
        return argument.value
    raise Refused("B204", at, f"`{function}()` takes a string, written out, got {described(argument)}")


def _cidr(argument: Term, at: int) -> Term:
    return Constant("network", _read(constants.network, _string("cidr", argument, at), "B213", at))


def _timestamp(argument: Term, at: int) -> Term:
    if isinstance(argument, Constant):
        text = _string("timestamp", argument, at)
        return Moment((), (), _read(constants.timestamp_microseconds, text, "B211", at), 1)
    return Moment((_attribute("timestamp", argument, ir.Via.TIMESTAMP, at),), (), 0, 1)


def _duration(argument: Term, at: int) -> Term:
    return Moment((), (), _read(constants.duration_microseconds, _string("duration", argument, at), "B212", at), 0)


def _lower(argument: Term, at: int) -> Term:
    if isinstance(argument, Constant):
        text = _string("lower", argument, at)
        return Constant("string", "".join(c.lower() if c.isascii() else c for c in text))
    return Attribute(_attribute("lower", argument, ir.Via.LOWER, at))


def _size(argument: Term, at: int) -> Term:
    if isinstance(argument, Constant):
        return Constant("number", len(_string("size", argument, at)))
    return Attribute(_attribute("size", argument, ir.Via.SIZE, at))


ONE_ARGUMENT: Final[dict[str, OneArgument]] = {
    "semver": _reading("semver", ir.Via.SEMVER, "version", constants.version_text, "B210"),
    "ip": _reading("ip", ir.Via.IP, "address", constants.address_network, "B213"),
    "cidr": _cidr,
    "timestamp": _timestamp,
    "duration": _duration,
    "lower": _lower,
    "size": _size,
}


def text_test(function: str, receiver: Term, argument: Term, at: int) -> Truth:
    """`a.startsWith("x")` and its like. Raises Refused."""
    if not isinstance(receiver, Attribute) or receiver.operand.via not in (ir.Via.VALUE, ir.Via.LOWER):
        raise Refused("B204", at, f"`{function}()` is asked of an attribute, not of {described(receiver)}")
    pattern = _string(function, argument, at)
    if function == "matches":
        _check_regex(pattern, at)
    return Truth(ir.Text(receiver.operand, _TEXT_TESTS[function], pattern))


TEXT_TESTS: Final = frozenset(_TEXT_TESTS)


def _check_regex(pattern: str, at: int) -> None:
    if len(pattern.encode("utf-8")) > limits.REGEX_BYTES:
        raise Refused("B513", at, f"a regex has at most {limits.REGEX_BYTES} bytes", "ask `in [...]` for long lists")
    options = re2.Options()
    options.log_errors = False
    options.max_mem = limits.REGEX_MEMORY
    try:
        re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0].decode("utf-8", "replace") if isinstance(error.args[0], bytes) else str(error)
        hint = 'RE2 has no lookaround and no backreferences; write r"…" so that `\\` stands for itself'
        raise Refused("B209", at, f"RE2 refuses the regex: {reason}", hint) from None
