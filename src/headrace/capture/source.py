"""Source: the face of this stage. Batches of changes out of a PostgreSQL database, each exactly once.

Nothing here knows where batches go, and nothing here decides what is durable: the caller says so with `confirm`.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

from headrace.bus.batch import Batch, Idle, Relation
from headrace.capture.assembly import Assembler
from headrace.capture.backlog import EVENTS_TABLE, LSN_MAX, Backlog
from headrace.capture.buffer import Buffer
from headrace.capture.connection import Refused, SlotAddress
from headrace.capture.origin import Origin
from headrace.capture.personal import Personal
from headrace.capture.personal_tokens import load_key, store_tokens
from headrace.capture.publication import appends_begin, appends_publication, publish
from headrace.capture.read_ahead import ReadAhead
from headrace.capture.reader import Reader
from headrace.capture.slot import Prepared, check_resume, explain_refusal, prepare_slot
from headrace.errors import Corrupt, Error, Unavailable
from headrace.events.position import ORDINAL_MAX, START, Position
from headrace.telemetry import logger

log = logger(__name__)

_STATUS_INTERVAL_MAX_S = 10.0
_STATUSES_PER_TIMEOUT = 4
_IDLE_AFTER_S = 0.05  # unrelated writes move the log all the time; the caller need not hear of each
_TAKEOVER_S = 10.0
_BEHIND_S = 2.0
"""Changes that come later need not hurry: the next batch is waited for until it is full. Waiting and loading together
must take less: else who waited once would wait for ever."""
_TOKENS_AGAIN_S = 1.0
_AHEAD_STEPS = 8
"""Of a batch that is read ahead an eighth is looked at at once."""


@dataclass(frozen=True, slots=True)
class Lag:
    """How far reading is. `bytes` of the log were sent by the server and are not confirmed yet; what the server has
    still to send is not in it. `buffered_bytes` is memory in use. `silent_s` is how long ago the server was heard,
    `trouble` why it is not `connected`.
    """

    bytes: int
    buffered_bytes: int
    received_lsn: int
    confirmed_lsn: int
    connected: bool
    silent_s: float
    trouble: str


class Source:
    """Reads changes through the replication slot `slot` and a publication.

    `tables` (each "schema.table") are append-only logs: their inserts come as typed rows, any other change of them is
    undecodable. Every other table in the publication is mirrored: its inserts, updates, deletes and truncations come.

    `appends`: the publication for tables that are only appended to is made if it is missing. Where there is one it is
    read, from behind its beginning on.

    `personal` columns of mirrored tables are replaced or left out before they are in a batch.

    `buffer_bytes_max` bounds the received bytes in memory; a batch takes at most half of them and `batch_rows_max`
    rows. `takeover_s` is how long to wait for a slot that another connection still holds.

    Use it in this order: `prepare`, `start`, then `next_batch` and `confirm` for ever, `close`. One task at a time may
    wait in `next_batch`. Events that are older than the slot come first, from their table.
    """

    def __init__(
        self,
        *,
        postgres_url: str,
        slot: str,
        publication: str,
        tables: Sequence[str],
        buffer_bytes_max: int,
        batch_rows_max: int,
        takeover_s: float = _TAKEOVER_S,
        personal: Personal | None = None,
        appends: bool = False,
    ) -> None:
        self._address = SlotAddress(postgres_url, slot, publication)
        self._tables = tuple(tables)
        self._takeover_s = takeover_s
        self._personal = Personal({}) if personal is None else personal
        self._appends = appends
        self._appends_begin: int | None = None
        self._rows_max = batch_rows_max
        self._bytes_max = max(1, buffer_bytes_max // 2)
        self._buffer = Buffer(bytes_max=buffer_bytes_max)
        self._decoding = ThreadPoolExecutor(1, thread_name_prefix="headrace decode")
        self._news = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._taking: asyncio.Future[Batch | Idle | None] | None = None
        self._prepared: Prepared | None = None
        self._reader: Reader | None = None
        self._assembler: Assembler | None = None
        self._backlog: Backlog | None = None
        self._start_reading: Callable[[], None] | None = None
        self._epoch = 0
        self._told = START
        self._ahead = ReadAhead(take=self._take_full, news=self._news, received=self._received_lsn)
        self._cut: Batch | None = None
        self._behind = False

    async def prepare(self) -> None:
        """Check the server; make slot and publication if they are missing. Safe to repeat; changes nothing else.

        Raises InvalidConfiguration (version, wal_level, rights, a slot of something else), AlreadyRunning with the pid
        that holds the slot after `takeover_s`, Corrupt for a slot that PostgreSQL gave up, Unavailable.
        """
        if self._appends:  # before the slot: it is read by a new one from the start
            await publish(self._address.url, self._address.publication, [], appends=True)
        self._prepared = await prepare_slot(self._address, tables=self._tables, takeover_s=self._takeover_s)
        await load_key(self._personal, self._address.url)

    async def start(self, after: Position, *, origin: Origin | None = None) -> None:
        """Begin to read; changes up to and including `after` are skipped. START: nothing was ever read.

        `origin` is the server that is read: when another one takes over, the stream ends with Unavailable.

        Raises Corrupt when the log does not go on right behind `after`: the slot is confirmed further, is new though
        `after` is not START, or the log ends before `after`. Losing the connection later is not an error: it is
        repaired without end, and `lag` says so meanwhile.
        """
        assert self._prepared is not None, "prepare() comes first"
        assert self._reader is None, "start() comes once"
        confirmed_lsn = await check_resume(self._address, self._prepared, after)
        self._loop = asyncio.get_running_loop()
        self._told = after
        if after.lsn <= LSN_MAX and EVENTS_TABLE in self._tables:
            self._backlog = Backlog(
                postgres_url=self._address.url,
                snapshot=self._prepared.snapshot,
                after=after,
                rows_max=self._rows_max,
            )
        self._assembler = Assembler(
            after=after,
            rows_max=self._rows_max,
            bytes_max=self._bytes_max,
            append_only=[Relation(*table.split(".", 1)) for table in self._tables],
            personal=self._personal,
        )
        begin_lsn = max(after.lsn, self._prepared.begins_at - 1)
        address = self._address
        self._appends_begin = await appends_begin(address.url, address.publication)
        if self._appends_begin is not None and self._appends_begin <= begin_lsn:
            self._appends_begin = None
            address = replace(address, further=(appends_publication(address.publication),))
        timeout_s = self._prepared.wal_sender_timeout_s or _STATUS_INTERVAL_MAX_S * _STATUSES_PER_TIMEOUT
        self._reader = Reader(
            address=replace(address, origin=origin),
            buffer=self._buffer,
            on_news=self._tell_news,
            status_interval_s=min(_STATUS_INTERVAL_MAX_S, timeout_s / _STATUSES_PER_TIMEOUT),
            takeover_s=max(self._takeover_s, timeout_s),
        )
        self._start_reading = partial(self._reader.start, resume_lsn=begin_lsn, confirmed_lsn=confirmed_lsn)
        if self._backlog is None:
            self._start_reading()

    async def next_batch(self, *, last: Position | None = None, wait_s: float) -> Batch | Idle | None:
        """What has arrived, whole transactions, up to the limits; waits for something, `wait_s` seconds at most.

        A transaction larger than the limits comes in several batches. `last` asks for the one batch that ends exactly
        there, whatever the limits: a plan that a crash left unfinished. Idle, never with `last`, says that nothing is
        left to hand out; None that the time is over. Being cancelled loses nothing: the next call returns what this
        one had begun.

        Raises Corrupt, InvalidConfiguration or AlreadyRunning when the stream ended for good, Unavailable when the
        server ended it for a reason not known here. After an error close this and make a new one.
        """
        assert self._reader is not None, "start() comes first"
        if self._backlog is not None:
            try:
                if (page := await self._backlog.next(last=last)) is not None:
                    return page
            except Unavailable as error:  # as for the log: a lost connection is repaired without end
                log.warning("backlog_waits", reason=str(error), retry_in_s=wait_s)
                await asyncio.sleep(wait_s)
                return None
            self._end_backlog()
        if (batch := self._cut or await self._ahead.end(behind=self._behind)) is not None:
            return await self._hand_out(batch)
        self._buffer.lift_limit(last is not None)
        self._reader.wake()
        began = time.monotonic()
        while True:
            self._news.clear()
            handed = await self._take(last)
            if isinstance(handed, Batch):
                return await self._hand_out(handed)
            if failure := self._reader.failure:
                raise await self._explain(failure)
            waited_s = time.monotonic() - began
            limit_s = wait_s if handed is None else min(wait_s, _IDLE_AFTER_S)
            if waited_s >= limit_s:
                return handed and self._tell(handed, handed.position)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(limit_s - waited_s):
                    await self._news.wait()

    async def _hand_out(self, batch: Batch) -> Batch | Idle:
        """The next one is read while this one is loaded. Its tokens are stored before anybody sees them."""
        self._cut = batch  # until it is told: the wait may be cancelled
        await self._store_tokens()
        self._cut = None
        handed = self._tell(batch, batch.last)
        self._ahead.begin()
        return handed

    async def _store_tokens(self) -> None:
        """Without end: the batch is cut, and without its tokens it must not be handed out."""
        while True:
            try:
                await store_tokens(self._personal, self._address.url)
                return
            except Unavailable as error:
                log.warning("tokens_wait", reason=str(error), retry_in_s=_TOKENS_AGAIN_S)
                await asyncio.sleep(_TOKENS_AGAIN_S)

    def _end_backlog(self) -> None:
        """Everything older than the slot is handed out: go on with the log."""
        assert self._start_reading is not None
        self._backlog = None
        self._start_reading()

    def confirm(self, lsn: int) -> None:
        """Everything before `lsn` is durable downstream: a batch's `confirm_lsn` or an Idle's `lsn`, once its watermark
        is written. PostgreSQL may then forget it. Older values are ignored.
        """
        assert self._reader is not None, "start() comes first"
        self._reader.confirm(lsn)
        if self._appends_begin is not None and lsn > self._appends_begin:
            self._appends_begin = None
            self._reader.read_also(appends_publication(self._address.publication))

    @property
    def reads_appends(self) -> bool:
        """Whether the publication for tables that are only appended to is read by now."""
        return self._reader is not None and bool(self._reader.further)

    def lag(self) -> Lag:
        """How far reading is, without asking anybody."""
        assert self._reader is not None, "start() comes first"
        reader = self._reader
        return Lag(
            bytes=reader.received_lsn - reader.confirmed_lsn,
            buffered_bytes=self._buffer.bytes,
            received_lsn=reader.received_lsn,
            confirmed_lsn=reader.confirmed_lsn,
            connected=reader.connected,
            silent_s=time.monotonic() - reader.heard_at,
            trouble=reader.trouble,
        )

    async def close(self) -> None:
        """End the connection; the slot stays. Confirms nothing more than was confirmed."""
        await self._ahead.stop()
        if self._reader is not None:
            await asyncio.to_thread(self._reader.stop)
        await asyncio.to_thread(self._decoding.shutdown)

    def _tell_news(self) -> None:
        if not (self._ahead.hurry or self._is_worth_a_look()):
            return
        if self._loop is not None and not self._news.is_set():
            with contextlib.suppress(RuntimeError):  # the loop has ended before us
                self._loop.call_soon_threadsafe(self._news.set)

    def _is_worth_a_look(self) -> bool:
        """Enough has come for a batch that is read ahead, of which nobody is in a hurry to see less."""
        buffer = self._buffer
        rows, size = self._rows_max // _AHEAD_STEPS, self._bytes_max // _AHEAD_STEPS
        return buffer.full or buffer.untaken >= rows or buffer.untaken_bytes >= size

    def _received_lsn(self) -> int:
        assert self._reader is not None
        return self._reader.received_lsn

    async def _take_full(self) -> Batch | None:
        taken = await self._take(None, only_full=True)
        return taken if isinstance(taken, Batch) else None

    async def _take(self, last: Position | None, *, only_full: bool = False) -> Batch | Idle | None:
        if self._taking is None:
            self._taking = asyncio.get_running_loop().run_in_executor(self._decoding, self._take_now, last, only_full)
        await asyncio.wait({self._taking})  # goes on when we are cancelled: what it takes must not be lost
        taking, self._taking = self._taking, None
        return taking.result()

    def _take_now(self, last: Position | None, only_full: bool) -> Batch | Idle | None:
        """In the decoding thread: everything that was received, as one batch if it makes one."""
        assert self._assembler is not None
        assert self._reader is not None
        taken = self._buffer.take()
        if taken.epoch != self._epoch:
            self._assembler.restart()
            self._epoch = taken.epoch
        for messages in taken.messages:
            self._assembler.feed(messages)
        self._behind = self._assembler.late_s > _BEHIND_S
        wanted = not only_full or self._assembler.full or self._buffer.full
        batch = self._assembler.next(last=last, full=self._buffer.full) if wanted else None
        self._buffer.keep(self._assembler.buffers())
        self._reader.wake()
        return batch or (None if only_full else self._find_idle(taken.idle_lsn, last))

    def _find_idle(self, idle_lsn: int, last: Position | None) -> Idle | None:
        assert self._assembler is not None
        if not self._assembler.idle:
            return None
        after = self._assembler.after
        idle = Idle(max(idle_lsn, after.lsn + 1 if after.ordinal == ORDINAL_MAX else 0))
        if last is not None and idle.position > last:
            raise Corrupt(
                f"The log has no place {last}, where an unfinished batch was planned to end.",
                f"It is read up to {idle.position}.",
                "Was the publication changed? Stop the worker and run `headrace recover`.",
            )
        return idle if last is None and idle.position > self._told else None

    def _tell(self, handed: Batch | Idle, position: Position) -> Batch | Idle:
        """From here on `position` is the caller's: neither told again nor read again after a lost connection."""
        assert self._assembler is not None
        assert self._reader is not None
        self._told = self._assembler.after = position
        self._reader.resume_lsn = position.lsn
        return handed

    async def _explain(self, failure: Refused | Error) -> Error:
        if isinstance(failure, Error):
            return failure
        return await explain_refusal(self._address, failure.sqlstate, str(failure))
