"""The speed of light: the bit-matrix scheme in bare C, without checks, compiled here and run between our rounds.

    sketch_control(1_000) -> Control("the C sketch", …)

The sketch is a program that prints a line `{"flags": n, "ns_per_context": …}` for each number of flags it knows. It is
`speed_of_light.c` in the folder BURGEE_LIMITS, else in `../shared/limits` beside the checkout.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import msgspec

from benchmarks.figures import Control

EVERY = 5  # rounds of ours to one of the sketch, which takes most of a second for all its sizes


def sketch_source() -> Path | None:
    folder = os.environ.get("BURGEE_LIMITS") or Path(__file__).parents[3] / "shared" / "limits"
    source = Path(folder) / "speed_of_light.c"
    return source if source.is_file() else None


@cache
def sketch_program() -> Path | None:
    """None where there is no sketch or no compiler."""
    source, compiler = sketch_source(), shutil.which("gcc")
    if source is None or compiler is None:
        return None
    program = Path(tempfile.mkdtemp(prefix="burgee-sketch-")) / "sketch"
    subprocess.run([compiler, "-O3", "-march=native", "-o", program, source], check=True, capture_output=True)
    return program


def run_sketch(program: Path) -> dict[int, float]:
    """Nanoseconds a context, by the number of flags."""
    done = subprocess.run([program], check=True, capture_output=True)
    lines = [msgspec.json.decode(line) for line in done.stdout.splitlines()]
    return {line["flags"]: float(line["ns_per_context"]) for line in lines}


def sketch_control(flags: int) -> Control | None:
    program = sketch_program()
    if program is None:
        return None
    latest: list[float] = []

    def sample() -> float:
        if len(latest) % EVERY == 0:
            latest.append(run_sketch(program)[flags])
        else:
            latest.append(latest[-1])
        return latest[-1]

    return Control("the C sketch", sample)
