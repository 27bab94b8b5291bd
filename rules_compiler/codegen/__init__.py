"""Codegen: plans in, a snapshot out. generate.py lists the steps; docs/snapshot.md tells what they make."""

from rules_compiler.codegen.generate import generate

__all__ = ["generate"]
