"""Blobs made by somebody who knows the format: each would break one promise that evaluation relies on."""

from __future__ import annotations

import json

import pytest

from engine import Snapshot, SnapshotError
from rules_compiler import compile_flags
from tests.compiler.codegen.read_snapshot import Reader
from tests.engine.blobs import changed, edited, numbers, packed

ON = {"type": "boolean", "variants": {"on": True, "off": False}}
RULE = {"rules": [{"when": 'country == "DE"', "serve": "on"}], "fallthrough": "off"}
BLOB = compile_flags({"flags": {"a": ON | RULE}})
CONSTANT = compile_flags({"flags": {"a": ON | {"fallthrough": "on"}}})


def refused(blob: bytes, why: str) -> None:
    with pytest.raises(SnapshotError, match=why):
        Snapshot.from_bytes(blob)


def test_edited_is_the_blob_itself_when_nothing_is() -> None:
    assert edited(BLOB) == BLOB
    assert edited(BLOB, FLAGS=changed(BLOB, "FLAGS", "Flag", 0)) == BLOB


def test_a_flag_reads_each_path_once() -> None:
    """Room for the strings of a context is made for every node once."""
    (flag,) = Reader(BLOB).FLAGS
    blob = edited(
        BLOB,
        FLAG_NODES=numbers("H", [1] * 5000),
        FLAGS=changed(BLOB, "FLAGS", "Flag", 0, first_node=0, node_count=5000),
    )
    assert flag.node_count == 1
    refused(blob, "a path twice")


def test_outcomes_of_a_flag_are_few_enough_for_their_room_in_a_compact_reply() -> None:
    outcome = Reader(CONSTANT).OUTCOMES[0]
    many = 1_000_001
    blob = edited(
        CONSTANT,
        OUTCOMES=packed("Outcome", tuple(outcome)) * many,
        FLAGS=changed(CONSTANT, "FLAGS", "Flag", 0, outcome_count=many),
    )
    refused(blob, "too many outcomes")


def test_fragments_do_not_overlap() -> None:
    """Else a small blob could ask for a reply of any size."""
    outcome = Reader(CONSTANT).OUTCOMES[0]
    blob = edited(
        CONSTANT,
        OUTCOMES=packed("Outcome", tuple(outcome)) * 500,
        FLAGS=changed(CONSTANT, "FLAGS", "Flag", 0, outcome_count=500),
    )
    refused(blob, "fragments overlap")


@pytest.mark.parametrize(
    ("broken", "metadata"),
    [
        (b"t}", b'"version":"0"'),
        (b'"value":f}', b'"version":"0"'),
        (b'"value":}', b'"version":"0"'),
        (b'"value":"}', b'"a":"f"'),
        (b'"value":"}', b'"a":":t"'),
        (b'"value":"}', b'"a":":f"'),
        (b'"value":"}', b'"a":":[f"'),
        (b'"value":[[[[}', b'"version":"0"'),
        (b"1}", b'"version":"0"'),
    ],
)
def test_a_fragment_that_is_no_json_is_not_read_beyond_its_end(broken: bytes, metadata: bytes) -> None:
    try:
        snapshot = Snapshot.from_bytes(_with_fragment(broken, metadata))
    except SnapshotError:
        pytest.fail("the verifier does not read fragments")
    for form in ("full", "compact"):
        body = json.dumps({"contexts": [{}], "format": form}).encode()
        assert broken in snapshot.evaluate_batch(body)
        with pytest.raises(ValueError, match="a fragment is malformed"):
            snapshot.evaluate_batch(body, encoding="msgpack")
    assert snapshot.evaluate("a", {}).error_code == "GENERAL"


@pytest.mark.parametrize(
    "members",
    [
        b'"reason":""}',
        b'"reason":"STATI"}',
        b'"reason":"STATICS"}',
        b'"variant":"a","reason":"STATIC}',
        b'"variant":"a" ,"reason":"DEFAULT"}',
        b'"reason":"STATIC" }',
        b'"reason":"STATIC"}',
        b'"variant":"reason":"STATIC"}',
        b'"variant":,"reason":"STATIC"}',
        b'"variant":"a,"reason":"STATIC"}',
        b'"variant":"\\ud800","reason":"STATIC"}',
        b'"variant":"\xff","reason":"STATIC"}',
        b'"variant":1,"reason":"STATIC"}',
        b"1}",
    ],
)
def test_a_fragment_without_its_reason_or_variant_is_stale_and_counted_all_the_same(members: bytes) -> None:
    """No answer gets longer than its fragment, and a variant that cannot be read is none."""
    snapshot = Snapshot.from_bytes(_with_fragment(members, b'"version":"0"'))
    snapshot.start_counting()
    bulk = b'{"flags":[{"key":"a",%s],"metadata":{"version":"0","ageSeconds":9}}'
    expected = members.replace(b'"reason":"STATIC"', b'"reason":"STALE"')
    assert snapshot.evaluate_json(b'{"context":{}}', stale=9) == bulk % expected
    for form in ("full", "compact"):
        body = json.dumps({"contexts": [{}] * 1000, "format": form}).encode()
        assert expected in snapshot.evaluate_batch(body, stale=9)
    snapshot.evaluate_json(b'{"context":{}}', "a", stale=9)
    assert snapshot.take_counts() == [("a", None, 2_002)]


def test_an_age_without_other_metadata() -> None:
    snapshot = Snapshot.from_bytes(_with_fragment(b'"reason":"STATIC"}', b""))
    assert json.loads(snapshot.evaluate_json(b'{"context":{}}', stale=9))["metadata"] == {"ageSeconds": 9}


def _with_fragment(members: bytes, metadata: bytes) -> bytes:
    """A snapshot of the one flag `a`, whose one answer is `{"key":"a",` and these members."""
    fragment = b'{"key":"a",' + members
    text = fragment + b"," + b"a" + bytes(64)
    outcome = Reader(CONSTANT).OUTCOMES[0]._replace(at=0, length=len(fragment))
    blob = edited(
        CONSTANT,
        TEXT=text,
        NODES=packed("Node", (0, 0, 0xFFFF, 0, 0)),
        OUTCOMES=packed("Outcome", tuple(outcome)),
        FLAGS=changed(CONSTANT, "FLAGS", "Flag", 0, key_at=len(fragment) + 1),
        FLAG_TABLE=b"".join(
            packed("Entry", tuple(e._replace(at=len(fragment) + 1 if e.length else 0)))
            for e in Reader(CONSTANT).FLAG_TABLE
        ),
        metadata=metadata,
    )
    return _without_names(blob)


def _without_names(blob: bytes) -> bytes:
    """Environment and flag set of no length, since TEXT is another."""
    from rules_compiler.codegen.layout import Extent, Header, Section, assemble

    reader = Reader(blob)
    h = reader.header
    header = Header(
        h.version,
        h.node_seed,
        h.flag_seed,
        h.bit_count,
        h.constant_count,
        Extent(0, 0),
        Extent(0, 0),
        Extent(h.metadata_at, h.metadata_length),
    )
    return assemble(header, {Section[name]: content for name, content in reader.sections.items()})


def test_metadata_that_is_nested_without_end() -> None:
    refused(edited(BLOB, metadata=b'"a":' + b"[" * 100_000 + b"]" * 100_000), "malformed")


def test_an_element_path_has_as_many_steps_as_a_context_can() -> None:
    blob = compile_flags(
        {"flags": {"a": ON | {"rules": [{"when": "cart.exists(x, x.sku == 1)", "serve": "on"}], "fallthrough": "off"}}}
    )
    ops = Reader(blob).OPS
    at = next(i for i, op in enumerate(ops) if op.steps)
    literal = Reader(blob).LITERALS[ops[at].node]
    refused(
        edited(
            blob, LITERALS=packed("Text", tuple(literal)) * 1000, OPS=changed(blob, "OPS", "Op", at, node=0, steps=1000)
        ),
        "an operand is broken",
    )
