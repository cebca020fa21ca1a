"""What goes into pgoutput comes out as batches: whatever the logs, the interleaving, the limits and the splits."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support import pgoutput_log
from support.pgoutput_log import NO_LIMIT, Change, Log, Table, Transaction, encode_change, put, wire

from headrace.bus.batch import Batch, Relation
from headrace.capture.assembly import Assembler
from headrace.capture.buffer import Buffer
from headrace.capture.framing import find_messages
from headrace.errors import Corrupt
from headrace.events.position import START, Position

TEXT, JSONB, BIGINT, BOOLEAN, BYTEA = 25, 3802, 20, 16, 17
LOGS = [Relation("public", name) for name in ("table0", "table1", "table2", "t")]
assemble = partial(pgoutput_log.assemble, append_only=LOGS)
SETTINGS = settings(deadline=None, max_examples=40)
SPLITS = st.integers(30, 700)


def rows_of(batches: Sequence[Batch]) -> list[tuple[Relation, Position, tuple[Any, ...]]]:
    rows = []
    for batch in batches:
        found = []
        for relation, table in batch.inserts.items():
            for row in table.to_pylist():
                *values, lsn, ordinal = row.values()
                found.append((relation, Position(lsn, ordinal), tuple(values)))
        rows += sorted(found, key=lambda row: row[1])
    return rows


VALUES: dict[int, Callable[[], st.SearchStrategy[Any]]] = {
    TEXT: lambda: st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20),
    JSONB: lambda: st.sampled_from(["{}", '{"a": "d\\u0000"}', '{"ä": [1, 2, {"b": null}]}']),
    BIGINT: lambda: st.integers(-(2**63), 2**63 - 1),
    BOOLEAN: st.booleans,
    BYTEA: lambda: st.binary(max_size=12),
}


@st.composite
def tables(draw: st.DrawFn) -> list[Table]:
    found = []
    for number in range(draw(st.integers(1, 3))):
        oids = draw(st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=5))
        found.append(Table(16_400 + number, f"table{number}", tuple((f"c{i}", oid) for i, oid in enumerate(oids))))
    return found


@st.composite
def logs(draw: st.DrawFn, *, inserts_only: bool = False) -> Log:
    known = draw(tables())
    log, lsn = Log(), draw(st.sampled_from([8, 0x64_00_00_00_1E_77, 2**40]))
    for count in draw(st.lists(st.integers(0, 8), min_size=1, max_size=5)):
        changes = []
        for _ in range(count):
            table = draw(st.sampled_from(known))
            kind = "I" if inserts_only else draw(st.sampled_from("IIIIUDT"))
            row = tuple(draw(st.none() | VALUES[oid]()) for _, oid in table.columns) if kind == "I" else None
            changes.append(Change(table, kind, row))
        end_lsn = lsn + draw(st.sampled_from([8, 48]))
        log.transactions.append(Transaction(tuple(changes), lsn, end_lsn))
        lsn = end_lsn + draw(st.sampled_from([0, 0, 8, 64]))
    return log


@given(log=logs(), split=SPLITS, rows_max=st.integers(1, 12), bytes_max=st.integers(1, 2000))
@SETTINGS
def test_every_change_comes_out_once_in_order(log: Log, split: int, rows_max: int, bytes_max: int) -> None:
    batches = assemble(wire(log.messages()), split, rows_max=rows_max, bytes_max=bytes_max)

    assert rows_of(batches) == log.rows()
    refused = [(u.position, u.relation, u.raw) for batch in batches for u in batch.undecodable]
    assert refused == [(p, c.table.relation, encode_change(c)) for c, p in log.changes() if c.kind != "I"]
    positions = [place for batch in batches for place in (batch.first, batch.last)]
    assert positions == sorted(positions)
    assert all(batch.rows <= rows_max for batch in batches)


@given(log=logs(), split=SPLITS, rows_max=st.integers(1, 12))
@SETTINGS
def test_a_batch_ends_inside_a_transaction_only_when_that_is_larger(log: Log, split: int, rows_max: int) -> None:
    batches = assemble(wire(log.messages()), split, rows_max=rows_max)

    ends = {transaction.end_lsn: transaction for transaction in log.transactions}
    sizes = {transaction.lsn: len(transaction.changes) for transaction in log.transactions}
    for batch in batches:
        if batch.confirm_lsn:
            assert batch.last == Position(batch.confirm_lsn - 1)
            assert batch.confirm_lsn in ends
        else:
            assert batch.rows + len(batch.undecodable) == rows_max
            assert sizes[batch.last.lsn] >= rows_max
            assert batch.first.lsn == batch.last.lsn
    assert sum(batch.transactions for batch in batches) <= len(log.transactions)


@given(log=logs(inserts_only=True), split=SPLITS, data=st.data())
@SETTINGS
def test_resuming_at_any_position_skips_exactly_what_was_handed_out(log: Log, split: int, data: st.DataObject) -> None:
    places = [place for _, place in log.changes()] + [Position(t.end_lsn - 1) for t in log.transactions]
    after = data.draw(st.sampled_from(places))

    batches = assemble(wire(log.messages(start_lsn=after.lsn)), split, after=after, rows_max=3)

    assert rows_of(batches) == log.rows(after)


@given(log=logs(), split=SPLITS, rows_max=st.integers(1, 12))
@SETTINGS
def test_a_planned_batch_is_rebuilt_from_its_bounds_whatever_the_limits(log: Log, split: int, rows_max: int) -> None:
    after = START
    for planned in assemble(wire(log.messages()), split, rows_max=rows_max):
        (rebuilt,) = assemble(wire(log.messages(after.lsn)), split, after=after, rows_max=1, last=planned.last)
        assert rebuilt == planned
        after = planned.last


@given(log=logs(inserts_only=True), data=st.data())
@SETTINGS
def test_a_planned_end_that_the_log_does_not_have_is_corrupt(log: Log, data: st.DataObject) -> None:
    assume(len(log.rows()) > 1 and len(log.transactions) > 1)
    inside = data.draw(st.sampled_from(log.transactions[:-1]))
    missing = Position(inside.lsn, len(inside.changes) + 1)

    with pytest.raises(Corrupt, match="has no place"):
        assemble(wire(log.messages()), 64, last=missing)


@given(log=logs(inserts_only=True), cut=st.integers(0, 60))
@SETTINGS
def test_a_new_connection_in_the_middle_repeats_nothing(log: Log, cut: int) -> None:
    buffer = Buffer(bytes_max=1 << 20)
    assembler = Assembler(after=START, rows_max=2, bytes_max=NO_LIMIT, append_only=LOGS)
    batches = []
    messages = log.messages()
    for piece in (messages[:cut], None, messages):
        if piece is None:
            buffer.restart()
            assembler.restart()
            continue
        put(buffer, wire(piece))
        for received in buffer.take().messages:
            assembler.feed(received)
        while batch := assembler.next():
            batches.append(batch)

    assert rows_of(batches) == log.rows()


@given(log=logs(inserts_only=True), split=SPLITS)
@SETTINGS
def test_a_table_with_a_new_shape_begins_a_new_batch(log: Log, split: int) -> None:
    table = log.transactions[0].changes[0].table if log.transactions[0].changes else Table(1, "t", (("c0", TEXT),))
    wider = Table(table.oid, table.name, (*table.columns, ("added", BIGINT)))
    last = log.transactions[-1]
    row = (None,) * len(table.columns)
    changes = (Change(table, row=row), Change(wider, row=(*row, 1)), Change(wider, row=(*row, 2)))
    log.transactions.append(Transaction(changes, last.end_lsn, last.end_lsn + 8))

    batches = assemble(wire(log.messages()), split)

    assert rows_of(batches) == log.rows()
    for batch in batches:
        for found in batch.inserts.values():
            assert len({len(row) for row in found.to_pylist()}) == 1
    assert batches[-1].first == Position(last.end_lsn, 1)


@given(messages=st.lists(st.binary(min_size=1, max_size=60), max_size=20))
@SETTINGS
def test_random_messages_are_corrupt_or_nothing(messages: list[bytes]) -> None:
    with contextlib.suppress(Corrupt):
        assemble(wire(messages), 10_000)


@given(log=logs(), flips=st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 255)), min_size=1, max_size=4))
@SETTINGS
def test_damaged_messages_never_crash(log: Log, flips: list[tuple[int, int]]) -> None:
    messages = log.messages()
    for place, flip in flips:
        at = place % len(messages)
        damaged = bytearray(messages[at])
        damaged[place % len(damaged)] ^= flip
        messages[at] = bytes(damaged)
    try:
        for batch in assemble(wire(messages), 10_000, rows_max=5):
            for table in batch.inserts.values():
                table.validate(full=True)
    except Corrupt:
        pass


@given(
    bodies=st.lists(st.tuples(st.sampled_from(b"ddddkEN"), st.binary(max_size=40)), max_size=30),
    split=st.integers(1, 100),
)
@SETTINGS
def test_messages_are_framed_as_a_plain_loop_would(bodies: list[tuple[int, bytes]], split: int) -> None:
    raw = b"".join(struct.pack(">BI", kind, len(body) + 4) + body for kind, body in bodies)
    data = np.frombuffer(raw, np.uint8)
    expected, at = [], 0
    for _, body in bodies:
        expected.append(at)
        at += 5 + len(body)

    found: list[int] = []
    at = 0
    for end in [*range(split, len(raw), split), len(raw)]:
        starts, ends, others, at = find_messages(data, at, end)
        found += sorted([*starts.tolist(), *(start for start, _ in others)])
        assert sorted([*ends.tolist(), *(stop for _, stop in others)])[-1:] in ([], [at])

    assert found == expected
    assert at == len(raw)
