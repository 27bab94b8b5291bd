"""Instructions a call, counted by valgrind: a number that a busy machine does not change.

    python -m benchmarks.instructions
    a turn of the loop around them all           102    Python's own, in each of the others
    evaluate_json, 1,000 flags               163,866
    evaluate, from a prepared context            952

A child process makes n calls, another one 2 n; the difference is n calls and nothing else: no start, no imports. What
differs between two starts of Python is some 100,000 instructions, so n is large.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import msgspec

import rules_compiler
from benchmarks.flags import contexts, document, specs

CONTEXTS = 20
HEAD = """
import sys
import msgspec
from engine import Snapshot
snapshot = Snapshot.map(sys.argv[1])
contexts = msgspec.json.decode(sys.stdin.buffer.read())
turns = int(sys.argv[2])
"""


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    flags: int
    turns: int  # of CONTEXTS calls each
    code: str


JSON = """
def call(evaluate, turns, bodies):
    for turn in range(turns):
        for body in bodies:
            evaluate(body)

call(snapshot.evaluate_json, turns, [msgspec.json.encode({"context": context}) for context in contexts])
"""
EVALUATE = f"""
def call(evaluate, turns, contexts):
    for turn in range(turns):
        for context in contexts:
            evaluate("{specs(8)[7].key}", context)
"""
MAPPING = EVALUATE + "call(snapshot.evaluate, turns, contexts)"
PREPARED = EVALUATE + "call(snapshot.evaluate, turns, [snapshot.prepare(context) for context in contexts])"
NOTHING = """
def call(turns, contexts):
    for turn in range(turns):
        for context in contexts:
            pass

call(turns, contexts)
"""
CASES = (
    Case("a turn of the loop around them all", 1, 1_000, NOTHING),
    Case("evaluate_json, 1 flag", 1, 1_000, JSON),
    Case("evaluate_json, 20 flags", 20, 1_000, JSON),
    Case("evaluate_json, 100 flags", 100, 400, JSON),
    Case("evaluate_json, 1,000 flags", 1_000, 100, JSON),
    Case("evaluate, from a mapping", 1_000, 1_000, MAPPING),
    Case("evaluate, from a prepared context", 1_000, 1_000, PREPARED),
)


def counted(case: Case, path: Path, turns: int) -> int:
    """Instructions of a whole process."""
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", sys.executable, "-c", HEAD + case.code]
    done = subprocess.run(
        [*command, str(path), str(turns)],
        input=msgspec.json.encode(contexts()[:CONTEXTS]),
        capture_output=True,
        cwd=Path(__file__).parents[1],
        env={**os.environ, "PYTHONHASHSEED": "0"},
    )
    found = re.search(rb"Collected : (\d+)", done.stderr)
    if done.returncode or found is None:
        raise SystemExit(done.stderr.decode(errors="replace")[-2_000:])
    return int(found[1])


def main() -> None:
    parser = argparse.ArgumentParser(description="instructions a call, counted by valgrind")
    parser.add_argument("--only", default="", metavar="TEXT", help="the cases whose name contains TEXT")
    chosen = parser.parse_args().only
    if shutil.which("valgrind") is None:
        raise SystemExit("valgrind is not installed (hint: apt install valgrind)")
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES:
            if chosen not in case.name:
                continue
            path = Path(folder) / f"{case.flags}.burgee"
            path.write_bytes(rules_compiler.compile_flags(document(case.flags)))
            once, twice = (counted(case, path, turns) for turns in (case.turns, 2 * case.turns))
            print(f"{case.name:<36}{(twice - once) // (case.turns * CONTEXTS):>12,}", flush=True)


if __name__ == "__main__":
    main()
