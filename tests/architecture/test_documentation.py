"""What the documentation names exists: files that links lead to, tests of invariants, verbs, options and exit codes."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

import headrace
from headrace import errors
from headrace.cli.main import VERBS, make_app
from headrace.dashboards.definition import parse_dashboard
from headrace.event_store.event_store import EventStore
from headrace.queries.catalog import Catalog, parse_query
from headrace.streaming_sql.parser import parse

ROOT = Path(__file__).parents[2]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
COMMAND_LINE = ROOT / "docs" / "reference" / "command-line.md"
STREAMING_SQL = ROOT / "docs" / "reference" / "streaming-sql.md"


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def prose(path: Path) -> str:
    """The text without its fenced blocks, where brackets mean something else."""
    return re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.M | re.S)


def anchors(path: Path) -> set[str]:
    """The headings of a page, as GitHub spells them in links."""
    titles = re.findall(r"^#+ (.+)$", prose(path), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_links_lead_somewhere(path: Path) -> None:
    lost = []
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(path)):
        target, _, anchor = link.partition("#")
        if re.match(r"\w+:", target):
            continue
        found = path if not target else (path.parent / target).resolve()
        if not found.exists() or (anchor and anchor not in anchors(found)):
            lost.append(link)
    assert not lost


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_named_tests_and_modules_exist(path: Path) -> None:
    lost = []
    for file, function in re.findall(r"`((?:src|tests|benchmarks|examples|deploy)/[\w/.-]+)(?:::(\w+))?`", prose(path)):
        found = ROOT / file
        if not found.exists() or (function and function not in functions(found)):
            lost.append(f"{file}::{function}" if function else file)
    assert not lost


def test_invariants_are_numbered_and_each_has_a_test() -> None:
    text = (ROOT / "docs" / "invariants.md").read_text()
    entries = re.findall(r"^(\d+)\. (.+?)(?=^\d+\. |^## |\Z)", text, re.M | re.S)
    assert [int(number) for number, _ in entries] == list(range(1, len(entries) + 1))
    assert not [number for number, entry in entries if "::test_" not in entry]


def test_the_command_line_is_documented() -> None:
    """Every verb has a heading, every option stands below it, and nothing else does."""
    sections = re.split(r"^## (headrace .+)$", COMMAND_LINE.read_text(), flags=re.M)[1:]
    documented = {verb: options_in(text) for verb, text in zip(sections[::2], sections[1::2], strict=True)}
    assert documented == dict(verbs(typer.main.get_command(make_app(VERBS)), "headrace"))


def test_every_public_name_is_documented_and_every_documented_method_is_there() -> None:
    names, methods = (ROOT / "docs" / "reference" / "python-api.md").read_text().split("## `headrace.event_store", 1)
    rows = re.findall(r"^\| `(\w+)` \| ", names.split("## `headrace.testing`")[0], re.M)
    assert sorted(rows) == sorted(headrace.__all__)
    cells = re.findall(r"^\| (`[^|]+`) \|", methods, re.M)
    assert cells
    assert [name for cell in cells for name in re.findall(r"\w+", cell) if not hasattr(EventStore, name)] == []


def test_every_exit_code_is_documented() -> None:
    codes = {int(code) for code in re.findall(r"^\| (\d+) \|", COMMAND_LINE.read_text(), re.M)}
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.Error)]
    assert {kind.exit_code for kind in kinds} <= codes


def test_statements_of_the_reference_parse() -> None:
    statements = [
        statement
        for text in fenced(STREAMING_SQL, "sql")
        if "…" not in text  # the shape of a statement, not a statement
        for statement in parse(text, name(STREAMING_SQL))
    ]
    assert len(statements) == 10


def test_examples_of_query_and_dashboard_files_are_accepted(wellness: Path) -> None:
    folder = ROOT / "docs" / "reference"
    (query,) = fenced(folder / "queries.md", "sql")
    assert parse_query("example", query, folder / "queries.md").parameters
    (page,) = fenced(folder / "dashboards.md", "toml")
    catalog = Catalog.load(wellness / "queries")
    assert parse_dashboard("example", tomllib.loads(page), folder / "dashboards.md", catalog).tiles


def fenced(path: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", path.read_text(), re.M | re.S)


def functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def options_in(text: str) -> set[str]:
    """What stands in code and begins with a dash."""
    return {word for code in re.findall(r"`([^`\n]+)`", text) for word in code.split() if re.match(r"--?\w", word)}


def verbs(command: object, path: str) -> Iterator[tuple[str, set[str]]]:
    """Every verb with its options, as `--help` has them."""
    below = getattr(command, "commands", None)
    if below is not None:
        for word, each in below.items():
            yield from verbs(each, f"{path} {word}")
        return
    options = {
        spelling
        for parameter in getattr(command, "params", [])
        if parameter.param_type_name == "option" and "--help" not in parameter.opts
        for spelling in (*parameter.opts, *parameter.secondary_opts)
    }
    yield path, options
