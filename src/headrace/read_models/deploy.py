"""Deploy: make the read models that exist those that are wanted.

Wanted are the statements of the project's files, and rows of `headrace.definitions` that somebody wrote. Every check
comes before the first change, so a refused statement changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from headrace.errors import Error, InvalidSQL
from headrace.read_models.model import ReadModel, ReadModels
from headrace.streaming_sql import ast
from headrace.streaming_sql.definition import Definition, define
from headrace.streaming_sql.dependencies import order
from headrace.streaming_sql.generate import create_sql, describe_sql, drop_sql, output_sql
from headrace.streaming_sql.parser import parse
from headrace.telemetry import logger
from headrace.warehouse.client import ClickHouse
from headrace.warehouse.definitions import (
    DROPPED,
    FAILED,
    FILLING,
    UNWANTED,
    WANTED,
    StoredDefinition,
    read_definitions,
    write_definition,
)

log = logger(__name__)


class Deployer:
    """Creates, replaces and drops read models of one source. Only the worker has one."""

    def __init__(
        self, *, clickhouse: ClickHouse, source: str, models: ReadModels, event_types: Collection[str]
    ) -> None:
        self._clickhouse = clickhouse
        self._source = source
        self._models = models
        self._event_types = event_types
        self.aggregates: frozenset[str] = frozenset()

    async def resume(self) -> None:
        """Know again what was there before: ready, filling and failed read models."""
        self.aggregates = await aggregate_functions(self._clickhouse)
        stored = await read_definitions(self._clickhouse, self._source)
        existing = [row for row in stored.values() if row.state not in (DROPPED, WANTED)]
        for definition in self._ordered([self._define(row.statement) for row in existing]):
            self._models.put(await self._model(definition, stored[definition.name]))

    async def deploy(self, definitions: Sequence[Definition]) -> None:
        """Create what is new among the project's definitions and rebuild what changed. Others stay as they are."""
        kept = [model.definition for model in self._models]
        names = {definition.name for definition in definitions}
        ordered = self._ordered([*(each for each in kept if each.name not in names), *definitions])
        stored = await read_definitions(self._clickhouse, self._source)
        changed: set[str] = set()
        for definition in ordered:
            model = self._models.get(definition.name)
            same = model is not None and model.definition.fingerprint == definition.fingerprint
            if same and definition.source not in changed:
                continue
            changed.add(definition.name)
            await self._build(definition, stored.get(definition.name))

    async def carry_out_requests(self) -> None:
        """Do what rows with the state `wanted` or `unwanted` ask for; answer a refusal with the state `failed`."""
        stored = await read_definitions(self._clickhouse, self._source)
        for row in stored.values():
            if row.state not in (WANTED, UNWANTED):
                continue
            try:
                await (self._drop(row) if row.state == UNWANTED else self._create(row))
            except Error as error:
                log.error("definition_refused", name=row.name, problem=str(error))
                await write_definition(self._clickhouse, self._source, replace(row, state=FAILED, problem=str(error)))

    async def _create(self, row: StoredDefinition) -> None:
        definition = self._define(row.statement)
        others = [model.definition for model in self._models if model.name != row.name]
        self._ordered([*others, definition])
        await self._build(definition, row)
        # What reads it was filled from the rows that are gone now.
        for name in self._models.downstream(row.name)[1:]:
            reader = self._models.get(name)
            if reader is not None:
                await self._build(reader.definition, reader.stored)

    async def _drop(self, row: StoredDefinition) -> None:
        readers = self._models.downstream(row.name)[1:]
        if readers:
            raise InvalidSQL(f"{row.name} is read by {', '.join(readers)}.", hint="Drop those first.")
        await self._execute(drop_sql(self._define(row.statement), self._clickhouse.database))
        self._models.remove(row.name)
        await write_definition(self._clickhouse, self._source, replace(row, state=DROPPED))
        log.info("read_model_dropped", name=row.name)

    async def _build(self, definition: Definition, stored: StoredDefinition | None) -> None:
        """Drop what is there, create the definition's objects, and leave it to be filled."""
        row = StoredDefinition(
            definition.name,
            definition.text,
            definition.fingerprint,
            FILLING,
            revision=stored.revision if stored else 0,
        )
        model = await self._model(definition, row)
        existing = self._models.get(definition.name)
        await self._execute(drop_sql(existing.definition if existing else definition, self._clickhouse.database))
        await self._execute(create_sql(definition, self._clickhouse.database, model.columns))
        model.stored = await write_definition(self._clickhouse, self._source, row)
        self._models.put(model)
        log.info("read_model_created", name=definition.name, kind=definition.kind)

    async def _model(self, definition: Definition, row: StoredDefinition) -> ReadModel:
        return ReadModel(definition, await check(self._clickhouse, definition), row)

    async def _execute(self, statements: Sequence[str]) -> None:
        for statement in statements:
            await self._clickhouse.execute(statement)

    def _define(self, text: str) -> Definition:
        return define_one(text, self.aggregates)

    def _ordered(self, definitions: Sequence[Definition]) -> list[Definition]:
        return order(definitions, self._event_types)


async def aggregate_functions(clickhouse: ClickHouse) -> frozenset[str]:
    """The names of ClickHouse's own aggregate functions."""
    return frozenset(row[0] for row in await clickhouse.rows("SELECT name FROM system.functions WHERE is_aggregate"))


async def check(clickhouse: ClickHouse, definition: Definition) -> list[tuple[str, str]]:
    """Let ClickHouse check names and types; the stored columns, (name, type). Raises InvalidSQL with its words."""
    await clickhouse.rows(output_sql(definition, clickhouse.database))
    return [(row[0], row[1]) for row in await clickhouse.rows(describe_sql(definition, clickhouse.database))]


def define_one(text: str, aggregates: frozenset[str]) -> Definition:
    """The definition of one CREATE statement. Raises InvalidSQL."""
    (statement,) = parse(text)
    assert isinstance(statement, ast.Create), "only CREATE statements are stored"
    return define(statement, aggregates)
