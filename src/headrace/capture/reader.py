"""The thread that reads the replication stream, answers the server, and reconnects.

It decodes nothing, so that nothing slow can keep it from answering: a server that hears nothing for
`wal_sender_timeout` ends the connection. While the buffer is full it stops reading, not answering. It confirms only
what `confirm` was told, never what it has merely received.
"""

from __future__ import annotations

import contextlib
import random
import select
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from struct import Struct

from headrace.capture.buffer import Buffer
from headrace.capture.connection import (
    Lost,
    Refused,
    SlotAddress,
    Stream,
    open_stream,
    parse_server_error,
    raise_server_error,
)
from headrace.capture.framing import HEAD_BYTES
from headrace.capture.pgoutput import lsn_text
from headrace.errors import Error
from headrace.telemetry import logger

log = logger(__name__)

_STATUS = Struct(">cQQQqB")
_KEEPALIVE = Struct(">cQqB")
_SLOT_IN_USE, _NOT_READY, _UNDEFINED = "55006", "55000", "42704"
_BACKOFF_S = (0.1, 5.0)
_SILENCE_MAX_S = 300.0  # the server answers every status; a proxy can hold a dead connection open (supabase/etl#510)
_GATHER_S = 0.0002
"""While messages follow each other closely they are read together: the server sends each by itself, and waking up for
every one costs both sides more than the message. A message after a pause is read at once."""
_DENSE_BYTES, _FRAME_BYTES = 4 << 10, 128 << 10
"""While so much comes in every `_GATHER_S`, so much is read before its messages are looked at."""


class Reader:
    """One replication stream into one buffer, from `start` until `stop`.

    `on_news` is called from the thread when there may be something to take. `status_interval_s` is how often the
    server hears from us at least. `takeover_s` is how long a slot may be held by a connection that we lost.
    """

    def __init__(
        self,
        *,
        address: SlotAddress,
        buffer: Buffer,
        on_news: Callable[[], None],
        status_interval_s: float,
        takeover_s: float,
    ) -> None:
        self._address = address
        self._buffer = buffer
        self._on_news = on_news
        self._status_interval_s = status_interval_s
        self._takeover_s = takeover_s
        self._thread = threading.Thread(target=self._run, name="headrace capture", daemon=True)
        self._waker, self._woken = socket.socketpair()
        self._waker.setblocking(False)
        self._woken.setblocking(False)
        self._stopping = threading.Event()
        self._status_due = 0.0
        self.resume_lsn = 0
        self.confirmed_lsn = 0
        self._server_lsn = 0
        self.connected = False
        self.trouble = ""
        self.heard_at = time.monotonic()
        self.failure: Refused | Error | None = None
        self._again = False
        self.further: tuple[str, ...] = ()

    def start(self, *, resume_lsn: int, confirmed_lsn: int) -> None:
        """Begin to read transactions that commit at or behind `resume_lsn`."""
        self.resume_lsn, self.confirmed_lsn = resume_lsn, confirmed_lsn
        self._thread.start()

    def stop(self) -> None:
        """End the connection and the thread. Waits for it; call it from another thread."""
        self._stopping.set()
        self.wake()
        if self._thread.ident is not None:
            self._thread.join()
        self._waker.close()
        self._woken.close()

    def read_also(self, publication: str) -> None:
        """Read a further publication too, by a new connection: one that was there before all that is not handed out."""
        self._address = replace(self._address, further=(publication,))
        self._again = True
        self.wake()

    def confirm(self, lsn: int) -> None:
        """Everything before `lsn` is durable. Tells the server soon."""
        if lsn > self.confirmed_lsn:
            self.confirmed_lsn = lsn
            self._status_due = 0.0
            self.wake()

    @property
    def received_lsn(self) -> int:
        """The end of what the server has sent, or said it has nothing to send before."""
        return max(self._buffer.received_lsn, self._server_lsn, self.confirmed_lsn)

    def wake(self) -> None:
        """Something changed that the thread should look at: memory is free, or a confirmation is due."""
        with contextlib.suppress(BlockingIOError, OSError):
            self._waker.send(b"\0")

    def _run(self) -> None:
        attempt = 0
        lost_at = time.monotonic()
        while not self._stopping.is_set():
            heard_at = self.heard_at
            try:
                self._read_one_connection()
            except Lost as error:
                self.trouble = str(error).strip()
            except Refused as error:
                self.trouble = str(error).strip()
                if error.sqlstate != _SLOT_IN_USE or time.monotonic() - lost_at > self._takeover_s:
                    self.failure = error
            except Error as error:
                self.failure = error
            except Exception as error:
                log.exception("capture_reader_failed")
                self.failure = Refused("", f"{type(error).__name__}: {error}")
            if self.connected or self.heard_at != heard_at:
                attempt, lost_at = 0, time.monotonic()
            self.connected = False
            self._on_news()
            if self.failure is not None:
                return
            attempt += 1
            self._back_off(attempt)

    def _back_off(self, attempt: int) -> None:
        if self._stopping.is_set():
            return
        delay_s = min(_BACKOFF_S[0] * 2 ** min(attempt - 1, 10), _BACKOFF_S[1]) * random.uniform(0.5, 1)
        log.warning("capture_connection_lost", reason=self.trouble, attempt=attempt, retry_in_s=round(delay_s, 2))
        self._stopping.wait(delay_s)

    def _read_one_connection(self) -> None:
        self._again = False
        address = self._address
        stream = open_stream(address, start_lsn=self.resume_lsn)
        try:
            self.further = address.further
            self._buffer.restart()
            self._server_lsn = 0
            self.heard_at, self._status_due, self.connected, self.trouble = time.monotonic(), 0.0, True, ""
            log.info("capture_connected", slot=self._address.slot, resume=lsn_text(self.resume_lsn))
            self._pump(stream)
        finally:
            stream.close()

    def _pump(self, stream: Stream) -> None:
        poll = select.poll()
        poll.register(self._woken, select.POLLIN)
        reading, read_at = False, 0.0
        while not self._stopping.is_set():
            if self._again:
                raise Lost("a further publication is read from here on")
            self._send_status(stream)
            space = self._buffer.space()
            if (space is not None) != reading:
                reading = space is not None
                poll.register(stream.fileno(), select.POLLIN) if reading else poll.unregister(stream.fileno())
                if not reading:
                    self._on_news()
            pending = reading and stream.pending
            timeout_s = 0.0 if pending else max(0.0, self._status_due - time.monotonic())
            ready = {fileno for fileno, _ in poll.poll(timeout_s * 1000)}
            if self._woken.fileno() in ready:
                with contextlib.suppress(BlockingIOError):
                    self._woken.recv(4096)
            if space is not None and (pending or stream.fileno() in ready):
                now = time.monotonic()
                if now - read_at < _GATHER_S:
                    time.sleep(_GATHER_S)
                read_at = time.monotonic()
                self._receive(stream, space)
            elif time.monotonic() - self.heard_at > _SILENCE_MAX_S and space is not None:
                raise Lost(f"the server was silent for {_SILENCE_MAX_S:.0f} s")

    def _receive(self, stream: Stream, space: memoryview) -> None:
        count = stream.receive(space)
        if not count:
            return
        dense = count >= _DENSE_BYTES
        while dense and count < min(_FRAME_BYTES, len(space)):
            time.sleep(_GATHER_S)
            more = stream.receive(space[count:])
            dense = more >= _DENSE_BYTES
            count += more
        self.heard_at = time.monotonic()
        for message in self._buffer.received(count, self._heed):
            self._answer(message)
        self._send_status(stream)
        if self._buffer.worth_taking:
            self._on_news()

    def _heed(self, message: memoryview) -> None:
        """From 18 on a missing publication ends nothing: the server warns, and leaves the changes out."""
        if bytes(message[:1]) == b"N":
            sqlstate, text = parse_server_error(bytes(message[HEAD_BYTES:]))
            names = (self._address.publication, *self._address.further)
            if sqlstate == _NOT_READY and any(name in text for name in names):
                raise Refused(_UNDEFINED, text)

    def _answer(self, message: memoryview) -> None:
        """Anything but WAL data: keepalives, errors, notices."""
        kind, body = bytes(message[:1]), bytes(message[HEAD_BYTES:])
        if kind == b"d" and len(body) == _KEEPALIVE.size and body[:1] == b"k":
            _, end_lsn, _, wants_answer = _KEEPALIVE.unpack(body)
            self._server_lsn = max(self._server_lsn, end_lsn)
            self._buffer.nothing_before(end_lsn)
            if wants_answer:
                self._status_due = 0.0
        elif kind == b"E":
            raise_server_error(*parse_server_error(body))
        elif kind in (b"c", b"C"):
            raise Lost("the server ended the stream")
        elif kind not in (b"N", b"S", b"A"):
            raise Refused(
                "08P01", f"a message of kind {kind!r} and {len(body)} bytes is no part of a replication stream"
            )

    def _send_status(self, stream: Stream) -> None:
        """Say how far we are when it is due, and ask for an answer, so that silence means something."""
        if time.monotonic() < self._status_due:
            return
        self._status_due = time.monotonic() + self._status_interval_s
        clock = int((time.time() - 946_684_800) * 1_000_000)
        stream.send(_STATUS.pack(b"r", self.received_lsn, self.confirmed_lsn, self.confirmed_lsn, clock, 1))
