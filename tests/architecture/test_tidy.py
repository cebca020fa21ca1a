"""What the eye would miss in review, held by a test: sizes, names, and the contracts of the stages."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "headrace"
MODULES = sorted(SOURCE.rglob("*.py"))

MODULE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70
FORBIDDEN_NAMES = {
    "util",
    "utils",
    "helper",
    "helpers",
    "common",
    "misc",
    "base",
    "manager",
    "service",
    "types",
    "core",
}
STAGES = ("commands", "subscriptions", "capture", "read_models", "mirror", "queries", "dashboards")
CONTRACT = ("Reads:", "Writes:", "Guarantees:", "Resumes from:")


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_module_is_small_and_says_why_it_exists(module: Path) -> None:
    text = module.read_text()
    tree = ast.parse(text)
    assert text.count("\n") <= MODULE_LINES_MAX
    assert ast.get_docstring(tree), "a module docstring says why the module exists"
    assert module.stem not in FORBIDDEN_NAMES, "the name must say what is inside"
    too_long = [f.name for f in functions(tree) if (f.end_lineno or 0) - f.lineno >= FUNCTION_LINES_MAX]
    assert not too_long, f"longer than {FUNCTION_LINES_MAX} lines: {too_long}"


@pytest.mark.parametrize("stage", STAGES)
def test_stage_states_its_contract(stage: str) -> None:
    docstring = ast.get_docstring(ast.parse((SOURCE / stage / "__init__.py").read_text())) or ""
    missing = [line for line in CONTRACT if f"\n{line}" not in f"\n{docstring}"]
    assert not missing, f"{stage}/__init__.py lacks {missing}"


def test_every_package_module_imports_the_defining_module() -> None:
    """Importing a name from a package's __init__ hides where it lives; `headrace` itself is for users."""
    offenders = [
        f"{module.relative_to(SOURCE)}: from {node.module}"
        for module in MODULES
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.ImportFrom)
        and node.module
        and node.module.startswith("headrace")
        and (SOURCE.parent / Path(*node.module.split("."))).is_dir()
        and not all((SOURCE.parent / Path(*node.module.split(".")) / f"{name.name}.py").exists() for name in node.names)
    ]
    assert not offenders


def test_examples_import_public_names_only() -> None:
    offenders = [
        f"{path.relative_to(ROOT)}: {node.module}"
        for path in sorted((ROOT / "examples").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom)
        and (node.module or "").startswith("headrace.")
        and node.module != "headrace.testing"
    ]
    assert not offenders


def test_nothing_names_a_machine_or_a_registry() -> None:
    """No machine path and no registry address in what is committed."""
    needles = ["/" + "work/", "/" + "root/", "pypi" + ".org", "files." + "pythonhosted", "registry." + "npmjs"]
    skipped = {
        ".venv",
        ".git",
        ".headrace",
        "__pycache__",
        ".mypy_cache",
        ".ruff_cache",
        ".pytest_cache",
        ".hypothesis",
        "dist",
    }
    offenders = []
    for path in ROOT.rglob("*"):
        if path.is_file() and not skipped & set(path.relative_to(ROOT).parts) and path.stat().st_size < 1 << 20:
            text = path.read_bytes()
            offenders += [f"{path.relative_to(ROOT)}: {needle}" for needle in needles if needle.encode() in text]
    assert not offenders
