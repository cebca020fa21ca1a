"""Deploy: make the read models that exist those that are wanted.

Wanted are the statements of the project's files, and rows of `headrace.definitions` that somebody wrote. Every check
comes before the first change, so a refused statement changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from headrace.errors import Error, InvalidSQL, Unavailable
from headrace.read_models.mirrored_tables import MirroredTables, NoMirroredTables
from headrace.read_models.model import ReadModel, ReadModels
from headrace.streaming_sql import ast
from headrace.streaming_sql.definition import Definition, define
from headrace.streaming_sql.dependencies import order
from headrace.streaming_sql.generate import create_sql, describe_sql, drop_sql, output_sql
from headrace.streaming_sql.names import changes
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
        self,
        *,
        clickhouse: ClickHouse,
        source: str,
        models: ReadModels,
        event_types: Collection[str],
        mirrored: MirroredTables | None = None,
    ) -> None:
        self._clickhouse = clickhouse
        self._source = source
        self._models = models
        self._event_types = event_types
        self._mirrored = mirrored or NoMirroredTables()
        self.aggregates: frozenset[str] = frozenset()

    async def resume(self) -> None:
        """Know again what was there before: ready, filling and failed read models.

        One whose building was cut off, by a kill or by Unavailable, is built again. One that ClickHouse does not accept
        any more is failed: it must not keep the others from going on.
        """
        self.aggregates = await aggregate_functions(self._clickhouse)
        stored = await read_definitions(self._clickhouse, self._source)
        understood = []
        for row in stored.values():
            if row.state not in (DROPPED, WANTED):
                try:
                    understood.append(self._define(row.statement))
                except InvalidSQL as error:
                    await self._refuse(row, error)
        for definition in self._ordered([], kept=understood):
            await self._resume_one(definition, stored[definition.name])

    async def _resume_one(self, definition: Definition, row: StoredDefinition) -> None:
        model = ReadModel(definition, (), row)
        try:
            if row.state == FILLING and row.applied_batch == 0:
                await self._make_objects(model, definition)
            else:
                model.columns = await check(self._clickhouse, definition)
        except InvalidSQL as error:
            model.stored = await self._refuse(row, error)
        self._models.put(model)

    async def deploy(self, definitions: Sequence[Definition]) -> None:
        """Create what is new among the project's definitions and rebuild what changed. Others stay as they are."""
        names = {definition.name for definition in definitions}
        kept = [model.definition for model in self._models if model.name not in names]
        changed: dict[str, Definition] = {}
        for definition in self._ordered(definitions, kept=kept):
            model = self._models.get(definition.name)
            same = (
                model is not None
                and model.definition.fingerprint == definition.fingerprint
                and model.definition.reads == definition.reads
            )
            if not same or definition.source in changed:
                changed[definition.name] = definition
        await self._build(list(changed.values()))

    async def refill(self, sources: Collection[str]) -> None:
        """Write down that what reads these, directly or through others, is to be built anew.

        `resume` then does it, and where it has run before, the keeper: from now on these are not ready. A mirrored
        table is named for itself and its change stream. Nothing may load a batch meanwhile.
        """
        self.aggregates = await aggregate_functions(self._clickhouse)
        stored = {
            name: row
            for name, row in (await read_definitions(self._clickhouse, self._source)).items()
            if row.state not in (DROPPED, WANTED, UNWANTED)
        }
        reads = {name: source for name, row in stored.items() if (source := self._source_of(row))}
        changed = [*sources, *(changes(name) for name in sources if name in self._mirrored.names())]
        reached = list(changed)
        for upstream in reached:
            reached += [name for name, source in reads.items() if source == upstream and name not in reached]
        for name in reversed(reached[len(changed) :]):  # readers first, as in `_build`
            model = self._models.get(name)
            if model is not None:
                model.anew = True
            row = replace(stored[name], state=FILLING, applied_batch=0, problem="")
            row = await write_definition(self._clickhouse, self._source, row)
            if model is not None:
                model.stored = row

    async def build(self, model: ReadModel) -> None:
        """Make the objects of a read model that waited for its source or is to be built anew. Refused, it is failed."""
        try:
            await self._make_objects(model, model.definition)
        except InvalidSQL as error:
            model.stored = await self._refuse(model.stored, error)

    async def carry_out_requests(self) -> None:
        """Do what rows with the state `wanted` or `unwanted` ask for; answer a refusal with the state `failed`."""
        stored = await read_definitions(self._clickhouse, self._source)
        for row in stored.values():
            if row.state not in (WANTED, UNWANTED):
                continue
            try:
                await (self._drop(row) if row.state == UNWANTED else self._create(row))
            except Unavailable:
                raise
            except Error as error:
                await self._refuse(row, error)

    async def _create(self, row: StoredDefinition) -> None:
        kept = [model.definition for model in self._models if model.name != row.name]
        ordered = self._ordered([self._define(row.statement)], kept=kept)
        (definition,) = (each for each in ordered if each.name == row.name)
        # What reads it was filled from rows that will be gone.
        readers = [self._models.get(name) for name in self._models.downstream(row.name)[1:]]
        await self._build([definition, *(reader.definition for reader in readers if reader is not None)])

    async def _refuse(self, row: StoredDefinition, error: Error) -> StoredDefinition:
        """Say why where it was asked for. What is in service stays so when its drop is refused, else it is out."""
        model = self._models.get(row.name)
        if row.state == UNWANTED and model is not None:
            model.stored = replace(row, state=model.stored.state, applied_batch=model.stored.applied_batch)
            model.stored = await write_definition(
                self._clickhouse, self._source, replace(model.stored, problem=f"Not dropped. {error}")
            )
            return model.stored
        if row.state == FAILED:
            return row
        log.error("definition_refused", name=row.name, problem=str(error))
        return await write_definition(self._clickhouse, self._source, replace(row, state=FAILED, problem=str(error)))

    async def _drop(self, row: StoredDefinition) -> None:
        readers = self._models.downstream(row.name)[1:]
        if readers:
            raise InvalidSQL(f"{row.name} is read by {', '.join(readers)}.", hint="Drop those first.")
        await self._execute(drop_sql(self._define(row.statement), self._clickhouse.database))
        self._models.remove(row.name)
        await write_definition(self._clickhouse, self._source, replace(row, state=DROPPED))
        log.info("read_model_dropped", name=row.name)

    async def _build(self, definitions: Sequence[Definition]) -> None:
        """Make the objects of all these anew, sources first, and leave them to be filled.

        That they are to be filled from the start is written down before anything is dropped: whatever is cut off
        behind that, `resume` builds again.
        """
        names = {each.name for each in definitions}
        for each in definitions:
            # The others can be checked once their sources are made.
            if each.source not in names and not self._waits(each):
                await check(self._clickhouse, each)
        stored = await read_definitions(self._clickhouse, self._source)
        begun = []
        # Readers first: cut off here, one whose source still stands as it was is merely filled again from it.
        for each in reversed(definitions):
            revision = stored[each.name].revision if each.name in stored else 0
            row = StoredDefinition(each.name, each.text, each.fingerprint, FILLING, revision=revision)
            model = ReadModel(each, (), await write_definition(self._clickhouse, self._source, row))
            existing = self._models.get(each.name)
            begun.append((model, existing.definition if existing else each))
            self._models.put(model)
        for model, replaced in reversed(begun):
            await self._make_objects(model, replaced)
            log.info("read_model_created", name=model.name, kind=model.definition.kind)

    async def _make_objects(self, model: ReadModel, replaced: Definition) -> None:
        model.anew = self._waits(model.definition)
        if model.anew:
            return
        model.columns = await check(self._clickhouse, model.definition)
        await self._execute(drop_sql(replaced, self._clickhouse.database))
        await self._execute(create_sql(model.definition, self._clickhouse.database, model.columns))

    def _waits(self, definition: Definition) -> bool:
        """Whether it reads, directly or through others, a table that is being copied and may have no columns yet."""
        return bool(definition.mirrored) and not self._mirrored.is_ready(definition.mirrored)

    async def _execute(self, statements: Sequence[str]) -> None:
        for statement in statements:
            await self._clickhouse.execute(statement)

    def _source_of(self, row: StoredDefinition) -> str:
        try:
            return self._define(row.statement).source
        except InvalidSQL:  # `resume` says so
            return ""

    def _define(self, text: str) -> Definition:
        return define_one(text, self.aggregates)

    def _ordered(self, definitions: Sequence[Definition], *, kept: Sequence[Definition]) -> list[Definition]:
        """All of them, sources first. `kept` were checked when they were made: what they lack now is no fault here."""
        gone = {each.source for each in kept} - {each.name for each in (*kept, *definitions)}
        for table in self._mirrored.names():
            gone -= {table, changes(table)}
        return order([*kept, *definitions], [*self._event_types, *gone], self._mirrored.names())


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
