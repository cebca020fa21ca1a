"""GroupCommit: appends that arrive while one call is under way travel together in the next.

One round trip and one flush of the write-ahead log then serve them all, which is where the throughput comes from.
Each append keeps its own outcome: what is wrong with one must not fail its neighbours.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

import psycopg
from psycopg_pool import PoolTimeout

from headrace.errors import Error, InvalidConfiguration, InvalidInput, LimitExceeded, Unavailable
from headrace.event_store import statements
from headrace.event_store.append import Append, Appended, KeyGone, Outcome, answer, decode_outcomes, encode_append
from headrace.event_store.connection import Pool, unreachable
from headrace.event_store.subject_keys import SubjectKeys
from headrace.events.position import Position
from headrace.telemetry import logger

log = logger(__name__)

APPENDS_MAX = 128  # per call: twice as many gained nothing, and each stream in it stays locked until the commit
BYTES_MAX = 4 << 20  # per call, unless one append alone is larger
WAITING_MAX = 10_000
ATTEMPTS_MAX = 2
CLOSE_MAX_S = 10.0


@dataclass(slots=True, eq=False)
class _Waiting:
    append: Append
    encoded: bytes
    alone: set[str]
    touched: set[str]
    result: asyncio.Future[list[Appended]]
    attempts: int = 0
    perhaps_written: bool = False


class _Names:
    """What the appends of one call name, so that no two of them contradict each other."""

    def __init__(self) -> None:
        self._alone: set[str] = set()
        self._touched: set[str] = set()

    def admit(self, waiting: _Waiting) -> bool:
        return self._alone.isdisjoint(waiting.alone | waiting.touched) and self._touched.isdisjoint(waiting.alone)

    def add(self, waiting: _Waiting) -> None:
        self._alone |= waiting.alone
        self._touched |= waiting.touched


class GroupCommit:
    """Sends appends in calls of many, one call at a time: a second one beside it measured slower.

    Make it and close it inside a running event loop.
    """

    def __init__(self, pool: Pool, keys: SubjectKeys) -> None:
        self._pool = pool
        self._keys = keys
        self._queue: deque[_Waiting] = deque()
        self._wake = asyncio.Event()
        self._closed = False
        self._task = asyncio.create_task(self._run(), name="group_commit")

    async def submit(self, append: Append) -> list[Appended]:
        """Append durably, and return where each part stands.

        A caller that is cancelled before its append was sent takes it back; afterwards the append happens all the same.
        Raises what EventStore.append says.
        """
        subjects = append.subjects()
        if not subjects:
            return await self._enqueue(append, encode_append(append))
        for _ in range(ATTEMPTS_MAX):
            keys = await self._keys.for_subjects(subjects)
            try:
                return await self._enqueue(append, encode_append(append, keys))
            except KeyGone as error:
                self._keys.drop()  # whatever was remembered here, the person was forgotten since
                gone = error
        raise gone

    async def _enqueue(self, append: Append, encoded: bytes) -> list[Appended]:
        if self._closed:
            raise Unavailable("The event store is closed; nothing was written.", hint="Retry at another process.")
        if len(self._queue) >= WAITING_MAX:
            raise Unavailable(
                "Too many appends are waiting; nothing was written.",
                f"{len(self._queue)} wait for PostgreSQL.",
                "Retry later, and send fewer at a time.",
            )
        waiting = _Waiting(
            append, encoded, append.held_alone(), append.touched(), asyncio.get_running_loop().create_future()
        )
        self._queue.append(waiting)
        self._wake.set()
        return await waiting.result

    async def close(self) -> None:
        """Refuse new appends, finish those that wait, within a deadline."""
        self._closed = True
        self._wake.set()
        _, unfinished = await asyncio.wait({self._task}, timeout=CLOSE_MAX_S)
        if unfinished:
            self._task.cancel()
            await asyncio.wait(unfinished)
        while self._queue:
            _fail(self._queue.popleft(), Unavailable("The event store was closed; nothing was written."))

    async def _run(self) -> None:
        while True:
            batch = self._take()
            if batch:
                await self._finish(batch)
            elif self._closed:
                return
            else:
                self._wake.clear()
                await self._wake.wait()

    def _take(self) -> list[_Waiting]:
        """The next call's appends. What contradicts another one in it waits for the next call, and so does whoever
        comes behind that on the same names.
        """
        batch: list[_Waiting] = []
        postponed: list[_Waiting] = []
        names, ahead = _Names(), _Names()
        size = 0
        while self._queue and len(batch) < APPENDS_MAX and len(postponed) < APPENDS_MAX:
            waiting = self._queue.popleft()
            if waiting.result.done():
                continue  # its caller was cancelled
            if not (names.admit(waiting) and ahead.admit(waiting)):
                ahead.add(waiting)
                postponed.append(waiting)
                continue
            size += len(waiting.encoded)
            if batch and size > BYTES_MAX:
                postponed.append(waiting)
                break
            batch.append(waiting)
            names.add(waiting)
        self._queue.extendleft(reversed(postponed))
        return batch

    async def _finish(self, batch: list[_Waiting]) -> None:
        """Give every append of the batch its answer, whatever happens."""
        for waiting in batch:
            waiting.attempts += 1
        try:
            outcomes, position = await self._call(batch)
        except _Lost as lost:
            await self._lost(batch, lost)
        except psycopg.Error as error:
            await self._refused(batch, error)
        except asyncio.CancelledError:
            for waiting in batch:
                _fail(waiting, _unknown("The event store was closed.", waiting))
            raise
        except Exception as error:  # the one place: a defect in here must not leave callers waiting for ever
            log.error("append_failed", appends=len(batch), exc_info=error)
            for waiting in batch:
                _fail(waiting, error)
        else:
            rows = iter(outcomes)
            for waiting in batch:
                _settle(waiting, [next(rows) for _ in waiting.append.parts], position)

    async def _call(self, batch: list[_Waiting]) -> tuple[list[Outcome], Position]:
        document = b"[" + b",".join(waiting.encoded for waiting in batch) + b"]"
        try:
            connection = await self._pool.getconn()
        except (psycopg.OperationalError, PoolTimeout) as error:
            raise _Lost(unreachable(error), sent=False) from error
        try:
            cursor = await connection.execute(statements.query("append"), {"appends": document.decode()}, prepare=True)
            row = await cursor.fetchone()
        except psycopg.Error as error:
            if connection.broken or connection.closed:
                raise _Lost(error, sent=True) from error
            raise
        finally:
            await self._pool.putconn(connection)
        assert row is not None
        outcomes, flushed = row
        return decode_outcomes(outcomes), Position.parse(flushed)

    async def _lost(self, batch: list[_Waiting], lost: _Lost) -> None:
        """The connection broke. Only what names its command can be repeated without a doubt, and is, once."""
        log.warning("append_connection_lost", appends=len(batch), sent=lost.sent, reason=str(lost.reason).strip())
        again = []
        for waiting in batch:
            waiting.perhaps_written |= lost.sent
            if not waiting.perhaps_written:
                _fail(waiting, lost.reason)
            elif lost.sent and waiting.append.metadata.command_id is not None and waiting.attempts < ATTEMPTS_MAX:
                again.append(waiting)
            else:
                _fail(waiting, _unknown(str(lost.reason).strip(), waiting))
        self._queue.extendleft(reversed(again))
        if lost.sent:
            # A server that restarted has broken every connection of the pool, not just this one.
            await self._pool.check()

    async def _refused(self, batch: list[_Waiting], error: psycopg.Error) -> None:
        """PostgreSQL rolled the whole call back. If one append's doing, send each by itself, so that only it fails."""
        if len(batch) > 1 and isinstance(error, _OF_ONE):
            for waiting in batch:
                waiting.attempts = 0
                await self._finish([waiting])
        elif len(batch) == 1 and isinstance(error, _PASSING) and batch[0].attempts < ATTEMPTS_MAX:
            await self._finish(batch)
        else:
            for waiting in batch:
                _fail(waiting, _translate(error, waiting))


# What a single append of a call can be the cause of. Anything else, such as a full disk, would meet each of them again.
_OF_ONE = (
    psycopg.DataError,
    psycopg.IntegrityError,
    psycopg.errors.ProgramLimitExceeded,
    psycopg.errors.LockNotAvailable,
    psycopg.errors.DeadlockDetected,
)
# Somebody wrote to the table past headrace.append, in between; the next attempt sees it.
_PASSING = (psycopg.errors.UniqueViolation, psycopg.errors.DeadlockDetected)


class _Lost(Exception):
    """The connection failed: before anything was sent, or with the outcome unknown."""

    def __init__(self, reason: Exception, *, sent: bool) -> None:
        super().__init__(str(reason))
        self.reason = reason
        self.sent = sent


def _settle(waiting: _Waiting, outcomes: list[Outcome], position: Position) -> None:
    if waiting.result.done():
        return
    try:
        waiting.result.set_result(answer(waiting.append, outcomes, position))
    except Exception as error:  # like in _finish: a conflict, or a defect in here
        waiting.result.set_exception(error)


def _fail(waiting: _Waiting, error: Exception) -> None:
    if not waiting.result.done():
        waiting.result.set_exception(error)


def _unknown(reason: str, waiting: _Waiting) -> Unavailable:
    named = waiting.append.metadata.command_id is not None
    return Unavailable(
        "The connection to PostgreSQL broke during an append; whether it was written is unknown.",
        f"Stream {waiting.append.streams}: {reason}",
        "Repeat it with the same command id (Idempotency-Key): it happens once."
        if named
        else "Read the stream to find out; with a command id (Idempotency-Key) repeating would be safe.",
    )


def _translate(error: psycopg.Error, waiting: _Waiting) -> Error:
    """Our error for one of PostgreSQL's, after which nothing was written. Not its detail: that holds row data."""
    message = error.diag.message_primary or type(error).__name__
    where = f"Stream {waiting.append.streams}: {message} (SQLSTATE {error.sqlstate})."
    match error:
        case psycopg.errors.LockNotAvailable() | psycopg.errors.QueryCanceled():
            return Unavailable(
                "Another transaction holds this stream for too long; nothing was written.", where, "Retry later."
            )
        case psycopg.errors.ProgramLimitExceeded():
            return LimitExceeded("An event is too large for PostgreSQL; nothing was written.", where)
        case psycopg.DataError():
            return InvalidInput("PostgreSQL cannot store this event; nothing was written.", where)
        case psycopg.errors.InsufficientPrivilege() | psycopg.errors.UndefinedObject() | psycopg.ProgrammingError():
            return InvalidConfiguration(
                "The event store's schema is not usable; nothing was written.", where, "Run `headrace doctor`."
            )
        case _:
            return Unavailable("PostgreSQL refused an append; nothing was written.", where, "Retry later.")
