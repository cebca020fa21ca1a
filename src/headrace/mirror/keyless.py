"""The ClickHouse statements of a table without a key: its rows are a multiset, of which each row is told by its values.

PostgreSQL sends the whole old row (REPLICA IDENTITY FULL), so nothing has to be looked up. The rows table holds each
distinct row once, with how often it is there.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from headrace.mirror.staged import DELETE, IN_SLICE, INSERT, PLACE, STAGED, escaped, quoted
from headrace.mirror.statements import BOOKKEEPING, STORAGE, Objects, copied_version, names_of, version

_TIMES: Final = "ARRAY JOIN range(toUInt64(greatest(_count, 0))) AS _nth"
_COUNTED: Final = "_hash UInt128, _count Int64, _version UInt128"


@dataclass(frozen=True, slots=True)
class KeylessObjects(Objects):
    """One generation of a mirrored table without a key."""

    @property
    def copied_at_once(self) -> bool:
        return True

    def create(self) -> list[str]:
        columns = [f"{quoted(column.name)} {column.defined(key=False)}" for column in self.shape.columns]
        changes = ", ".join([*columns, *(f"{name} {type_}" for name, type_ in BOOKKEEPING)])
        staged = [f"{name} {type_}" for name, type_ in (*STAGED, ("_batch", "UInt64"))]
        for prefix in "co":
            staged += [f"{prefix}{place} {each.declared(key=False)}" for place, each in enumerate(self.shape.columns)]
        return [
            f"CREATE TABLE IF NOT EXISTS {self.staging} ({', '.join(staged)}) ENGINE = MergeTree "
            f"ORDER BY (_batch, {PLACE}) {STORAGE}",
            f"CREATE TABLE IF NOT EXISTS {self.changes} ({changes}) ENGINE = MergeTree "
            f"ORDER BY (_batch, {PLACE}) {STORAGE}",
            f"CREATE TABLE IF NOT EXISTS {self.rows} ({', '.join(columns)}, {_COUNTED}) "
            f"ENGINE = ReplacingMergeTree(_version) ORDER BY _hash {STORAGE}",
        ]

    def select_rows(self) -> str:
        return (
            f"SELECT {self._columns()} FROM {self.rows} FINAL ARRAY JOIN range(toUInt64(greatest(_count, 0))) AS _nth"
        )

    def goes_straight(self, *, only_inserts: bool, verify: bool) -> bool:
        return True

    def images_of(self, inserts: int, updates: int, deletes: int) -> int:
        return inserts + 2 * updates + deletes

    def stage(self) -> str:
        columns, values = [*(name for name, _ in STAGED), "_batch"], [*(name for name, _ in STAGED), "{batch:UInt64}"]
        for prefix in "co":
            for place, column in enumerate(self.shape.columns):
                columns.append(f"{prefix}{place}")
                values.append(column.target.value(f"{prefix}{place}"))
        return (
            f"INSERT INTO {self.staging} ({', '.join(columns)}) SELECT {', '.join(values)} "
            f"FROM input('{escaped(self._staged_structure())}') WHERE {self._fits()} FORMAT ArrowStream"
        )

    def insert(self, *, verify: bool) -> str:
        after, before = (
            ", ".join(column.target.value(f"{prefix}{place}") for place, column in enumerate(self.shape.columns))
            for prefix in "co"
        )
        source = f"SELECT *, {{upto:UInt64}} AS _at_batch FROM input('{escaped(self._staged_structure())}')"
        return f"{self._change(source, after, before, self._fits(), verify=verify)} FORMAT ArrowStream"

    def catch_up(self, *, fill: Collection[int]) -> str:
        # What the one snapshot of the copy saw is in the rows; the numbers of transactions wrap around.
        unseen = (
            "NOT (reinterpretAsInt32(toUInt32(_xid - {xmax:UInt32})) < 0 AND NOT has({running:Array(UInt32)}, _xid))"
        )
        return self._change_staged(unseen, verify=True)

    def change(self, *, fill: Collection[int], verify: bool) -> str:
        return self._change_staged("1", verify=verify)

    def advance(self) -> str:
        return self._count(IN_SLICE, f"max({version('_lsn', '_ordinal')})")

    def finish_copy(self, floor_lsn: int) -> str:
        return self._count("_batch = 0", f"toUInt128('{copied_version(floor_lsn)}')")

    def truncate(self) -> str:
        return (
            f"INSERT INTO {self.changes} ({self._columns()}, {names_of(BOOKKEEPING)}) "
            f"SELECT {self._columns()}, 'delete', -1, {{lsn:UInt64}}, {{ordinal:UInt32}}, {{upto:UInt64}}, 0, "
            f"{{committed_at:DateTime64(6, 'UTC')}} FROM ({self._rows_and_hash()}) "
            f"WHERE _hash NOT IN (SELECT {self._hash()} FROM {self.changes} AS source WHERE {IN_SLICE})"
        )

    def copy(self, floor_lsn: int) -> str:
        """Copied rows go into the changes, as inserts of a batch 0 that nobody is shown, to be counted from there."""
        structure = ", ".join(f"c{place} Nullable(String)" for place in range(len(self.shape.columns)))
        values = ", ".join(column.target.value(f"c{place}") for place, column in enumerate(self.shape.columns))
        fits = " AND ".join(self._conditions(enumerate(self.shape.columns))) or "1"
        return (
            f"INSERT INTO {self.changes} ({self._columns()}, {names_of(BOOKKEEPING)}) "
            f"SELECT {values}, 'insert', 1, {floor_lsn}, 0, 0, 0, toDateTime64(0, 6, 'UTC') "
            f"FROM input('{structure}') WHERE {fits} FORMAT TSV"
        )

    def _change_staged(self, where: str, *, verify: bool) -> str:
        after, before = (", ".join(f"{prefix}{n}" for n in range(len(self.shape.columns))) for prefix in "co")
        source = f"SELECT *, _batch AS _at_batch FROM {self.staging} WHERE {IN_SLICE} LIMIT 1 BY {PLACE}"
        return self._change(source, after, before, where, verify=verify)

    def _change(self, source: str, after: str, before: str, where: str, *, verify: bool) -> str:
        values = ", ".join(f"tupleElement(tupleElement(image, 3), {n + 1})" for n in range(len(self.shape.columns)))
        images = (
            f"SELECT {PLACE}, _at_batch, _xid, _committed_at, arrayJoin(multiIf("
            f"_kind = {INSERT}, [('insert', toInt8(1), tuple({after}))], "
            f"_kind = {DELETE}, [('delete', toInt8(-1), tuple({before}))], "
            f"[('update_before', toInt8(-1), tuple({before})), ('update_after', toInt8(1), tuple({after}))]"
            f")) AS image FROM ({source}) WHERE {where}"
        )
        missing = f" WHERE {self._missing(sign='image.2')}" if verify else ""
        return (
            f"INSERT INTO {self.changes} ({self._columns()}, {names_of(BOOKKEEPING)}) "
            f"SELECT {values}, image.1, image.2, {PLACE}, _at_batch, _xid, _committed_at FROM ({images}){missing}"
        )

    def _count(self, where: str, reached: str) -> str:
        """Adds up the signs of each distinct row; a repeat finds its version there already, and adds nothing."""
        # Columns are qualified, and no alias is like one of theirs: ClickHouse would take one for the other.
        values = ", ".join(f"any(source.{quoted(column.name)}) AS c{n}" for n, column in enumerate(self.shape.columns))
        listed = ", ".join(f"changed.c{n}" for n in range(len(self.shape.columns)))
        source = f"{self.changes} AS source WHERE {where}"
        return (
            f"INSERT INTO {self.rows} ({self._columns()}, _hash, _count, _version) "
            f"SELECT {listed}, changed._row, changed._delta + held._count, changed._reached FROM ("
            f"SELECT {values}, {self._hash()} AS _row, sum(_sign) AS _delta, {reached} AS _reached "
            f"FROM {source} GROUP BY _row) AS changed "
            f"LEFT JOIN (SELECT _hash, _count, _version FROM {self.rows} FINAL "
            f"WHERE _hash IN (SELECT {self._hash()} FROM {source})) AS held "
            f"ON changed._row = held._hash WHERE changed._reached > held._version"
        )

    def _rows_and_hash(self) -> str:
        return f"SELECT {self._columns()}, _hash FROM {self.rows} FINAL {_TIMES}"

    def _hash(self) -> str:
        """What tells a row from another one: its values, as one text that cannot be that of others."""
        values = ", ".join(f"source.{quoted(column.name)}" for column in self.shape.columns)
        return f"reinterpretAsUInt128(sipHash128(toString(tuple({values}))))"

    def _staged_structure(self) -> str:
        columns = [f"{name} {type_}" for name, type_ in STAGED]
        columns += [f"{prefix}{n} Nullable(String)" for prefix in "co" for n in range(len(self.shape.columns))]
        return ", ".join(columns)
