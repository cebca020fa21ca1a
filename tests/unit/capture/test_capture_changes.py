"""Changes that PostgreSQL does not send today are set aside or Corrupt, and never half read."""

from __future__ import annotations

import pytest
from support.pgoutput_log import BINARY, UNCHANGED, Change, Log, Table, Transaction, assemble, put, wire

from headrace.bus.batch import Batch
from headrace.capture.assembly import Assembler
from headrace.capture.buffer import Buffer
from headrace.capture.personal import Personal
from headrace.errors import Corrupt
from headrace.events.position import START, Position

TEXT = 25
KEYED = Table(1, "keyed", (("id", TEXT), ("note", TEXT)), "d", 1)
FULL = Table(2, "whole", (("id", TEXT), ("note", TEXT)), "f")


def decode(*changes: Change) -> Batch:
    (batch,) = assemble(wire(Log([Transaction(changes, 8, 16)]).messages()), 10_000)
    return batch


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (Change(KEYED, "I", ("1", BINARY)), "Column note came without its value."),
        (Change(KEYED, "U", (BINARY, "a")), "Column id came without its value."),
        (Change(KEYED, "D", old=(BINARY, None)), "Column id of the old row came without its value."),
        (Change(FULL, "U", ("1", "a"), old=("1", UNCHANGED), whole=True), "Column note of the old row came without"),
        (Change(FULL, "D", old=("1", None)), "The old row is only a key"),
    ],
)
def test_a_change_that_cannot_be_read_is_set_aside_alone(change: Change, reason: str) -> None:
    batch = decode(Change(change.table, "I", ("1", "x")), change, Change(change.table, "I", ("2", "y")))

    (undecodable,) = batch.undecodable
    assert undecodable.reason.startswith(reason)
    assert (undecodable.relation, undecodable.position) == (change.table.relation, Position(8, 1))
    assert undecodable.raw[:1].decode() == change.kind
    assert batch.changes[change.table.relation].rows["_ordinal"].to_pylist() == [0, 2]


@pytest.mark.parametrize(
    ("kind", "tuples"),
    [
        (b"I", b"K\0\1t\0\0\0\1aN\0\1t\0\0\0\1a"),
        (b"I", b"N\0\1t\0\0\0\1aN\0\1t\0\0\0\1a"),
        (b"U", b"K\0\1t\0\0\0\1a"),
        (b"U", b"?\0\1t\0\0\0\1a"),
        (b"U", b"K\0\1t\0\0\0\1aN"),
        (b"U", b"K\0\2t\0\0\0\1anN\0\1t\0\0\0\1a"),
        (b"D", b"N\0\1t\0\0\0\1a"),
        (b"D", b"K\0\1t\0\0\0\1aN\0\1t\0\0\0\1a"),
        (b"D", b""),
    ],
)
def test_tuples_that_do_not_belong_to_their_kind_are_corrupt(kind: bytes, tuples: bytes) -> None:
    table = Table(1, "t", (("c0", TEXT),))
    messages = Log([Transaction((Change(table, "I", ("a",)),), 8, 16)]).messages()
    at = next(index for index, message in enumerate(messages) if message[:1] == b"I")
    messages[at] = kind + (1).to_bytes(4, "big") + tuples

    with pytest.raises(Corrupt, match="A change of the replication stream cannot be read"):
        assemble(wire(messages), 10_000)


def test_a_table_described_again_after_a_reconnect_is_no_reason_to_end_a_batch() -> None:
    buffer = Buffer(bytes_max=1 << 20)
    assembler = Assembler(after=START, rows_max=100, bytes_max=1 << 20, append_only=[])
    log = Log([Transaction((Change(KEYED, "I", (str(lsn), None)),), lsn, lsn + 8) for lsn in (8, 16, 24)])

    def receive(messages: list[bytes]) -> Batch | None:
        put(buffer, wire(messages))
        for received in buffer.take().messages:
            assembler.feed(received)
        return assembler.next()

    assert receive(log.messages()[:8]) is not None
    buffer.restart()
    assembler.restart()
    batch = receive(log.messages(start_lsn=16))

    assert batch is not None
    assert (batch.transactions, batch.rows, batch.last) == (2, 2, Position(31))


def test_what_was_personal_is_withheld_also_when_nothing_is_declared_any_more() -> None:
    """An empty declaration passed for none at all, and what was known of the table was not asked."""
    personal = Personal({})
    personal.know(KEYED.oid, {"note": "hash"})
    buffer = Buffer(bytes_max=1 << 20)
    assembler = Assembler(after=START, rows_max=100, bytes_max=1 << 20, append_only=[], personal=personal)
    put(buffer, wire(Log([Transaction((Change(KEYED, "I", ("1", "ann")),), 8, 16)]).messages()))
    for received in buffer.take().messages:
        assembler.feed(received)
    batch = assembler.next()

    assert batch is not None
    changes = batch.changes[KEYED.relation]
    assert "note" in changes.withheld
    assert changes.rows["new_1"].to_pylist() == [None]
