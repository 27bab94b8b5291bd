"""Documents in, a snapshot or diagnostics out. Pure Python, deterministic, no I/O.

    compile_flags(b'{"flags": …}', version=7)     ->     bytes for engine.Snapshot.from_bytes
    lint(b'{"flags": …}')                         ->     [Diagnostic, …]

pipeline.py lists the steps.
"""

from rules_compiler.diagnostics import CompileError, Diagnostic
from rules_compiler.pipeline import compile_flags, lint

__all__ = ["CompileError", "Diagnostic", "compile_flags", "lint"]
