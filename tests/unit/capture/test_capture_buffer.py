"""The receive buffer: bounded, and free again once what it holds is decoded."""

from __future__ import annotations

import struct

from headrace.capture.buffer import Buffer
from headrace.capture.pgoutput import Messages

KIB = 1 << 10


def wal_data(payload: bytes, lsn: int = 0) -> bytes:
    return b"d" + struct.pack(">I", len(payload) + 29) + b"w" + struct.pack(">QQq", lsn, lsn, 0) + payload


def put(buffer: Buffer, piece: bytes) -> int:
    """How many bytes of `piece` the buffer took before it was full."""
    done = 0
    while done < len(piece) and (space := buffer.space()) is not None:
        count = min(len(space), len(piece) - done)
        space[:count] = piece[done : done + count]
        buffer.received(count)
        done += count
    return done


def payloads(messages: list[Messages]) -> list[bytes]:
    return [part.raw(i) for part in messages for i in range(len(part))]


def test_memory_is_bounded_and_comes_back() -> None:
    buffer = Buffer(bytes_max=128 * KIB)
    message = wal_data(b"I" + bytes(1000))

    took = put(buffer, message * 1000)
    assert took < 128 * KIB <= len(message) * 1000
    assert buffer.full
    assert buffer.bytes <= 128 * KIB
    taken = buffer.take().messages
    assert sum(map(len, taken)) == took // len(message)
    buffer.keep({id(part.data) for part in taken})
    assert buffer.space() is None
    buffer.keep(set())
    assert buffer.bytes <= 16 * KIB
    assert buffer.space() is not None


def test_a_message_cut_anywhere_arrives_whole() -> None:
    message = wal_data(b"I" + bytes(range(256)))
    for cut in range(1, len(message)):
        buffer = Buffer(bytes_max=128 * KIB)
        put(buffer, message[:cut])
        assert payloads(buffer.take().messages) == []
        put(buffer, message[cut:])
        assert payloads(buffer.take().messages) == [message[30:]]


def test_a_message_larger_than_the_limit_passes_when_it_is_alone() -> None:
    buffer = Buffer(bytes_max=64 * KIB)
    large = wal_data(b"I" + bytes(300 * KIB))

    assert put(buffer, wal_data(b"B1") + large[:100]) == len(wal_data(b"B1")) + 100
    assert put(buffer, large[100:]) == len(large) - 100

    assert [len(payload) for payload in payloads(buffer.take().messages)] == [2, 300 * KIB + 1]
    buffer.keep(set())
    put(buffer, wal_data(b"C2"))
    buffer.keep(set())
    assert buffer.bytes <= 64 * KIB


def test_a_new_connection_forgets_what_nobody_took() -> None:
    buffer = Buffer(bytes_max=128 * KIB)
    put(buffer, wal_data(b"B1"))
    buffer.nothing_before(77)
    before = buffer.take()
    put(buffer, wal_data(b"I2") + wal_data(b"C3")[:20])

    buffer.restart()
    put(buffer, wal_data(b"B4"))

    after = buffer.take()
    assert (before.idle_lsn, after.idle_lsn) == (77, 0)
    assert after.epoch == before.epoch + 1
    assert payloads(after.messages) == [b"B4"]


def test_other_messages_are_given_to_the_caller() -> None:
    buffer = Buffer(bytes_max=128 * KIB)
    keepalive = b"d" + struct.pack(">I", 22) + b"k" + bytes(17)
    raw = wal_data(b"B1") + keepalive + wal_data(b"C2", lsn=9) + b"N" + struct.pack(">I", 4)
    space = buffer.space()
    assert space is not None
    space[: len(raw)] = raw

    others = buffer.received(len(raw))

    assert [bytes(other) for other in others] == [keepalive, b"N" + struct.pack(">I", 4)]
    assert payloads(buffer.take().messages) == [b"B1", b"C2"]
    assert buffer.received_lsn == 9
