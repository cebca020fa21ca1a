"""Finding a COPY's messages in received bytes, wherever the bytes were cut."""

from __future__ import annotations

import numpy as np

from headrace.capture.connection import protocol_message
from headrace.capture.framing import HEAD_BYTES, find_copy_data

# The length of the third is 0x6400, whose bytes look like the head of a message; that of the fourth needs four bytes.
ROWS = [b"1\td\n", b"\n", b"d" * (0x6400 - 5) + b"\n", b"d" * (1 << 24) + b"\n", b"2\tx\n"]


def test_rows_are_found_between_other_messages() -> None:
    stream = protocol_message(b"H", b"\0\0\1\0\0") + protocol_message(b"d", ROWS[0])
    stream += protocol_message(b"N", b"Md\0\0\0\0\0") + b"".join(protocol_message(b"d", row) for row in ROWS[1:])
    stream += protocol_message(b"c", b"") + protocol_message(b"Z", b"I")
    data = np.frombuffer(stream, np.uint8)

    found = find_copy_data(data, 0, len(data))

    assert [stream[a + HEAD_BYTES : b] for a, b in zip(found.starts, found.ends, strict=True)] == ROWS
    assert [chr(stream[begin]) for begin, _ in found.others] == ["H", "N", "c", "Z"]
    assert found.rest == len(data)


def test_an_incomplete_row_is_left_at_every_cut() -> None:
    stream = b"".join(protocol_message(b"d", row) for row in [*ROWS[:2], *ROWS[:2]])
    data = np.frombuffer(stream, np.uint8)
    ends = [0, *(int(end) for end in find_copy_data(data, 0, len(data)).ends)]
    for cut in range(len(data) + 1):
        found = find_copy_data(data, 0, cut)
        assert found.rest == max(end for end in ends if end <= cut)
        assert [0, *found.ends] == [end for end in ends if end <= cut]
