"""A replication connection: libpq opens and authenticates it, and from START_REPLICATION on it is a stream of bytes.

Copying each message out of libpq costs 3.8 µs; a million messages are the whole CPU of a core. So without TLS the bytes
are read straight from the socket: the command itself is already sent past libpq, whose buffers are empty then and stay
empty. With TLS only libpq can read the socket, and its messages are put back into the same form. Nothing here knows
what a message means, and nothing waits without a limit.
"""

from __future__ import annotations

import os
import select
import socket
import time
from dataclasses import dataclass
from struct import Struct
from typing import NoReturn, Protocol

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from headrace.capture.column_types import SESSION
from headrace.capture.framing import HEAD_BYTES
from headrace.capture.origin import Origin, refuse_other
from headrace.events.position import Position

CONNECT_MAX_S = 10
_START_MAX_S = 120.0  # the server reads the slot's state from disk, and may have to build a snapshot
_UNSENT_BYTES_MAX = 64 << 10
KEEPALIVES = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,  # ms; a peer that vanished is noticed by the kernel
}
_SETTINGS = {**SESSION, "client_min_messages": "warning"}  # a warning can say that changes are left out
_HEAD = Struct(">cI")
# The connection; disk, memory or connections used up, but not a configured limit (53400); an operator; I/O errors.
_HEALS_BY_WAITING = ("08", "531", "532", "533", "57", "58030")


@dataclass(frozen=True, slots=True)
class SlotAddress:
    """Which log to read: a database, a replication slot in it, and a publication that says which tables.

    `further` are publications that are read as well; each must have existed where reading begins. `origin` is the
    server that is read; None: whoever answers.
    """

    url: str
    slot: str
    publication: str
    further: tuple[str, ...] = ()
    origin: Origin | None = None


class Lost(Exception):
    """The connection is gone, or was not to be had; another attempt may succeed."""


class Refused(Exception):
    """The server said no for a reason that does not pass by itself. `sqlstate` is empty when it gave none."""

    def __init__(self, sqlstate: str, message: str) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate


class Stream(Protocol):
    """The server's bytes and ours. Not for two threads at once."""

    def fileno(self) -> int:
        """What to poll for readability before `receive`."""

    @property
    def pending(self) -> bool:
        """Whether `receive` has more at once, although there may be nothing to poll for."""

    def receive(self, into: memoryview) -> int:
        """Put what has come into `into` and return its length, 0 for nothing yet. Raises Lost and Refused."""

    def send(self, payload: bytes) -> None:
        """Send one CopyData message, without waiting. Raises Lost."""

    def close(self) -> None:
        """Close the connection; the server frees the slot. Does nothing the second time."""


def open_stream(address: SlotAddress, *, start_lsn: int) -> Stream:
    """Connect and start to stream the slot from `start_lsn`, or from where it is confirmed if that is later.

    Raises Lost when the server is not there or busy, Refused when it will not have us, Unavailable when it is another.
    """
    connection = connect_replication(address.url)
    names = ",".join('"' + name.replace('"', '""') + '"' for name in (address.publication, *address.further))
    names = names.replace("'", "''")
    command = (
        f'START_REPLICATION SLOT "{address.slot}" LOGICAL {Position(start_lsn)} '
        f"(proto_version '1', publication_names '{names}')"
    )
    way = LibpqStream if connection.pgconn.ssl_in_use else SocketStream
    try:
        if address.origin is not None:
            refuse_other(connection, address.origin)
        return way(connection, command)
    except BaseException:
        connection.close()
        raise


def connect_replication(url: str) -> psycopg.Connection[tuple[object, ...]]:
    """A connection that speaks the replication protocol. Raises Lost and Refused."""
    options = " ".join(
        [str(conninfo_to_dict(url).get("options") or ""), *(f"-c {k}={v}" for k, v in _SETTINGS.items())]
    )
    conninfo = make_conninfo(
        url,
        replication="database",
        options=options.strip(),
        client_encoding="UTF8",
        application_name="headrace capture",
        connect_timeout=CONNECT_MAX_S,
        gssencmode="disable",  # it would hide the bytes from us, as TLS does
        **KEEPALIVES,
    )
    try:
        return psycopg.Connection.connect(conninfo, autocommit=True)
    except psycopg.OperationalError as error:
        if refusal := refused_sqlstate(error):
            raise Refused(refusal, str(error)) from error
        raise Lost(str(error)) from error


_REFUSALS = {
    "password authentication failed": "28P01",
    "no password supplied": "28P01",
    "no pg_hba.conf entry": "28000",
    "permission denied": "42501",
    "must be superuser": "42501",
    'database "': "3D000",
    'role "': "28000",
}
_NO_TRUST = ("certificate", "does not support SSL")  # libpq's own words: the server never got to say anything


def refused_sqlstate(error: psycopg.OperationalError) -> str:
    """Why the server did not let us in, empty when it was not there or is only starting.

    libpq gives no code for a failed connection, only the server's words; in another language than English they are
    taken for a passing fault, which is repeated and logged.
    """
    text = str(error)
    if any(words in text for words in _NO_TRUST):
        return "28000"
    if "FATAL" not in text and "no password supplied" not in text:
        return ""
    return next((sqlstate for words, sqlstate in _REFUSALS.items() if words in text), "")


def raise_server_error(sqlstate: str, message: str) -> NoReturn:
    """Raise what an error from the server means: Lost when waiting helps, Refused otherwise."""
    if sqlstate.startswith(_HEALS_BY_WAITING):
        raise Lost(message)
    raise Refused(sqlstate, message)


def protocol_message(kind: bytes, payload: bytes) -> bytes:
    """A message of the wire protocol: its head, then `payload`."""
    return _HEAD.pack(kind, len(payload) + HEAD_BYTES - 1) + payload


def parse_server_error(body: bytes) -> tuple[str, str]:
    """SQLSTATE and text of an ErrorResponse, without its head."""
    fields = {part[:1]: part[1:].decode(errors="replace") for part in body.split(b"\0") if part}
    return fields.get(b"C", ""), fields.get(b"M", "no message")


class SocketStream:
    """The stream as the socket gives it."""

    pending = False

    def __init__(self, connection: psycopg.Connection[tuple[object, ...]], command: str) -> None:
        self._connection = connection
        self._socket = socket.socket(fileno=os.dup(connection.fileno()))
        self._socket.setblocking(False)
        self._unsent = b""
        try:
            self._start(command.encode() + b"\0")
        except BaseException:
            self._socket.close()
            raise

    def fileno(self) -> int:
        return self._socket.fileno()

    def receive(self, into: memoryview) -> int:
        self._flush()
        try:
            count = self._socket.recv_into(into)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise Lost(str(error)) from error
        if count == 0:
            raise Lost("the server closed the connection")
        return count

    def send(self, payload: bytes) -> None:
        self._unsent += protocol_message(b"d", payload)
        self._flush()

    def close(self) -> None:
        self._socket.close()
        self._connection.close()

    def _flush(self) -> None:
        if not self._unsent:
            return
        try:
            self._unsent = self._unsent[self._socket.send(self._unsent) :]
        except BlockingIOError:
            if len(self._unsent) > _UNSENT_BYTES_MAX:
                raise Lost("the server reads nothing any more") from None
        except OSError as error:
            raise Lost(str(error)) from error

    def _start(self, query: bytes) -> None:
        """Send the command, and read up to and including the answer to it, not one byte further."""
        self._unsent = protocol_message(b"Q", query)
        deadline = time.monotonic() + _START_MAX_S
        while True:
            kind, length = _HEAD.unpack(self._read_exactly(HEAD_BYTES, deadline))
            body = self._read_exactly(length - 4, deadline)
            if kind == b"W":
                return
            if kind == b"E":
                raise_server_error(*parse_server_error(body))

    def _read_exactly(self, count: int, deadline: float) -> bytes:
        read = bytearray(count)
        done = 0
        while done < count:
            done += self.receive(memoryview(read)[done:])
            if done < count and not _readable(self.fileno(), deadline - time.monotonic()):
                raise Lost(f"the server did not begin to stream within {_START_MAX_S:.0f} s")
        return bytes(read)


class LibpqStream:
    """The stream as libpq hands it out, message by message: the only way through TLS, and half as fast."""

    def __init__(self, connection: psycopg.Connection[tuple[object, ...]], command: str) -> None:
        self._connection = connection
        self._pgconn = connection.pgconn
        self._rest = memoryview(b"")
        self._full = False
        self._notices = b""
        connection.add_notice_handler(self._put_back)
        result = self._pgconn.exec_(command.encode())
        if result.status != pq.ExecStatus.COPY_BOTH:
            _raise_result(result)

    def fileno(self) -> int:
        return self._pgconn.socket

    @property
    def pending(self) -> bool:
        return self._full

    def receive(self, into: memoryview) -> int:
        done = 0
        try:
            while done < len(into):
                if not self._rest and not self._next_message():
                    break
                count = min(len(self._rest), len(into) - done)
                into[done : done + count] = self._rest[:count]
                self._rest = self._rest[count:]
                done += count
        except psycopg.Error as error:
            raise Lost(str(error)) from error
        self._full = done == len(into)
        return done

    def send(self, payload: bytes) -> None:
        try:
            self._pgconn.put_copy_data(payload)
            self._pgconn.flush()
        except psycopg.Error as error:
            raise Lost(str(error)) from error

    def close(self) -> None:
        self._connection.close()

    def _next_message(self) -> bool:
        """Make `_rest` the next message, head and all; False when none has come whole."""
        count, data = next_copy_data(self._pgconn)
        if count < 0:
            result = self._pgconn.get_result()
            if result is not None and result.status == pq.ExecStatus.FATAL_ERROR:
                _raise_result(result)
            raise Lost("the server ended the stream")
        notices, self._notices = self._notices, b""
        self._rest = memoryview(notices + (protocol_message(b"d", bytes(data)) if count else b""))
        return bool(self._rest)

    def _put_back(self, notice: psycopg.errors.Diagnostic) -> None:
        """libpq takes the server's notices out: make them messages again, before what it hands out next."""
        fields = f"C{notice.sqlstate}\0M{notice.message_primary}\0\0"
        self._notices += protocol_message(b"N", fields.encode())


def next_copy_data(pgconn: pq.abc.PGconn) -> tuple[int, bytes | memoryview]:
    """libpq's next message and its length: 0 when none has come whole, negative at the end. Does not wait.

    A record of TLS holds up to 16 KiB, of which libpq may read half; the socket announces nothing of the rest. So it
    is asked once more when the socket is empty: what it was left with then is in its own memory.
    """
    count, data = pgconn.get_copy_data(1)
    announced = True
    while count == 0 and announced:
        announced = _readable(pgconn.socket, 0)
        pgconn.consume_input()
        count, data = pgconn.get_copy_data(1)
    return count, data


def _raise_result(result: pq.abc.PGresult) -> None:
    sqlstate = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
    raise_server_error(sqlstate, result.error_message.decode(errors="replace").strip())


def _readable(fileno: int, timeout_s: float) -> bool:
    poll = select.poll()
    poll.register(fileno, select.POLLIN)
    return bool(poll.poll(max(0.0, timeout_s) * 1000))
