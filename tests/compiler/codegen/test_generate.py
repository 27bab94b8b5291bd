"""The snapshot as a whole: deterministic, independent of what was kept, loadable, small."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from engine import Snapshot
from rules_compiler import ir
from rules_compiler.codegen import generate, layout
from rules_compiler.diagnostics import CompileError
from tests.compiler.codegen.plans import blob, environment, flag, one_of, operand, plans, split

COUNTRIES = ("BR", "CN", "DE", "DK", "ES", "FI", "FR", "GB", "IN", "IT", "JP", "NO", "PL", "SE", "US")


def typical(count: int) -> ir.Environment:
    """Three rules a flag: a set and an equality, a version, a split."""
    flags = []
    for i in range(count):
        countries = one_of("country", *(c for k, c in enumerate(COUNTRIES) if i >> k % 10 & 1 or k == i % 15))
        version = ir.Compare(operand("app_version", via=ir.Via.SEMVER), ">=", f"2.{i % 30}.0")
        shares = split(f"flag-{i:05}", (20_000, "on"), (100_000, "off"))
        enterprise = ir.And((countries, one_of("plan", "enterprise")))
        flags.append(flag(f"flag-{i:05}", (enterprise, "on"), (version, "on"), (ir.Constant(True), shares)))
    return environment(*flags)


def everything() -> ir.Environment:
    email = ir.Text(operand("email"), "matches", "@a[.]com$")
    cart = ir.Quantified("exists", operand("cart"), ir.In(operand("sku", scope=1), ("x", "y")))
    return environment(
        flag("a", (ir.Or((email, one_of("country", *COUNTRIES))), "on")),
        flag("b", (ir.And((cart, ir.FlagIs("a", ("on",)))), "on"), prerequisites=[("a", "on")]),
        flag("c", (ir.SegmentIs("beta"), "on"), (ir.Compare(operand("age"), ">", 17.5), "on")),
        flag("d", (ir.InNetworks(operand("ip", via=ir.Via.IP), ("10.0.0.0/8", "::1/128")), "on"), enabled=False),
        segments={"beta": ir.InIds(operand("targetingKey"), "beta")},
        ids={"beta": [f"u-{i}" for i in range(100)]},
    )


def test_an_engine_loads_it() -> None:
    snapshot = Snapshot.from_bytes(blob(everything(), version=7, flag_set_id="acme/shop/production"))
    assert (snapshot.environment, snapshot.version, snapshot.flag_set_id) == ("production", 7, "acme/shop/production")
    assert snapshot.evaluate("c", {"targetingKey": "u-7"}).variant == "on"


def test_the_same_bytes_whatever_the_hash_seed() -> None:
    program = (
        "import hashlib\n"
        "from tests.compiler.codegen.test_generate import blob, everything, typical\n"
        "print(hashlib.sha256(blob(everything()) + blob(typical(50))).hexdigest())"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("0", "1", "4711")
    }
    assert len(found) == 1


def test_what_is_kept_changes_no_byte() -> None:
    of = everything()
    planned = plans(of)
    first = generate(of, planned, version=1, flag_set_id="")
    assert generate(of, planned, version=1, flag_set_id="") == first
    generate(typical(20), plans(typical(20)), version=1, flag_set_id="")
    assert blob(everything()) == first  # other objects of the same value, so nothing kept is found


def test_lists_of_ids_are_looked_at_anew() -> None:
    """The same plan, asked about a list that has changed."""
    of = everything()
    planned = plans(of)
    generate(of, planned, version=1, flag_set_id="")
    other = ir.Environment(of.name, of.flags, of.segments, {"beta": ("someone",)})
    snapshot = Snapshot.from_bytes(generate(other, planned, version=1, flag_set_id=""))
    assert snapshot.evaluate("c", {"targetingKey": "someone"}).variant == "on"
    assert snapshot.evaluate("c", {"targetingKey": "u-7"}).variant == "off"


@pytest.mark.parametrize(("count", "bound"), [(100, 64_000), (1000, 640_000)])
def test_size(count: int, bound: int) -> None:
    assert len(blob(typical(count))) <= bound


def test_size_of_an_id_list() -> None:
    asking = flag("f", (ir.InIds(operand("id"), "l"), "on"))
    lists: tuple[list[str], list[str]] = ([], [str(n) for n in range(50_000)])
    few, many = (len(blob(environment(asking, ids={"l": each}))) for each in lists)
    assert (many - few) / 50_000 <= 12


def test_what_would_be_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    of = environment(flag("f", *((one_of("country", each), ("on", None)[i % 2]) for i, each in enumerate(COUNTRIES))))
    monkeypatch.setattr(layout, "CLASSES", 10)
    with pytest.raises(CompileError, match=r"values of `country` that differ, more than 10 .*B530"):
        blob(of)
    monkeypatch.setattr(layout, "BITS", 1)
    with pytest.raises(CompileError, match="alternatives in all rules together"):
        blob(of)


def test_answers_that_repeat_a_large_value_for_each_prerequisite_are_refused() -> None:
    others = [flag(f"other-{i}", (one_of("country", "DE"), "on")) for i in range(300)]
    large = flag("f", variants={"off": f'"{"x" * 60_000}"'}, prerequisites=[(each.key, "on") for each in others])
    with pytest.raises(CompileError, match=r"flags.f: the flag has .* bytes of answers, more than 16,777,216"):
        blob(environment(large, *others))
