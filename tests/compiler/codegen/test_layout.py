"""layout.py and engine/core/format.h describe the same bytes."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from rules_compiler import limits as documents
from rules_compiler.codegen import layout
from tests.compiler.codegen import read_snapshot
from tests.compiler.codegen.plans import blob, environment, flag, one_of

RECORDS = {
    "Header": layout.HEADER,
    "Node": layout.NODE,
    "Entry": layout.ENTRY,
    "Point": layout.POINT,
    "Slot": layout.SLOT,
    "IdTable": layout.ID_TABLE,
    "ClassRow": layout.CLASS_ROW,
    "Patch": layout.PATCH,
    "Predicate": layout.PREDICATE,
    "Op": layout.OP,
    "Text": layout.TEXT,
    "Test": layout.TEST,
    "TreeNode": layout.TREE_NODE,
    "Flag": layout.FLAG,
    "Gated": layout.GATED,
    "Prerequisite": layout.PREREQUISITE,
    "Outcome": layout.OUTCOME,
    "Split": layout.SPLIT,
    "Range": layout.RANGE,
    "SourceChunk": layout.SOURCE_CHUNK,
}


@pytest.mark.parametrize("name", RECORDS)
def test_sizes_are_those_of_the_structs(name: str) -> None:
    assert RECORDS[name].size == read_snapshot.records()[name].struct.size


def test_sizes_are_those_of_a_c_compiler(tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler here")
    prints = "".join(f'printf("{name} %zu\\n", sizeof({name}));' for name in RECORDS)
    program = f'#include <stdio.h>\n#include "{read_snapshot.HEADER}"\nint main(void) {{ {prints} return 0; }}\n'
    (tmp_path / "sizes.c").write_text(program)
    subprocess.run([compiler, "-o", tmp_path / "sizes", tmp_path / "sizes.c"], check=True)
    output = subprocess.run([tmp_path / "sizes"], check=True, capture_output=True, text=True).stdout
    sizes = {name: int(size) for name, size in re.findall(r"(\w+) (\d+)", output)}
    assert sizes == {name: record.size for name, record in RECORDS.items()}


def test_sections_are_those_of_the_header() -> None:
    assert tuple(section.name for section in layout.Section) == read_snapshot.sections()


@pytest.mark.parametrize(
    ("enum", "prefix", "ours"),
    [
        ("Via", "VIA_", layout.Via),
        ("OpKind", "OP_", layout.OpKind),
        ("TestKind", "TEST_", layout.TestKind),
        ("Reason", "REASON_", layout.Reason),
    ],
)
def test_enumerations_are_those_of_the_header(enum: str, prefix: str, ours: type[layout.Via]) -> None:
    (body,) = re.findall(rf"enum {enum} \{{(.*?)\}}", read_snapshot.source(), re.DOTALL)
    names = [name.removeprefix(prefix) for name in re.findall(rf"{prefix}\w+", body)]
    assert [member.name for member in ours] == names[:-1]  # the last is the count


def test_the_compiler_makes_at_most_half_of_what_a_loader_accepts() -> None:
    source = read_snapshot.source()
    written = re.findall(r"#define MAX_(\w+) \(?(\d+)u?(?: << (\d+))?", source)
    limits = {name: int(value) << int(shift or 0) for name, value, shift in written}
    assert limits["NODES"] >= layout.NODES * 2
    assert limits["SLOTS"] >= layout.SLOTS * 2
    assert limits["PREDICATES"] >= layout.PREDICATES * 2
    assert limits["BITS"] >= layout.BITS * 2
    assert limits["FLAG_BITS"] >= layout.FLAG_BITS * 2
    assert limits["CLASSES"] >= layout.CLASSES * 2
    assert limits["CHUNK"] >= layout.CHUNK_BYTES * 2
    assert limits["OP_DEPTH"] >= layout.OP_DEPTH * 2
    assert limits["STEPS"] >= documents.PATH_MEMBERS * 2
    assert limits["FLAGS"] >= documents.FLAGS * 2
    assert limits["DEPENDENCY_DEPTH"] >= documents.PREREQUISITE_CHAIN * 2
    # of a variant: a rule's, the fallthrough's, a split's; of the off variant one more for each prerequisite
    assert limits["FLAG_OUTCOMES"] >= 2 * (4 * documents.VARIANTS + documents.FLAGS)
    assert limits["PROBE"] >= layout.RUN * 2
    assert limits["PATCHES"] == layout.MAX_PATCHES


def test_a_blob_is_laid_out_as_it_says() -> None:
    content = blob(environment(flag("a", (one_of("country", "DE"), "on"))), version=17, flag_set_id='a"b')
    reader = read_snapshot.Reader(content)  # checks the digest, the order of sections, and that the gaps are zero
    header = reader.header
    assert (header.version, header.bit_count, header.constant_count) == (17, 2, 0)
    assert reader.text(header.environment_at, header.environment_length) == "production"
    assert reader.text(header.flag_set_at, header.flag_set_length) == 'a"b'
    assert reader.text(header.metadata_at, header.metadata_length) == '"flagSetId":"a\\"b","version":"17"'
    assert reader.sections["TEXT"].endswith(bytes(64))


def test_no_flags() -> None:
    reader = read_snapshot.Reader(blob(environment()))
    assert (len(reader.FLAGS), len(reader.NODES), len(reader.NODE_TABLE)) == (0, 1, 2)
    assert reader.text(reader.header.metadata_at, reader.header.metadata_length) == '"version":"1"'
