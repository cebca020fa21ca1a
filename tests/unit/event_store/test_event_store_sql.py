"""The SQL files: all found, each used, and applied in order."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import pytest

import headrace.event_store
from headrace.errors import Corrupt
from headrace.event_store import statements
from headrace.event_store.migrate import plan


def test_a_fresh_database_gets_every_migration_in_order_and_then_the_functions() -> None:
    names = [script.name for script in plan({})]
    assert names[:2] == ["migrations/0001_create_events.sql", "migrations/0002_create_command_results.sql"]
    assert names == sorted(name for name in names if name.startswith("migrations/")) + [
        name for name in names if name.startswith("functions/")
    ]


def test_migrations_are_numbered_without_gaps() -> None:
    numbers = [int(script.name.removeprefix("migrations/")[:4]) for script in statements.scripts("migrations")]
    assert numbers == list(range(1, len(numbers) + 1))


def test_an_up_to_date_database_gets_nothing_and_a_changed_function_again() -> None:
    applied = {script.name: script.checksum for script in plan({})}
    assert plan(applied) == []
    assert [script.name for script in plan(applied | {"functions/append.sql": "old"})] == ["functions/append.sql"]


def test_an_edited_or_unknown_migration_is_refused() -> None:
    with pytest.raises(Corrupt, match="edited"):
        plan({"migrations/0001_create_events.sql": "other"})
    with pytest.raises(Corrupt, match="newer"):
        plan({"migrations/0099_later.sql": "any"})


def test_every_query_file_is_used_and_every_query_used_has_a_file() -> None:
    folder = Path(str(files(headrace.event_store)))
    source = "".join(path.read_text() for path in folder.glob("*.py"))
    there = {path.stem for path in (folder / "sql" / "queries").glob("*.sql")}
    assert there <= set(re.findall(r'"(\w+)"', source))
    assert set(re.findall(r'statements\.query\("(\w+)"\)', source)) <= there
