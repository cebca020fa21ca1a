"""EventStore: the one door to the events. It appends, reads, and hides how; it knows no domain."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self
from uuid import UUID

import psycopg
from psycopg_pool import PoolTimeout

from headrace.errors import Error, InvalidInput, Unavailable
from headrace.event_store import bulk_append, export_log, forget, import_log, read, snapshots
from headrace.event_store.append import NO_METADATA, Append, Appended, Part
from headrace.event_store.bulk_append import BulkAppended, Item
from headrace.event_store.condition import Condition, Criterion
from headrace.event_store.connection import connected, create_pool, unreachable
from headrace.event_store.export_log import Exported
from headrace.event_store.forget import Traces
from headrace.event_store.group_commit import GroupCommit
from headrace.event_store.import_log import Imported
from headrace.event_store.log_file import LogFile
from headrace.event_store.matching import Matching
from headrace.event_store.migrate import migrate
from headrace.event_store.read import ALWAYS, BEGINNING, Period, Place
from headrace.event_store.scheduled_commands import ScheduledCommands
from headrace.event_store.snapshots import Snapshot, SnapshotKey
from headrace.event_store.subject_keys import SubjectKeys
from headrace.event_store.subscription_state import SubscriptionStates
from headrace.events.event import Event, Metadata, StoredEvent
from headrace.events.position import Position


class EventStore:
    """The events of one PostgreSQL database.

        async with EventStore(url) as store:
            await store.append("user-42", [WorkoutLogged(…)], expected_version=3)

    `pool_size` is the most connections it holds, 8 by default. One object serves any number of concurrent callers.
    """

    def __init__(self, url: str, *, pool_size: int = 8) -> None:
        self._url = url
        self._pool = create_pool(url, pool_size)
        self._keys = SubjectKeys(self._pool)
        self._commits: GroupCommit | None = None
        self.subscriptions = SubscriptionStates(self._pool)
        self.scheduled_commands = ScheduledCommands(self._pool)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def open(self) -> None:
        """Check the server, bring its schema up to date, connect. Raises Unavailable or InvalidConfiguration."""
        async with connected(self._url) as connection:
            await migrate(connection)
        try:
            await self._pool.open(wait=True, timeout=10)
        except (psycopg.OperationalError, PoolTimeout) as error:
            await self._pool.close()
            raise unreachable(error) from error
        self._commits = GroupCommit(self._pool, self._keys)

    async def close(self) -> None:
        """Finish the appends that wait, then disconnect."""
        if self._commits is not None:
            await self._commits.close()
        await self._pool.close()

    async def append(
        self,
        stream: str,
        events: Sequence[Event],
        *,
        expected_version: int | None = None,
        condition: Condition | None = None,
        metadata: Metadata = NO_METADATA,
        fingerprint: int = 0,
    ) -> Appended:
        """Append `events` to `stream`, durably, all or none; return where they stand.

        `expected_version` is the version the stream must have: 0 for a stream that must not exist, None (default) for
        any. `condition` is what must not have happened since `read_matching`. With `metadata.command_id` it happens
        once: appending that id again returns the first result and writes nothing, and a connection lost on the way is
        retried once by itself. `fingerprint` (a 64-bit number) tells such a repetition from another request under the
        same id. No events at all is allowed with any of these: it checks, and remembers.

        Raises Conflict when the stream is at another version or the condition does not hold, Rejected for an id that
        another request used, InvalidInput or LimitExceeded for what cannot be stored, Unavailable when PostgreSQL
        fails; its message says whether something may have been written.
        """
        part = Part(stream, events, expected_version)
        (appended,) = await self.submit(Append((part,), metadata, condition, fingerprint))
        return appended

    async def append_together(
        self,
        parts: Sequence[Part],
        *,
        condition: Condition | None = None,
        metadata: Metadata = NO_METADATA,
        fingerprint: int = 0,
    ) -> list[Appended]:
        """Append to several streams, all or none, in one transaction; return where each part stands, in their order.

        Otherwise like `append`.
        """
        return await self.submit(Append(parts, metadata, condition, fingerprint))

    async def submit(self, append: Append) -> list[Appended]:
        """`append_together`, from an Append."""
        if self._commits is None:
            raise Unavailable("The event store is not open; nothing was written.", hint="Use it by `async with`.")
        return await self._commits.submit(append)

    async def append_many(self, appends: Iterable[Append]) -> list[list[Appended] | Error]:
        """Several appends in one call, each with its own outcome, in the order given. They are not one unit: one may
        fail while the others are written. Two for the same stream happen in that order.
        """
        appends = list(appends)
        await self._fetch_keys(appends)
        outcomes = await asyncio.gather(*(self.submit(append) for append in appends), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException) and not isinstance(outcome, Error):
                raise outcome
        return [outcome for outcome in outcomes if isinstance(outcome, list | Error)]

    async def _fetch_keys(self, appends: Iterable[Append]) -> None:
        """All keys at once, and before the first: an append that waits for its key would be late for its place. What
        fails here fails again in its own append, and nowhere else.
        """
        subjects: set[str] = set()
        for append in appends:
            with suppress(InvalidInput):
                subjects |= append.subjects()
        with suppress(Unavailable):
            await self._keys.for_subjects(subjects)

    async def bulk_append(
        self,
        items: Iterable[Item] | AsyncIterable[Item],
        *,
        metadata: Metadata = NO_METADATA,
        on_chunk: Callable[[BulkAppended], None] | None = None,
    ) -> BulkAppended:
        """Append (stream, event) pairs in bulk, each stream in the order given, after what it holds already.

        Chunks of at most 20,000 events are durable one by one; `on_chunk` is called after each with the total so far.
        It is for imports: no expected versions, no command ids, and a failed import repeated from its start doubles
        events. Raises Conflict, InvalidInput or Unavailable, saying how many events are in.
        """
        return await bulk_append.bulk_append(self._pool, self._keys, items, metadata=metadata, on_chunk=on_chunk)

    async def export_json_lines(
        self, file: BinaryIO, *, after: Place = BEGINNING, on_page: Callable[[Exported], None] | None = None
    ) -> Exported:
        """Write every event behind `after` to `file`, one a line, in the order of `read_all`; `on_page` is called after
        each 20,000. Data and metadata are written as PostgreSQL spells them. `find_export_end` says how to go on with a
        file. Raises Unavailable.
        """
        return await export_log.export_json_lines(self._pool, file, after=after, on_page=on_page)

    async def export_parquet(self, file: BinaryIO, *, on_page: Callable[[Exported], None] | None = None) -> Exported:
        """`export_json_lines` as Parquet, with the columns of log_file.SCHEMA; whole only when this returns."""
        return await export_log.export_parquet(self._pool, file, on_page=on_page)

    async def find_export_end(self, path: Path) -> tuple[int, Place]:
        """Where the last whole line of an exported file ends, in bytes, and the place to export on from.

        Raises Conflict for a file that was not exported from this store.
        """
        return await export_log.find_end(self._pool, path)

    async def import_log(self, file: LogFile, *, on_chunk: Callable[[Imported], None] | None = None) -> Imported:
        """Write the events of an exported log that this store lacks: versions, moments, tags and order as in the file.

        Chunks of at most 20,000 events are durable one by one; `on_chunk` is called after each. Repeated, it compares
        what is there and goes on. Raises InvalidInput for a line that is no event, Conflict for one that contradicts
        the store or leaves a gap in a stream, Unavailable; each says how far the import came.
        """
        return await import_log.import_log(self._pool, file, on_chunk=on_chunk)

    def read_stream(
        self,
        stream: str,
        *,
        after_version: int = 0,
        up_to_version: int | None = None,
        up_to_time: datetime | None = None,
        period: Period = ALWAYS,
        limit: int | None = None,
        backwards: bool = False,
    ) -> AsyncIterator[StoredEvent]:
        """The events of a stream after `after_version`, up to and with `up_to_version`, and up to the version that it
        had at `up_to_time` (see find_version); none for an unknown stream.

        Oldest first, or newest first with `backwards`; only what was recorded in `period`; at most `limit`. The order
        is that of versions, whatever the clock said. It reads in pages and holds no connection between
        them: events appended meanwhile may be seen, none is skipped. Raises Unavailable, Corrupt.
        """
        return read.read_stream(
            self._pool,
            stream,
            with_keys=self.with_keys,
            after_version=after_version,
            up_to_version=up_to_version,
            up_to_time=up_to_time,
            period=period,
            limit=limit,
            backwards=backwards,
        )

    def read_period(
        self, period: Period, *, category: str | None = None, event_type: str | None = None
    ) -> AsyncIterator[StoredEvent]:
        """Everything that was recorded in a period, in the order of `read_all`, in pages, as read_stream.

        `category` keeps the streams of one kind, whose names begin with it up to the first "-"; `event_type` one type.
        A transaction that is still open may yet record something at a time that has passed: a period is complete
        once all that began before its end has committed. Raises Unavailable, Corrupt.
        """
        return read.read_period(self._pool, period, with_keys=self.with_keys, category=category, event_type=event_type)

    async def find_version(self, stream: str, time: datetime = ALWAYS.end) -> int:
        """The version that a stream had at `time`; without one, that it has now. 0: it did not exist.

        That is the end of its longest beginning of which every event was recorded at or before `time`. So a state
        never holds an event without those before it, and a later time never gives an earlier version, even where the
        clock went back: what was recorded after that counts from when the clock had caught up. Raises Unavailable.
        """
        return await read.find_version(self._pool, stream, time)

    async def read_streams(self, after_versions: Mapping[str, int]) -> dict[str, list[StoredEvent]]:
        """The next events, up to read.PAGE_ROWS_MAX, of each stream after its version: many streams, one round trip."""
        return await read.read_streams(self._pool, after_versions, with_keys=self.with_keys)

    def read_all(
        self,
        *,
        after: Place = BEGINNING,
        limit: int | None = None,
    ) -> AsyncIterator[tuple[Place, StoredEvent]]:
        """Every event with its place; give the last place as `after` to go on later.

        The order is that of transaction numbers: stable, true to every stream, and complete (an event that commits
        late comes late, it is never passed over). Between streams it is not the order of commits: that one is the
        write-ahead log's, which capture follows. A transaction that stays open holds back what is newer than it.
        """
        return read.read_all(self._pool, with_keys=self.with_keys, after=after, limit=limit)

    def read_matching(self, criteria: Sequence[Criterion]) -> Matching:
        """The events that match one of the criteria, all of one moment, in the order of `read_all`, page by page.

            matching = store.read_matching([Criterion(tags=("course:c1",))])
            async for event in matching: ...
            await store.append("course-c1", [...], condition=matching.condition)

        Raises InvalidInput or LimitExceeded for criteria that cannot be asked, Unavailable.
        """
        return Matching(self._pool, criteria, with_keys=self.with_keys)

    async def with_keys(self, events: list[StoredEvent]) -> list[StoredEvent]:
        """The same events, able to be decoded: for events that were not read here. What is read here has its keys.

        A key counts for 30 seconds after it was fetched, in each process. Raises Unavailable.
        """
        return await self._keys.with_keys(events)

    async def forget(self, subject: str, *, dry_run: bool = False) -> Traces:
        """Delete the key of a subject and the snapshots of the streams with its events; return where it was found.

        Its events stay, and their personal fields can never be read again: 30 seconds later in every process, at once
        in this one. An event of this subject that is appended afterwards gets a new key. With `dry_run` nothing
        changes. To repeat it changes nothing. Raises Unknown for a subject without key and events, Unavailable.
        """
        traces = await forget.forget(self._pool, subject, dry_run=dry_run)
        self._keys.drop()
        return traces

    async def read_command_result(self, command_id: UUID, *, fingerprint: int = 0) -> list[Appended]:
        """The first result of this command id, for each stream; none if it was never appended. Raises Rejected when its
        fingerprint is another.
        """
        return await read.read_command_result(self._pool, command_id, fingerprint=fingerprint)

    async def read_snapshot(self, key: SnapshotKey) -> Snapshot | None:
        """The saved state, or None when there is none by this code. Raises Unavailable."""
        return await snapshots.read_snapshot(self._pool, key)

    async def write_snapshot(self, key: SnapshotKey, snapshot: Snapshot) -> None:
        """Save a state; one that is older than what the same code has saved changes nothing. Raises Unavailable."""
        await snapshots.write_snapshot(self._pool, key, snapshot)

    async def read_position(self) -> Position:
        """Where the log is now: when the watermark has passed this, all that is committed is visible."""
        return await read.read_position(self._pool)

    async def find_place(self, *, before_last: int) -> Place:
        """The place to read on from, to see the last `before_last` events and all that follow."""
        return await read.find_place(self._pool, before_last)

    async def count_events(self) -> int:
        """How many events there are, counted one by one."""
        return await read.count_events(self._pool)
