"""A stream that cannot be one is Corrupt, with the byte or the place that shows it."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from headrace.capture.pgoutput import Messages
from headrace.capture.places import Placer
from headrace.errors import Corrupt
from headrace.events.position import START


def begin(lsn: int) -> bytes:
    return b"B" + struct.pack(">QqI", lsn, 0, 1)


def commit(lsn: int, end_lsn: int) -> bytes:
    return b"C" + struct.pack(">BQQq", 0, lsn, end_lsn, 0)


INSERT = b"I" + struct.pack(">I", 1) + b"N\0\0"


def place(*messages: bytes) -> None:
    ends = np.cumsum([len(message) for message in messages])
    starts = np.append(0, ends[:-1])
    Placer(append_only=[]).place(Messages(np.frombuffer(b"".join(messages), np.uint8), starts, ends), after=START)


def test_an_unknown_kind_names_the_byte_and_the_place() -> None:
    placer = Placer(append_only=[])
    known = begin(0x16B3748) + commit(0x16B3748, 0x16B3780)
    placer.place(Messages(np.frombuffer(known, np.uint8), np.array([0, 21]), np.array([21, 47])), after=START)

    with pytest.raises(Corrupt, match="0x53") as caught:
        placer.place(Messages(np.frombuffer(b"S??", np.uint8), np.array([0]), np.array([3])), after=START)

    assert "0/16B3748" in caught.value.detail


@pytest.mark.parametrize(
    "messages",
    [
        (begin(8), begin(16)),
        (commit(8, 16),),
        (INSERT,),
        (begin(8), INSERT, commit(8, 16), INSERT),
        (begin(8), commit(16, 24)),
        (begin(16), commit(16, 24), begin(8), commit(8, 16)),
        (begin(8)[:-1],),
        (begin(8), commit(8, 16) + b"?"),
        (begin(8), b"I\0\0"),
        (begin(8), b"R\0\0"),
        (begin(8), b"T" + struct.pack(">IB", 3, 0)),
    ],
)
def test_a_stream_out_of_order_is_corrupt(messages: tuple[bytes, ...]) -> None:
    with pytest.raises(Corrupt):
        place(*messages)
