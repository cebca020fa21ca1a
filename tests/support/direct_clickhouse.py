"""A ClickHouse in the test's own process: for generated statements, when it does not matter how they are carried."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from chdb import session

from headrace.streaming_sql import ast
from headrace.streaming_sql.definition import Definition, define
from headrace.streaming_sql.dependencies import order
from headrace.streaming_sql.generate import advance_sql, batch_sql, create_sql, describe_sql, drop_sql
from headrace.streaming_sql.parser import parse
from headrace.streaming_sql.printer import quoted
from headrace.streaming_sql.slice import Slice

Columns = list[tuple[str, str]]


class Clickhouse:
    """A ClickHouse in this process, and the loop that the read models run, in its smallest form."""

    def __init__(self, path: Path) -> None:
        self.session: Any = session.Session(str(path))  # type: ignore[no-untyped-call]
        self.aggregate_functions = frozenset(
            row["name"] for row in self.rows("SELECT name FROM system.functions WHERE is_aggregate")
        )

    def run(self, sql: str, **parameters: int) -> None:
        self.session.query(sql, "JSON", params=parameters)

    def rows(self, sql: str, **parameters: int) -> list[dict[str, Any]]:
        answer = json.loads(str(self.session.query(sql, "JSON", params=parameters)))
        found: list[dict[str, Any]] = answer["data"]
        return found

    def define(self, text: str) -> Definition:
        (statement,) = parse(text)
        assert isinstance(statement, ast.Create)
        return define(statement, self.aggregate_functions)

    def define_over(self, mirrored: str, *texts: str) -> list[Definition]:
        """Definitions that read a mirrored table, its change stream, or each other."""
        return order([self.define(text) for text in texts], [], [mirrored])

    def create(self, definition: Definition) -> Columns:
        for sql in drop_sql(definition, "d"):
            self.run(sql)
        columns = [(row["name"], row["type"]) for row in self.rows(describe_sql(definition, "d"))]
        for sql in create_sql(definition, "d", columns):
            self.run(sql)
        return columns

    def advance(self, definition: Definition, columns: Columns, rows: Slice, *, verify: bool = False) -> None:
        self.run(advance_sql(definition, "d", columns, rows, verify=verify), **rows.parameters())

    def advance_in_part(self, definition: Definition, columns: Columns, rows: Slice, share: int) -> None:
        """What a kill in the middle of an INSERT … SELECT leaves: some of its rows, about `share` + 1 of 4."""
        insert = advance_sql(definition, "d", columns, rows, verify=share > 0)
        head, _, body = insert.partition(") SELECT ")
        settings = insert[insert.rindex(" SETTINGS ") :]
        part = f"{head}) SELECT * FROM (SELECT {body}) WHERE rand() % 4 <= {share}{settings}"
        self.run(part, **rows.parameters())

    def content(self, definition: Definition) -> list[str]:
        return sorted(json.dumps(row) for row in self.rows(f"SELECT * FROM d.{quoted(definition.name)}"))

    def batch(self, definition: Definition, rows: Slice | None = None) -> list[str]:
        parameters = rows.parameters() if rows else {}
        return sorted(json.dumps(row) for row in self.rows(batch_sql(definition, "d", rows), **parameters))

    def stored(self, table: str) -> int:
        return int(self.rows(f"SELECT count() AS n FROM d.{quoted(table)}")[0]["n"])
