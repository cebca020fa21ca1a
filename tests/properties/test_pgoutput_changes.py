"""Changes of mirrored tables come out whole and once, beside a log; truncations stand alone, whatever the limits."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from support import pgoutput_log
from support.pgoutput_log import UNCHANGED, Change, Log, Table, Transaction, encode_value, wire

from headrace.bus.batch import Batch
from headrace.errors import Corrupt
from headrace.events.position import START, Position

TEXT = 25
SETTINGS = settings(deadline=None, max_examples=60)
SPLITS = st.integers(30, 700)
LOG = Table(16_399, "log", (("c0", TEXT), ("c1", TEXT)))
assemble = partial(pgoutput_log.assemble, append_only=[LOG.relation])
Row = dict[str, Any]


def old_places(table: Table) -> list[int]:
    count = len(table.columns)
    return {"f": list(range(count)), "n": []}.get(
        table.identity, list(range(count if table.keys is None else table.keys))
    )


@st.composite
def tables(draw: st.DrawFn) -> list[Table]:
    found = [LOG]
    for number in range(draw(st.integers(1, 3))):
        count = draw(st.integers(1, 4))
        identity = draw(st.sampled_from("dfin"))
        keys = None if identity == "f" else draw(st.integers(1, count))
        columns = tuple((f"c{i}", TEXT) for i in range(count))
        found.append(Table(16_400 + number, f"mirrored{number}", columns, identity, keys))
    return found


VALUES = st.none() | st.text("aäd\\", max_size=8)


@st.composite
def changes(draw: st.DrawFn, known: Sequence[Table]) -> Change:
    table = draw(st.sampled_from(known))
    row = tuple(draw(st.lists(VALUES, min_size=len(table.columns), max_size=len(table.columns))))
    kinds = "I" if table.identity == "n" else "IIUUUDT"
    kind = draw(st.sampled_from("IT" if table is LOG else kinds))
    if kind == "I":
        return Change(table, "I", row)
    if kind == "T":
        others = draw(st.lists(st.sampled_from(known), max_size=2, unique=True))
        return Change(table, "T", others=tuple(other for other in others if other is not table))
    whole = table.identity == "f" or draw(st.integers(0, 9)) == 0  # a partition may send more than its root's identity
    places = range(len(table.columns)) if whole else old_places(table)
    old = tuple("old" + str(i) if i in places else None for i in range(len(table.columns)))
    if kind == "D":
        return Change(table, "D", old=old, whole=whole)
    unchanged = draw(st.lists(st.booleans(), min_size=len(row), max_size=len(row)))
    new: Any = tuple(UNCHANGED if left else value for value, left in zip(row, unchanged, strict=True))
    return Change(table, "U", new, old if table.identity == "f" or draw(st.booleans()) else None, whole)


@st.composite
def logs(draw: st.DrawFn) -> Log:
    known = draw(tables())
    log, lsn = Log(), draw(st.sampled_from([8, 2**40]))
    for _ in range(draw(st.integers(1, 5))):
        found = draw(st.lists(changes(known), max_size=8))
        if found and found[-1].table is not LOG and draw(st.booleans()):
            table = found[-1].table  # gets a new shape, and the transaction goes on with it
            columns = (*table.columns, (f"added{len(table.columns)}", TEXT))
            wider = Table(table.oid, table.name, columns, table.identity, table.keys)
            known = [wider if other is table else other for other in known]
            found.append(Change(wider, "I", (None,) * len(columns)))
            found += draw(st.lists(changes(known), max_size=4))
        end_lsn = lsn + 8
        log.transactions.append(Transaction(tuple(found), lsn, end_lsn))
        lsn = end_lsn + draw(st.sampled_from([0, 8]))
    return log


def expected_row(change: Change, position: Position) -> Row:
    """One row of `Changes`, as its docstring says."""
    width, places = len(change.table.columns), old_places(change.table)
    new = list(change.row or (None,) * width)
    for place in range(width):
        if new[place] is UNCHANGED and change.old is not None and (change.whole or place in places):
            new[place] = change.old[place]
    row: Row = {
        "_kind": ord(change.kind),
        "_lsn": position.lsn,
        "_ordinal": position.ordinal,
        "_xid": position.lsn & 0xFFFFFFFF,
        "_committed_at": datetime(2000, 1, 1, tzinfo=UTC) + timedelta(milliseconds=position.lsn),
        "_unchanged": [place for place in range(width) if new[place] is UNCHANGED],
    }
    row |= {f"new_{place}": None if new[place] is UNCHANGED else text(new[place]) for place in range(width)}
    row["_has_old"] = change.old is not None
    return row | {f"old_{place}": text(change.old[place]) if change.old else None for place in places}


def text(value: str | None) -> bytes | None:
    return None if value is None else encode_value(value)[5:]


def mirrored_rows(log: Log) -> list[tuple[str, Row]]:
    return [
        (change.table.name, expected_row(change, position))
        for change, position in log.changes()
        if change.kind != "T" and change.table.name != LOG.name
    ]


def truncations(log: Log) -> list[tuple[str, Position]]:
    return [
        (table.name, Position(position.lsn, position.ordinal + offset))
        for change, position in log.changes()
        if change.kind == "T"
        for offset, table in enumerate((change.table, *change.others))
        if table.name != LOG.name
    ]


def rows_of(batches: Sequence[Batch]) -> list[tuple[str, Row]]:
    rows = []
    for batch in batches:
        found = []
        for relation, changes in batch.changes.items():
            assert changes.definition.relation == relation
            changes.rows.validate(full=True)
            found += [(relation.name, row) for row in changes.rows.to_pylist()]
        rows += sorted(found, key=lambda row: (row[1]["_lsn"], row[1]["_ordinal"]))
    return rows


def truncated_in(batches: Sequence[Batch]) -> list[tuple[str, Position]]:
    return [(cut.definition.relation.name, cut.position) for batch in batches for cut in batch.truncated]


@given(log=logs(), split=SPLITS, rows_max=st.integers(1, 12), bytes_max=st.integers(1, 2000))
@SETTINGS
def test_every_change_of_a_mirrored_table_comes_once_in_order(
    log: Log, split: int, rows_max: int, bytes_max: int
) -> None:
    batches = assemble(wire(log.messages()), split, rows_max=rows_max, bytes_max=bytes_max)

    assert rows_of(batches) == mirrored_rows(log)
    assert truncated_in(batches) == truncations(log)
    positions = [place for batch in batches for place in (batch.first, batch.last)]
    assert positions == sorted(positions)
    in_log = [p for c, p in log.changes() if c.kind == "I" and c.table.name == LOG.name]
    assert sum(batch.rows for batch in batches) == len(mirrored_rows(log)) + len(in_log)


@given(log=logs(), split=SPLITS)
@SETTINGS
def test_truncations_stand_alone_and_everything_else_is_cut_only_there_or_at_a_new_shape(log: Log, split: int) -> None:
    batches = assemble(wire(log.messages()), split)

    for batch in batches:
        assert not (batch.truncated and batch.rows)
    inside = sum(batch.confirm_lsn == 0 for batch in batches)
    used = {table for change, _ in log.changes() for table in (change.table, *change.others)}
    new_shapes = len(used) - len({table.oid for table in used})
    assert inside <= 2 * sum(change.kind == "T" for change, _ in log.changes()) + new_shapes


@given(log=logs(), split=SPLITS, other_split=SPLITS, rows_max=st.integers(1, 12))
@SETTINGS
def test_a_planned_batch_is_rebuilt_row_by_row_however_it_is_received(
    log: Log, split: int, other_split: int, rows_max: int
) -> None:
    after = START
    for planned in assemble(wire(log.messages()), split, rows_max=rows_max):
        messages = wire(log.messages(after.lsn))
        assert assemble(messages, other_split, after=after, rows_max=1, last=planned.last) == [planned]
        after = planned.last


@given(log=logs(), flips=st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 255)), min_size=1, max_size=4))
@SETTINGS
def test_damaged_messages_never_crash(log: Log, flips: list[tuple[int, int]]) -> None:
    messages = log.messages()
    for place, flip in flips:
        at = place % len(messages)
        damaged = bytearray(messages[at])
        damaged[place % len(damaged)] ^= flip
        messages[at] = bytes(damaged)
    with contextlib.suppress(Corrupt):
        for batch in assemble(wire(messages), 10_000, rows_max=5):
            for found in batch.changes.values():
                found.rows.validate(full=True)
