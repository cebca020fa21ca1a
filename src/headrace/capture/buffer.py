"""The bounded memory between the thread that receives and whoever decodes.

Bytes lie in segments and stay where they were received until everything in their segment has been decoded; only the
beginning of a message that a segment cannot finish is copied into the next. When the segments in use reach the limit,
there is no space, so the reader stops and TCP holds the server back. A single message larger than the limit still gets
its own segment, alone. Knows the wire format, and nothing of what messages mean.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from headrace.capture.framing import HEAD_BYTES, WAL_HEAD_BYTES, Bytes, find_messages, message_bytes
from headrace.capture.pgoutput import COMMIT, Messages

_SEGMENT_BYTES = (16 << 10, 4 << 20)
_SEGMENTS = 8
_WAL_END = HEAD_BYTES + 1 + 8
_MESSAGES_WORTH_TAKING = 4096


def _ignore(message: memoryview) -> None:
    """Nothing is to be heeded."""


class Taken(NamedTuple):
    """Messages, the number of the connection they came by, and up to where the server had nothing more to send when
    they were all it had sent; 0 when it did not say.
    """

    epoch: int
    messages: list[Messages]
    idle_lsn: int


class Buffer:
    """Received messages that nobody has decoded yet, `bytes_max` at most.

    `space` and `received` are for the receiving thread, `take` and `keep` for the decoding one.
    """

    def __init__(self, *, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._segment_bytes = min(max(bytes_max // _SEGMENTS, _SEGMENT_BYTES[0]), _SEGMENT_BYTES[1])
        self._lock = threading.Lock()
        self._segments: dict[int, Bytes] = {}
        self._waiting: list[Messages] = []
        self.untaken = 0
        self.untaken_bytes = 0
        self._epoch = 0
        self._idle_lsn = 0
        self._worth_taking = False
        self._unlimited = False
        self._full = False
        self.received_lsn = 0
        self._current: Bytes = np.empty(0, np.uint8)
        self._framed = 0  # up to here the current segment's messages are known
        self._filled = 0  # up to here it holds received bytes

    @property
    def bytes(self) -> int:
        """Memory in use, in whole segments."""
        with self._lock:
            return self._bytes_in_use()

    @property
    def full(self) -> bool:
        """The receiving thread waits for memory."""
        return self._full

    @property
    def worth_taking(self) -> bool:
        """A transaction is complete, or much has come, or there will be no more until something is taken."""
        return self._worth_taking or self._full

    def lift_limit(self, lifted: bool) -> None:
        """Recovery of a planned batch must see its end, however far that is."""
        self._unlimited = lifted

    def restart(self) -> None:
        """Forget what nobody took: a new connection sends it again."""
        with self._lock:
            self._epoch += 1
            self._waiting.clear()
            self.untaken = self.untaken_bytes = 0
            self._idle_lsn = 0
            self._worth_taking = True
            self._current = np.empty(0, np.uint8)
            self._framed = self._filled = 0
            self._full = False

    def space(self) -> memoryview | None:
        """Where to put the next bytes; None while the buffer is full."""
        needed = message_bytes(self._current, self._framed, self._filled) or HEAD_BYTES
        if self._framed + needed > len(self._current) and not self._begin_segment(needed):
            return None
        return self._current.data[self._filled :]

    def received(self, count: int, heed: Callable[[memoryview], None] = _ignore) -> list[memoryview]:
        """`count` bytes were put into the space. Returns the complete messages that are no WAL data, heads included.

        `heed` sees those before anybody can take what came with them; when it raises, nobody can.
        """
        data = self._current
        self._filled += count
        starts, ends, spans, self._framed = find_messages(data, self._framed, self._filled)
        others = [data.data[start:end] for start, end in spans]
        for message in others:
            heed(message)
        if len(starts):
            messages = Messages(data, starts + WAL_HEAD_BYTES, ends)
            at = int(starts[-1]) + _WAL_END
            self.received_lsn = int.from_bytes(data[at : at + 8].tobytes(), "big")
            complete = bool((data[messages.starts] == COMMIT).any())
            with self._lock:
                self._waiting.append(messages)
                self.untaken += len(messages)
                self.untaken_bytes += int(ends[-1] - starts[0])
                self._worth_taking |= complete or self.untaken >= _MESSAGES_WORTH_TAKING
        return others

    def nothing_before(self, lsn: int) -> None:
        """The server says that it has sent everything before `lsn`."""
        with self._lock:
            self._idle_lsn = max(self._idle_lsn, lsn)
            self._worth_taking = True

    def take(self) -> Taken:
        """All messages that are waiting, in as few pieces as can be."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
            self.untaken, self.untaken_bytes, self._worth_taking = 0, 0, False
            return Taken(self._epoch, _join(waiting), self._idle_lsn)

    def keep(self, in_use: set[int]) -> None:
        """Free every segment but those whose ids are `in_use`, those not taken yet, and the current one."""
        with self._lock:
            in_use = in_use | {id(messages.data) for messages in self._waiting} | {id(self._current)}
            kept = {key: segment for key, segment in self._segments.items() if key in in_use}
            self._full = self._full and len(kept) == len(self._segments)
            self._segments = kept

    def _bytes_in_use(self) -> int:
        return sum(map(len, self._segments.values()))

    def _begin_segment(self, needed: int) -> bool:
        size = max(self._segment_bytes, needed)
        with self._lock:
            others = self._bytes_in_use() - len(self._current)
            self._full = others > 0 and others + len(self._current) + size > self._bytes_max and not self._unlimited
            if self._full:
                return False
            segment = np.empty(size, np.uint8)
            begun = self._filled - self._framed
            segment[:begun] = self._current[self._framed : self._filled]
            self._segments[id(segment)] = self._current = segment
            self._framed, self._filled = 0, begun
            self._worth_taking |= self.untaken > 0
            return True


def _join(waiting: list[Messages]) -> list[Messages]:
    """Neighbours in the same segment become one, so that decoding touches each segment once."""
    groups: list[list[Messages]] = []
    for messages in waiting:
        if groups and groups[-1][0].data is messages.data:
            groups[-1].append(messages)
        else:
            groups.append([messages])
    return [_concatenate(group) if len(group) > 1 else group[0] for group in groups]


def _concatenate(group: list[Messages]) -> Messages:
    starts = np.concatenate([messages.starts for messages in group])
    return Messages(group[0].data, starts, np.concatenate([messages.ends for messages in group]))
