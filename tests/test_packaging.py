"""Guards on what is shipped: the extension is real, the layers hold, and what is built runs outside the checkout.

The slow tests build an sdist from a copy of the checkout, a wheel from that sdist, and run the wheel in a fresh
environment: nothing that only the checkout has can hide a file missing from what is shipped.
"""

from __future__ import annotations

import ast
import importlib.machinery
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("engine", "rules_compiler", "server")
NOT_SHIPPED = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "*.so", "__pycache__", "node_modules")

# Import names that are not the distribution's name.
DISTRIBUTIONS = {"celpy": "cel-python", "opentelemetry": "opentelemetry-sdk", "re2": "google-re2", "yaml": "pyyaml"}

# Modules that are imported only where an extra is wanted.
IN_AN_EXTRA = {"server/evaluations/otlp.py": "telemetry"}

FIRST_ANSWER = """
import sys
from pathlib import Path
import engine, engine.snapshot, rules_compiler, server
for module in (engine, rules_compiler, server):
    assert Path(module.__file__).is_relative_to(sys.prefix), module.__file__
blob = rules_compiler.compile_flags(
    b"flags: {hello: {type: string, variants: {a: A, b: B}, fallthrough: b, rules: [{when: 'n > 1', serve: a}]}}"
)
snapshot = engine.Snapshot.from_bytes(blob)
print(snapshot.evaluate("hello", {"n": 2}).value, snapshot.evaluate("hello", {}).value)
"""


def run(*command: str | Path, cwd: Path, env: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=env, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def modules() -> Iterator[Path]:
    for package in PACKAGES:
        yield from sorted((ROOT / package).rglob("*.py"))


def test_the_engine_is_the_compiled_extension() -> None:
    import engine.snapshot

    assert engine.snapshot.__file__ is not None
    assert engine.snapshot.__file__.endswith(tuple(importlib.machinery.EXTENSION_SUFFIXES))


def test_the_public_names_of_the_engine_are_pinned() -> None:
    import engine

    assert sorted(engine.__all__) == [
        "Evaluation",
        "Explanation",
        "PreparedContext",
        "Snapshot",
        "SnapshotError",
        "bucket_of",
        "error_code_of",
        "hash64",
    ]
    assert all(hasattr(engine, name) for name in engine.__all__)


def test_the_public_names_of_the_compiler_are_pinned() -> None:
    import rules_compiler

    assert sorted(rules_compiler.__all__) == ["CompileError", "Diagnostic", "compile_flags", "lint"]
    assert all(hasattr(rules_compiler, name) for name in rules_compiler.__all__)


def test_every_folder_of_modules_is_listed_as_a_package() -> None:
    found = {str(path.parent.relative_to(ROOT)).replace(os.sep, ".") for path in modules()}
    assert found == set(pyproject()["tool"]["setuptools"]["packages"])


def test_every_package_is_typed() -> None:
    assert [package for package in PACKAGES if not (ROOT / package / "py.typed").exists()] == []


def distributions(requirements: list[str]) -> set[str]:
    return {re.split(r"[<>=~\[ ;]", text)[0].lower() for text in requirements}


def test_every_import_is_a_declared_dependency() -> None:
    project = pyproject()["project"]
    always = distributions(project["dependencies"])
    undeclared = set()
    for path in modules():
        extra = IN_AN_EXTRA.get(str(path.relative_to(ROOT)))
        declared = always | distributions(project["optional-dependencies"][extra]) if extra else always
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            for top in {name.partition(".")[0] for name in names} - set(PACKAGES) - sys.stdlib_module_names:
                if DISTRIBUTIONS.get(top, top.replace("_", "-")) not in declared:
                    undeclared.add(f"{path.relative_to(ROOT)}: {top}")
    assert undeclared == set()


def test_layers_hold() -> None:
    scripts = Path(sysconfig.get_path("scripts"))
    if not (scripts / "lint-imports").exists():
        pytest.skip("import-linter is not installed")
    run(scripts / "lint-imports", "--no-cache", cwd=ROOT)


def test_no_path_of_one_machine_stands_in_the_project() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    files = [ROOT / name for name in run("git", "ls-files", cwd=ROOT).splitlines()]
    machine_path = re.compile(rb"(?<![\w.*}~])/(?:work|home|root|Users)/\w")
    assert [str(path) for path in files if path.is_file() and machine_path.search(path.read_bytes())] == []


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an sdist of a copy of the checkout, what it unpacks to, and the wheel built from that."""
    folder = tmp_path_factory.mktemp("built")
    checkout = folder / "checkout"
    shutil.copytree(ROOT, checkout, ignore=NOT_SHIPPED)
    shutil.copytree(ROOT / ".ci", checkout / ".ci")
    shutil.copy(ROOT / ".gitignore", checkout)
    run(sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", folder, checkout, cwd=folder)
    [sdist] = folder.glob("burgee-*.tar.gz")
    (folder / "unpacked").mkdir()
    run("tar", "-xzf", sdist, cwd=folder / "unpacked")
    [source] = (folder / "unpacked").iterdir()
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, source, cwd=folder)
    return folder


@pytest.mark.slow
def test_the_sdist_holds_the_sources_and_nothing_generated(built: Path) -> None:
    [sdist] = built.glob("burgee-*.tar.gz")
    with tarfile.open(sdist) as archive:
        shipped = {name.partition("/")[2] for name in archive.getnames()}
    for folder in ("engine", "rules_compiler", "server", "tests", "benchmarks", "loadtests", "docs", "examples"):
        wanted = {
            str(path.relative_to(built / "checkout"))
            for path in (built / "checkout" / folder).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        assert wanted - shipped == set()
    for name in ("Makefile", "LICENSE", "README.md", "ARCHITECTURE.md", "CHANGELOG.md", "setup.py", ".ci/run"):
        assert name in shipped
    assert "engine/snapshot.c" not in shipped
    assert [name for name in shipped if name.endswith(".so") or name.startswith("build/")] == []


@pytest.mark.slow
def test_the_wheel_holds_exactly_the_three_packages(built: Path) -> None:
    [wheel] = built.glob("burgee-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == set(PACKAGES)
    kinds = {name.rpartition("/")[2].rpartition(".")[2] for name in names if ".dist-info/" not in name}
    assert kinds == {"py", "pyi", "so", "typed"}
    shipped = {name for name in names if name.endswith((".py", ".pyi", ".typed"))}
    wanted = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.suffix in (".py", ".pyi", ".typed")
    }
    assert shipped == wanted


@pytest.mark.slow
def test_a_wheel_runs_in_a_fresh_environment(built: Path) -> None:
    [wheel] = built.glob("burgee-*.whl")
    fresh = built / "fresh"
    run(sys.executable, "-m", "venv", fresh, cwd=built)
    python = fresh / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=built)
    # The dependencies are those of this environment. A folder on PYTHONPATH runs no .pth file, so an editable install
    # in it stays out of sight.
    outside = {**os.environ, "PYTHONPATH": sysconfig.get_path("purelib")}
    assert run(python, "-c", FIRST_ANSWER, cwd=built, env=outside) == "A B\n"
    assert "Usage: burgee" in run(fresh / "bin" / "burgee", "--help", cwd=built, env=outside)
