"""The ClickHouse statements of one mirrored table. Text in, text out: nothing here runs one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from headrace.mirror.evolve import Evolution
from headrace.mirror.images import select_images
from headrace.mirror.shape import Column, Shape
from headrace.mirror.staged import IN_SLICE, INSERT, PLACE, STAGED, escaped, quoted

# A part up to 64 MiB is one file: two for each column cost a batch more than its rows do.
STORAGE: Final = (
    "SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1, "
    "min_bytes_for_wide_part = 67108864"
)
# The rows that changes begin from are looked up by key. A finer index than ClickHouse's own (8192) saves a third of the
# time of a thousand changes to a table of ten million rows.
LOOKED_UP: Final = "index_granularity = 2048"
LOADING: Final = {"optimize_on_insert": 0}
"""Versions of a row are told apart by FINAL and by merges; the insert need not do it as well."""
_ALWAYS: Final = ("1", "true")
BOOKKEEPING: Final = (
    ("_operation", "LowCardinality(String)"),
    ("_sign", "Int8"),
    ("_lsn", "UInt64"),
    ("_ordinal", "UInt32"),
    ("_batch", "UInt64"),
    ("_xid", "UInt32"),
    ("_committed_at", "DateTime64(6, 'UTC')"),
)


@dataclass(frozen=True, slots=True)
class Objects:
    """One generation of a mirrored table: what it is called, and the statements that make, change and read it."""

    database: str
    name: str
    stem: str
    generation: int
    shape: Shape

    # names

    @property
    def view(self) -> str:
        return self._qualified(self.name)

    @property
    def changes_view(self) -> str:
        return self._qualified(f"{self.name}_changes")

    @property
    def rows(self) -> str:
        return self._qualified(f"{self.stem}__rows_{self.generation}")

    @property
    def changes(self) -> str:
        return self._qualified(f"{self.stem}__changes_{self.generation}")

    @property
    def staging(self) -> str:
        return self._qualified(f"{self.stem}__staging_{self.generation}")

    def _qualified(self, name: str) -> str:
        return f"{quoted(self.database)}.{quoted(name)}"

    # making

    def create(self) -> list[str]:
        """The three tables; running them again changes nothing."""
        shape = self.shape
        columns = [f"{quoted(column.name)} {column.defined(key=column.name in shape.key)}" for column in shape.columns]
        changes = ", ".join([*columns, *(f"{name} {type_}" for name, type_ in BOOKKEEPING)])
        rows = ", ".join([*columns, "_version UInt128", "_is_deleted UInt8"])
        staged = [f"{name} {type_}" for name, type_ in (*STAGED, ("_batch", "UInt64"))]
        staged += [f"c{place} {column.declared(key=False)}" for place, column in enumerate(shape.columns)]
        staged += [f"root{place} {shape.columns[place].declared(key=True)}" for place in shape.key_places]
        order = ", ".join(map(quoted, shape.order))
        partition = f"PARTITION BY {shape.partition_by} " if shape.partition_by else ""
        return [
            f"CREATE TABLE IF NOT EXISTS {self.staging} ({', '.join(staged)}) ENGINE = MergeTree "
            f"ORDER BY (_batch, {PLACE}) {STORAGE}",
            f"CREATE TABLE IF NOT EXISTS {self.changes} ({changes}) ENGINE = MergeTree "
            f"ORDER BY (_batch, {PLACE}) {STORAGE}",
            f"CREATE TABLE IF NOT EXISTS {self.rows} ({rows}) ENGINE = ReplacingMergeTree(_version, _is_deleted) "
            f"{partition}ORDER BY ({order}) {STORAGE}, {LOOKED_UP}",
        ]

    def publish(self, since_batch: int) -> list[str]:
        """The two views that people read, over this generation."""
        columns = self._columns()
        return [
            f"CREATE OR REPLACE VIEW {self.view} AS {self.select_rows()}",
            f"CREATE OR REPLACE VIEW {self.changes_view} AS SELECT {columns}, {names_of(BOOKKEEPING)} "
            f"FROM {self.changes} WHERE _batch >= {since_batch}",
        ]

    def evolve(self, evolution: Evolution) -> list[str]:
        """Gives the rows and the changes other columns; running it again changes nothing more. The staging table, whose
        columns are numbered, is made anew.
        """
        actions = [f"DROP COLUMN IF EXISTS {quoted(name)}" for name in evolution.dropped]
        actions += [f"RENAME COLUMN IF EXISTS {quoted(old)} TO {quoted(new)}" for old, new in evolution.renamed]
        for column, missing in evolution.added:
            default = ""
            if missing is not None:
                text = f"CAST('{escaped(missing)}', 'Nullable(String)')"
                default = f" DEFAULT {column.target.value(text)}"
            actions.append(f"ADD COLUMN IF NOT EXISTS {quoted(column.name)} {self._declared(column)}{default}")
        actions += [
            f"MODIFY COLUMN IF EXISTS {quoted(column.name)} {self._declared(column)}" for column in evolution.retyped
        ]
        return [
            *(f"ALTER TABLE {table} {action}" for action in actions for table in (self.rows, self.changes)),
            f"DROP TABLE IF EXISTS {self.staging} SYNC",
        ]

    def drop(self) -> list[str]:
        """Drops the tables of this generation."""
        return [f"DROP TABLE IF EXISTS {table} SYNC" for table in (self.staging, self.changes, self.rows)]

    def drop_views(self) -> list[str]:
        return [f"DROP VIEW IF EXISTS {view} SYNC" for view in (self.view, self.changes_view)]

    def select_rows(self) -> str:
        """The rows as they are now."""
        return f"SELECT {self._columns()} FROM {self.rows} FINAL"

    @property
    def copied_at_once(self) -> bool:
        """Whether the copy must be of one snapshot. With a key, a row that is copied twice is still one row."""
        return False

    # loading

    def goes_straight(self, *, only_inserts: bool, verify: bool) -> bool:
        """Whether `insert` can take the changes of a batch: nothing stood before them that must be looked up."""
        return only_inserts and not verify

    def images_of(self, inserts: int, updates: int, deletes: int) -> int:
        """How many rows `insert` writes when all values can be held."""
        return inserts

    def stage(self) -> str:
        """Puts the changes of a batch, as `prepare` gives them, into the staging table: all that can be held."""
        columns = [*(name for name, _ in STAGED), "_batch"]
        values = [*(name for name, _ in STAGED), "{batch:UInt64}"]
        for place, column in enumerate(self.shape.columns):
            columns.append(f"c{place}")
            values.append(column.target.value(f"c{place}"))
        for place in self.shape.key_places:
            columns.append(f"root{place}")
            values.append(f"assumeNotNull({self.shape.columns[place].target.value(f'root{place}')})")
        return (
            f"INSERT INTO {self.staging} ({', '.join(columns)}) SELECT {', '.join(values)} "
            f"FROM input('{escaped(self._staged_structure())}') WHERE {self._fits()} FORMAT ArrowStream"
        )

    def insert(self, *, verify: bool) -> str:
        """Puts the inserts of a batch straight into the changes: there is nothing before them that could be missed."""
        columns = [column.name for column in self.shape.columns]
        values = [self._value(place, column) for place, column in enumerate(self.shape.columns)]
        missing = f" AND {self._missing()}" if verify else ""
        return (
            f"INSERT INTO {self.changes} ({', '.join(map(quoted, columns))}, {names_of(BOOKKEEPING)}) "
            f"SELECT {', '.join(values)}, 'insert', 1, {PLACE}, {{upto:UInt64}}, _xid, _committed_at "
            f"FROM input('{escaped(self._staged_structure())}') WHERE {self._fits()}{missing} FORMAT ArrowStream"
        )

    def letters(self) -> str:
        """Puts the changes of a batch with a value that its column cannot hold into the dead letters."""
        return (
            "INSERT INTO headrace.dead_letters (source, target, lsn, ordinal, batch, status, reason, raw) "
            "SELECT {source:String}, {target:String}, _lsn, _ordinal, {batch:UInt64}, 'waiting', "
            f"{self._reason()}, toJSONString({self._named()}) "
            f"FROM input('{escaped(self._staged_structure())}') WHERE NOT ({self._fits()}) FORMAT ArrowStream"
        )

    def left_out(self) -> str:
        """The places of the columns whose values some change of a slice left out."""
        return f"SELECT DISTINCT arrayJoin(_unchanged) FROM {self.staging} WHERE {IN_SLICE}"

    def incomplete_inserts(self) -> str:
        """How many inserts of a slice came without values; see `prepare`."""
        return f"SELECT count() FROM {self.staging} WHERE {IN_SLICE} AND _kind = {INSERT} AND notEmpty(_unchanged)"

    def catch_up(self, *, fill: Collection[int]) -> str:
        """Computes the changes of a slice that was staged while the table was copied, those that are missing."""
        return self.change(fill=fill, verify=True)

    def change(self, *, fill: Collection[int], verify: bool) -> str:
        """Computes the changes of a slice of staged batches: each with the image before it and the one after it.

        `fill`: the places of the columns whose values were left out somewhere; there the image before has them.
        """
        values = ", ".join(f"c{place}" for place in range(len(self.shape.columns)))
        missing = f" WHERE {self._missing(place='lsn, ordinal', sign='sign')}" if verify else ""
        return (
            f"INSERT INTO {self.changes} ({self._columns()}, {names_of(BOOKKEEPING)}) "
            f"SELECT {values}, operation, sign, lsn, ordinal, batch, xid, committed_at "
            f"FROM ({select_images(self.shape, self.staging, self.rows, fill=fill)}){missing}"
        )

    def advance(self) -> str:
        """Applies the changes of a slice to the rows. Repeating it changes nothing."""
        return (
            f"INSERT INTO {self.rows} ({self._columns()}, _version, _is_deleted) "
            f"SELECT {self._columns()}, {version('_lsn', '_ordinal')}, _sign < 0 "
            f"FROM {self.changes} WHERE {IN_SLICE} AND _operation != 'update_before'"
        )

    def truncate(self) -> str:
        """The changes that a TRUNCATE makes: a delete for every row, but for those that an earlier attempt wrote."""
        key = f"tuple({', '.join(map(quoted, self.shape.key))})"
        return (
            f"INSERT INTO {self.changes} ({self._columns()}, {names_of(BOOKKEEPING)}) "
            f"SELECT {self._columns()}, 'delete', -1, {{lsn:UInt64}}, {{ordinal:UInt32}}, {{upto:UInt64}}, 0, "
            f"{{committed_at:DateTime64(6, 'UTC')}} FROM {self.rows} FINAL "
            f"WHERE {key} NOT IN (SELECT {key} FROM {self.changes} WHERE {IN_SLICE})"
        )

    def copy(self, floor_lsn: int) -> str:
        """Puts copied rows, as COPY gives them, into the rows: older than every change behind the floor."""
        structure = ", ".join(f"c{place} Nullable(String)" for place in range(len(self.shape.columns)))
        values = [self._value(place, column) for place, column in enumerate(self.shape.columns)]
        fits = " AND ".join(self._conditions(enumerate(self.shape.columns))) or "1"
        return (
            f"INSERT INTO {self.rows} ({self._columns()}, _version, _is_deleted) "
            f"SELECT {', '.join(values)}, toUInt128('{copied_version(floor_lsn)}'), 0 "
            f"FROM input('{structure}') WHERE {fits} FORMAT TSV"
        )

    def copied_letters(self) -> str:
        """Puts copied rows with a value that its column cannot hold into the dead letters.

        A copied row has no position: the floor of the copy stands for the LSN, and a hash of the row for the ordinal.
        """
        structure = ", ".join(f"c{place} Nullable(String)" for place in range(len(self.shape.columns)))
        fits = " AND ".join(self._conditions(enumerate(self.shape.columns))) or "1"
        return (
            "INSERT INTO headrace.dead_letters (source, target, lsn, ordinal, batch, status, reason, raw) "
            f"SELECT {{source:String}}, {{target:String}}, {{lsn:UInt64}}, toUInt32(cityHash64({self._named()})), 0, "
            f"'waiting', {self._reason()}, toJSONString({self._named()}) "
            f"FROM input('{structure}') WHERE NOT ({fits}) FORMAT TSV"
        )

    # parts

    def _reason(self) -> str:
        """Which column cannot hold its value, in words."""
        cases = [
            f"NOT ({condition}), 'Column {escaped(column.name)}: {escaped(column.target.clickhouse)} cannot hold it.'"
            for place, column in enumerate(self.shape.columns)
            if (condition := self._fits_one(place, column)) not in _ALWAYS
        ]
        return f"multiIf({', '.join(cases)}, '')" if cases else "''"

    def _named(self) -> str:
        """The values as they came, by the names of their columns."""
        pairs = (f"'{escaped(column.name)}', c{place}" for place, column in enumerate(self.shape.columns))
        return f"map({', '.join(pairs)})"

    def _missing(self, *, place: str = PLACE, sign: str = "toInt8(1)") -> str:
        return f"({place}, {sign}) NOT IN (SELECT _lsn, _ordinal, _sign FROM {self.changes} WHERE {IN_SLICE})"

    def _columns(self) -> str:
        return ", ".join(quoted(column.name) for column in self.shape.columns)

    def _declared(self, column: Column) -> str:
        return column.declared(key=column.name in self.shape.key)

    def _value(self, place: int, column: Column) -> str:
        value = column.target.value(f"c{place}")
        return f"assumeNotNull({value})" if place in self.shape.key_places else value

    def _staged_structure(self) -> str:
        columns = [f"{name} {type_}" for name, type_ in STAGED]
        columns += [f"c{place} Nullable(String)" for place in range(len(self.shape.columns))]
        columns += [f"root{place} Nullable(String)" for place in self.shape.key_places]
        return ", ".join(columns)

    def _fits(self) -> str:
        """Whether all values of a staged change can be held. What was left out, or belongs to a deleted row, can."""
        return " AND ".join(self._conditions(enumerate(self.shape.columns))) or "1"

    def _conditions(self, columns: Sequence[tuple[int, Column]] | enumerate[Column]) -> list[str]:
        found = (self._fits_one(place, column) for place, column in columns)
        return [f"({each})" for each in found if each not in _ALWAYS]

    def _fits_one(self, place: int, column: Column) -> str:
        return column.target.fits(f"c{place}")


def copied_version(floor_lsn: int) -> int:
    """The version of copied rows: below every change behind the floor."""
    return ((floor_lsn + 1) << 64) - 1


def version(lsn: str, ordinal: str) -> str:
    return f"bitOr(bitShiftLeft(toUInt128({lsn}), 64), toUInt128({ordinal}))"


def names_of(columns: Sequence[tuple[str, str]]) -> str:
    return ", ".join(name for name, _ in columns)
