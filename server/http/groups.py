"""A batch over several environments: one group each, of one snapshot version, and one time for all. docs/batch.md.

    {"groups": [{"environment": "shop/web/production", "contexts": [{…}]}, …], "format": "compact"}

becomes `{"groups": [{"environment": "shop/web/production", …the batch reply…}, …]}`. Here the body is only cut into its
groups. Each is a batch's body as it stands, and so is the rest with no contexts in it: the engine reads both, so they
are read as strictly as any batch, and contexts are parsed once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

import msgspec

from engine import error_code_of
from server.http.failures import Refused
from server.state.catalog import Catalog, Served

MAX_GROUPS = 1000
MAX_EVALUATIONS = 2_000_000  # of all groups; the engine has the same for one batch
MAX_REPLY = 32 << 20  # bytes

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

Encoding = Literal["json", "msgpack"]
ServedNamed = Callable[[str], Served]  # raises Refused


class _Body(msgspec.Struct):
    groups: msgspec.Raw
    contexts: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    flags: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    format: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Group(msgspec.Struct):
    environment: str
    format: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_decode_body = msgspec.json.Decoder(_Body).decode
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_group = msgspec.json.Decoder(_Group).decode


class _RefusedError(Exception):
    """The failure body that is the whole answer."""

    def __init__(self, body: bytes) -> None:
        super().__init__()
        self.body = body


def has_groups(body: bytes) -> bool:
    """Is it a batch over groups, or was it to be one and cannot be read?"""
    if b"groups" not in body and b"\\u" not in body:
        return False
    try:
        _decode_body(body)
    except msgspec.ValidationError:
        return False
    except UNREADABLE:
        return b'"groups"' in body
    return True


def evaluate_groups(
    body: bytes, catalog: Catalog, served_named: ServedNamed, any_served: Served, *, encoding: Encoding, client: bool
) -> tuple[bytes, list[Served]]:
    """The reply, or the failure body, and whose snapshots were asked. Raises what `served_named` does."""
    try:
        asked = _asked(body, any_served)
        served = [_served(served_named, place, group) for place, group in enumerate(asked.groups)]
        return _evaluate(asked, served, catalog, encoding, client), served
    except _RefusedError as refused:
        return refused.body, []


class _Asked(msgspec.Struct, frozen=True):
    groups: list[bytes]
    compact: bool


def _asked(body: bytes, any_served: Served) -> _Asked:
    try:
        read = _decode_body(body)
    except UNREADABLE:
        reply = any_served.snapshot.evaluate_batch(body)
        raise (_RefusedError(reply) if error_code_of(reply) else _invalid("the body cannot be read")) from None
    if read.contexts is not msgspec.UNSET or read.flags is not msgspec.UNSET:
        raise _invalid("beside `groups` there is neither `contexts` nor `flags`: they stand in each group")
    listed = bytes(read.groups)
    at, end = body.index(listed), body.rindex(b"}")
    # INVARIANT: as long as before, so that the places in the engine's messages hold. What is found may be another
    # member with the same bytes, which changes nothing: then that one is blank and this one is read.
    blank = b"[" + b" " * (len(listed) - 2) + b"]" if listed.startswith(b"[") else listed
    shell = body[:at] + blank + body[at + len(listed) : end] + b',"contexts":[]' + body[end:]
    if error_code_of(reply := any_served.snapshot.evaluate_batch(shell)) is not None:
        raise _RefusedError(reply)
    try:
        groups = [bytes(each) for each in _decode_list(listed)]
    except UNREADABLE:
        raise _invalid("`groups` is not a list") from None
    if len(groups) > MAX_GROUPS:
        raise _invalid(f"more than {MAX_GROUPS} groups")
    compact = read.format is not msgspec.UNSET and msgspec.json.decode(read.format) == "compact"
    return _Asked(groups, compact)


def _served(served_named: ServedNamed, place: int, group: bytes) -> Served:
    try:
        return served_named(_environment_of(place, group))
    except Refused as refused:
        raise refused.within(f"groups[{place}]") from None


def _environment_of(place: int, group: bytes) -> str:
    try:
        read = _decode_group(group)
    except UNREADABLE:
        raise _invalid(f"groups[{place}]: it is not an object with an `environment`") from None
    if read.format is not msgspec.UNSET:
        raise _invalid(f"groups[{place}]: `format` stands beside `groups`, for all of them")
    return read.environment


def _evaluate(asked: _Asked, served: list[Served], catalog: Catalog, encoding: Encoding, client: bool) -> bytes:
    now = time.time_ns() // 1_000_000
    parts: list[bytes] = []
    evaluations = size = 0
    for place, (group, each) in enumerate(zip(asked.groups, served, strict=True)):
        before = each.snapshot.evaluated
        reply = each.snapshot.evaluate_batch(
            group[:-1] + b',"format":"compact"}' if asked.compact else group,
            encoding=encoding,
            client=client,
            now=now,
            stale=catalog.stale(each),
        )
        if error_code_of(reply) is not None:
            raise _RefusedError(_with_place(reply, place))
        evaluations += each.snapshot.evaluated - before
        size += len(reply)
        if evaluations > MAX_EVALUATIONS:
            raise _invalid(f"more than {MAX_EVALUATIONS} evaluations")
        if size > MAX_REPLY:
            raise _invalid(f"the reply would have more than {MAX_REPLY} bytes")
        parts.append(_named(reply, str(each.id), encoding))
    if encoding == "json":
        return b'{"groups":[' + b",".join(parts) + b"]}"
    head = b"\x81\xa6groups\xdc" + len(parts).to_bytes(2, "big")
    return head + b"".join(parts)


def _named(reply: bytes, environment: str, encoding: Encoding) -> bytes:
    """A batch reply with the environment as its first member."""
    if encoding == "json":
        return f'{{"environment":"{environment}",'.encode() + reply[1:]
    members = reply[0] + 1  # a map of fewer than 15 is one byte: 0x80 and their number
    return bytes([members]) + msgspec.msgpack.encode("environment") + msgspec.msgpack.encode(environment) + reply[1:]


def _with_place(reply: bytes, place: int) -> bytes:
    failed = msgspec.json.decode(reply)
    return _failure(failed["errorCode"], f"groups[{place}]: {failed['errorDetails']}")


def _invalid(details: str) -> _RefusedError:
    return _RefusedError(_failure("INVALID_CONTEXT", details))


def _failure(code: str, details: str) -> bytes:
    return msgspec.json.encode({"errorCode": code, "errorDetails": details})
