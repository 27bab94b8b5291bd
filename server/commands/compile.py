"""`burgee compile DOC -o OUT`: a document into a snapshot, or into one per environment."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click
from rich.progress import Progress

from engine import Snapshot
from rules_compiler import CompileError, compile_flags
from server.commands.inputs import document_in, environment_option, existing_file, refuse_document
from server.commands.output import counted, err, fail, json_option, print_json
from server.files import write_atomically
from server.sources.environments import environments_of

SUFFIX = ".burgee"


@click.command("compile")
@click.argument("document", type=existing_file)
@click.option(
    "--output", "-o", type=click.Path(path_type=Path), required=True, help="The snapshot's file; with --all, a folder."
)
@environment_option
@click.option("--all", "every", is_flag=True, help="Compile every environment, to OUTPUT/<environment>.burgee.")
@click.option(
    "--version", type=click.IntRange(0, 2**64 - 1), default=0, show_default=True, help="The snapshot's version."
)
@click.option("--flag-set-id", default="", help="Goes into the metadata of every answer.")
@json_option
def compile_command(
    document: Path, output: Path, environment: str | None, every: bool, version: int, flag_set_id: str, as_json: bool
) -> None:
    """Compile DOCUMENT into a snapshot."""
    if every and environment is not None:
        raise click.UsageError("--all and --environment exclude each other")
    content = document_in(document, as_json=as_json)
    started = time.perf_counter()
    try:
        targets = _targets(content, output, environment, every=every)
        with Progress(console=err(), transient=True, disable=as_json or not sys.stderr.isatty()) as bar:
            blobs = {
                path: compile_flags(content, environment=name, version=version, flag_set_id=flag_set_id)
                for name, path in bar.track(targets.items(), description="compiling")
            }
    except CompileError as error:
        refuse_document(document, error, as_json=as_json)
    try:
        if every:
            output.mkdir(parents=True, exist_ok=True)
        for path, blob in blobs.items():
            write_atomically(path, blob)
    except OSError as error:
        fail(f"{output}: {(error.strerror or 'cannot be written').lower()}", as_json=as_json)
    _report(blobs, time.perf_counter() - started, as_json=as_json)


def _targets(content: bytes, output: Path, environment: str | None, *, every: bool) -> dict[str | None, Path]:
    if not every:
        return {environment: output}
    return {name: output / f"{name}{SUFFIX}" for name in environments_of(content)}


def _report(blobs: dict[Path, bytes], seconds: float, *, as_json: bool) -> None:
    rows = []
    for path, blob in blobs.items():
        snapshot = Snapshot.from_bytes(blob)
        rows.append(
            {
                "path": str(path),
                "environment": snapshot.environment,
                "version": snapshot.version,
                "digest": snapshot.digest,
                "flags": len(snapshot),
                "sizeBytes": snapshot.size,
            }
        )
        if not as_json:
            size = f"{counted(len(snapshot), 'flag')}, {snapshot.size:,} bytes"
            err().print(f"{path}: environment `{snapshot.environment}`, {size}", markup=False)
    if as_json:
        print_json({"ok": True, "seconds": round(seconds, 3), "snapshots": rows})
    else:
        err().print(f"compiled in {seconds:.2f} s", markup=False)
