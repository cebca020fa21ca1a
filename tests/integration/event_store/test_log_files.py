"""The whole log into a file and back: byte for byte, cut off anywhere, and files that do not fit."""

from __future__ import annotations

import asyncio
import io
import itertools
import random
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pyarrow as pa
import pytest
from pyarrow import parquet

from headrace.errors import Conflict, InvalidInput, Unavailable
from headrace.event_store import export_log, import_log
from headrace.event_store.append import Part
from headrace.event_store.condition import Criterion
from headrace.event_store.event_store import EventStore
from headrace.event_store.import_log import Imported
from headrace.event_store.log_file import JsonLines, ParquetRows
from headrace.events.event import Event, Metadata

ODD = 'tab\t, line\n, back\\slash \\. \\N, quote " and \x01\x02\x1f\x7f é \u2028 🎈'


class Noted(Event, version=3, tags=["note:{n}", "text:{label}"]):
    n: int
    text: str = ODD
    ratio: float = 1.50
    label: str | None = None


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_log, "PAGE_EVENTS_MAX", 7)
    monkeypatch.setattr(import_log, "CHUNK_EVENTS_MAX", 11)


@pytest.fixture
async def other(postgres_server: object, migrated: str, url: str) -> AsyncIterator[EventStore]:
    """A second store, empty."""
    name = f"other_{uuid4().hex[:12]}"
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE {migrated}".encode())
    async with EventStore(url.rsplit("/test_", 1)[0] + f"/{name}" + _query(url)) as opened:
        yield opened


def _query(url: str) -> str:
    return "?" + url.split("?", 1)[1] if "?" in url else ""


async def fill(store: EventStore, count: int = 40) -> None:
    """Streams that take turns, appends over several streams, bulk appends, odd text, tags, metadata."""
    dice = random.Random(7)
    for number in range(count // 4):
        names = dice.sample(["z-1", "a-1", "m\\1", "tab é", 'quo"te'], 2)
        metadata = Metadata(command_id=uuid4(), actor=ODD.replace("\n", " "), command="Note")
        await store.append_together(
            [Part(name, [Noted(n=number, label=dice.choice([None, 'a"b\\c{,}é'])), Noted(n=-1)]) for name in names],
            metadata=metadata,
        )
    await store.bulk_append((f"bulk-{n % 3}", Noted(n=n, text="")) for n in range(5))
    async with await psycopg.AsyncConnection.connect(store._url, autocommit=True) as connection:
        # What our own encoder never writes, and PostgreSQL keeps: the scale of a number, long numbers, other moments.
        await connection.execute(
            "INSERT INTO headrace.events (stream, version, type, schema_version, data, metadata, recorded_at) VALUES "
            """('raw', 1, 'Raw', 1, '{"a": 1.00, "b": 123456789012345678901234567890.10, "é": [null, {}]}', '{}',"""
            " '1999-12-31 23:59:59.000001+00'), ('raw', 2, 'Raw', 1, '[]', '{}', '2026-01-01 00:00:00+02')"
        )


async def export(store: EventStore, path: Path) -> bytes:
    with path.open("wb") as file:
        if path.suffix == ".parquet":
            await store.export_parquet(file)
        else:
            await store.export_json_lines(file)
    return path.read_bytes()


def opened(path: Path) -> JsonLines | ParquetRows:
    if path.suffix == ".parquet":
        return ParquetRows(path)
    return JsonLines(io.BytesIO(path.read_bytes()), name=path.name, total=path.stat().st_size)


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
async def test_export_import_export_gives_the_same_bytes(
    store: EventStore, other: EventStore, tmp_path: Path, ending: str
) -> None:
    await fill(store)
    first = await export(store, tmp_path / f"first.{ending}")
    done = await other.import_log(opened(tmp_path / f"first.{ending}"))
    assert (done.written, done.present) == (47, 0)
    assert await export(other, tmp_path / f"second.{ending}") == first


async def test_an_imported_event_is_read_as_the_first_store_reads_it(
    store: EventStore, other: EventStore, tmp_path: Path
) -> None:
    await fill(store)
    await export(store, tmp_path / "log.jsonl")
    await other.import_log(opened(tmp_path / "log.jsonl"))
    events = [event async for _, event in store.read_all()]
    assert [event async for _, event in other.read_all()] == events
    for criterion in (Criterion(tags=("note:-1",)), Criterion(("Noted",), ('text:a"b\\c{,}é',)), Criterion(("Raw",))):
        found = [event async for event in store.read_matching([criterion])]
        assert found
        assert [event async for event in other.read_matching([criterion])] == found
    appended = await other.append("z-1", [Noted(n=1)])
    assert appended.version == sum(event.stream == "z-1" for event in events) + 1


async def test_parquet_has_typed_columns_and_one_row_group_a_page(store: EventStore, tmp_path: Path) -> None:
    await store.append("a", [Noted(n=1, label="x"), Noted(n=2)])
    await store.append("b", [Noted(n=number) for number in range(10)])
    await export(store, tmp_path / "log.parquet")
    file = parquet.ParquetFile(tmp_path / "log.parquet")
    assert [file.metadata.row_group(index).num_rows for index in range(file.num_row_groups)] == [7, 5]
    assert file.read(["tags"])["tags"].to_pylist()[:2] == [["note:1", "text:x"], ["note:2"]]


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
async def test_an_empty_log_is_a_file_that_can_be_imported(
    store: EventStore, other: EventStore, tmp_path: Path, ending: str
) -> None:
    await export(store, tmp_path / f"log.{ending}")
    assert (await other.import_log(opened(tmp_path / f"log.{ending}"))).written == 0


async def test_an_export_cut_off_anywhere_goes_on_to_the_same_bytes(store: EventStore, tmp_path: Path) -> None:
    await fill(store)
    path = tmp_path / "log.jsonl"
    whole = await export(store, path)
    for kept in [0, 5, *random.Random(1).sample(range(len(whole)), 30), len(whole)]:
        path.write_bytes(whole[:kept])
        end, after = await store.find_export_end(path)
        assert end == whole[:kept].rfind(b"\n") + 1
        with path.open("ab") as file:
            file.truncate(end)
            await store.export_json_lines(file, after=after)
        assert path.read_bytes() == whole, kept


async def test_a_later_export_adds_what_is_new(store: EventStore, tmp_path: Path) -> None:
    await fill(store)
    path = tmp_path / "log.jsonl"
    await export(store, path)
    await store.append("later", [Noted(n=1)])
    end, after = await store.find_export_end(path)
    with path.open("ab") as file:
        assert (await store.export_json_lines(file, after=after)).written == 1
    assert end < path.stat().st_size
    assert path.read_bytes() == await export(store, tmp_path / "whole.jsonl")


async def test_a_file_of_another_store_is_not_added_to(store: EventStore, other: EventStore, tmp_path: Path) -> None:
    await store.append("a", [Noted(n=1)])
    await other.append("a", [Noted(n=1)])
    path = tmp_path / "log.jsonl"
    await export(store, path)
    with pytest.raises(Conflict, match="was not exported from this event store"):
        await other.find_export_end(path)
    for text in ("shopping: milk", "shopping: milk\n", "{}\n", "\n\n"):
        path.write_text(text)
        with pytest.raises(Conflict, match="was not exported from this event store"):
            await store.find_export_end(path)


async def test_an_open_transaction_holds_back_what_is_newer_and_the_next_export_has_it(
    store: EventStore, url: str, tmp_path: Path
) -> None:
    """A late committer would stand before lines that are written already, and a resumed export would skip it."""
    path = tmp_path / "log.jsonl"
    await store.append("a", [Noted(n=1)])
    async with await psycopg.AsyncConnection.connect(url) as late:
        await late.execute("SELECT pg_current_xact_id()")
        await store.append("b", [Noted(n=2)])
        with path.open("wb") as file:
            done = await store.export_json_lines(file)
        assert (done.written, done.held_back) == (1, 1)
        await late.execute(
            "INSERT INTO headrace.events (stream, version, type, schema_version, data, metadata) "
            "VALUES ('late', 1, 'Noted', 3, '{\"n\": 3}', '{}')"
        )
    _, after = await store.find_export_end(path)
    with path.open("ab") as file:
        assert (await store.export_json_lines(file, after=after)).written == 2
    assert path.read_bytes() == await export(store, tmp_path / "whole.jsonl")


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
async def test_an_import_stopped_after_any_chunk_goes_on_without_doubling(
    store: EventStore, other: EventStore, tmp_path: Path, ending: str
) -> None:
    await fill(store)
    path = tmp_path / f"log.{ending}"
    whole = await export(store, path)

    class Stopped(Exception):
        pass

    written = 0
    for stop_after in itertools.count(1):
        chunks = itertools.count(1)

        def stop(done: Imported, last: int = stop_after, chunks: itertools.count[int] = chunks) -> None:
            if next(chunks) == last:
                raise Stopped(done)

        try:
            done = await other.import_log(opened(path), on_chunk=stop)
        except Stopped as stopped:
            written += stopped.args[0].written
        else:
            assert written + done.written == 47
            break
    assert await export(other, tmp_path / f"again.{ending}") == whole
    assert (await other.import_log(opened(path))).present == 47


async def test_an_import_and_an_export_that_lose_their_connection_say_so_and_go_on(
    store: EventStore, other: EventStore, tmp_path: Path
) -> None:
    await fill(store)
    path = tmp_path / "log.jsonl"

    def cut(connected: EventStore) -> None:
        with psycopg.connect(connected._url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

    with path.open("wb") as file, pytest.raises(Unavailable, match="The export stopped"):
        await store.export_json_lines(file, on_page=lambda _: cut(store))
    async with EventStore(store._url) as again:
        end, after = await again.find_export_end(path)
        with path.open("ab") as file:
            assert (await again.export_json_lines(file, after=after)).written < 47
    with pytest.raises(Unavailable, match="The import stopped"):
        await other.import_log(opened(path), on_chunk=lambda _: cut(other))
    async with EventStore(other._url) as again:
        done = await again.import_log(opened(path))
        assert 0 < done.present < done.written + done.present == 47
        assert 0 < end < path.stat().st_size
        assert await export(again, tmp_path / "again.jsonl") == path.read_bytes()


async def test_a_line_that_is_no_event_is_named_and_whole_chunks_before_it_stand(
    store: EventStore, other: EventStore, tmp_path: Path
) -> None:
    await store.append("a", [Noted(n=number) for number in range(20)])
    path = tmp_path / "log.jsonl"
    lines = (await export(store, path)).splitlines(keepends=True)
    good = lines[14]
    wrong = [
        b"\n",
        b"milk\n",
        good[:-20],
        good.replace(b'"version":15', b'"version":"15"'),
        good.replace(b'"version":15', b'"version":0'),
        good.replace(b'"version":15', b'"version":15,"more":1'),
        good.replace(b'"type":"Noted",', b""),
        good.replace(b'"type":"Noted"', b'"type":"No\\nted"'),
        good.replace(b'"tags":["note:14"]', b'"tags":["a\\u0000"]'),
        good.replace(b'"metadata":{}', b'"metadata":{"actor":1}'),
        good.replace("é".encode(), b"\xff"),
    ]
    for line in wrong:
        assert line != good
        path.write_bytes(b"".join([*lines[:14], line, *(lines[15:] if line.endswith(b"\n") else [])]))
        with pytest.raises(InvalidInput, match=r"Line 15 of log\.jsonl is no event"):
            await other.import_log(opened(path))
        assert [event.version async for event in other.read_stream("a")] == list(range(1, 12))
    path.write_bytes(b"".join(lines))
    assert (await other.import_log(opened(path))).written == 9


async def test_what_postgresql_refuses_is_said_with_its_lines(other: EventStore, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(
        '{"stream":"a","version":1,"type":"Noted","schema_version":1,"recorded_at":"2026-01-01T00:00:00+00:00",'
        '"tags":[],"data":{"text":"\\u0000"},"metadata":{}}\n'
    )
    with pytest.raises(InvalidInput, match="cannot store") as refusal:
        await other.import_log(opened(path))
    assert "In lines 1 to 1" in refusal.value.detail


async def test_blanks_between_tokens_are_taken_and_spelled_as_postgresql_does(
    other: EventStore, tmp_path: Path
) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(
        '{"stream":"a",\t"version":1,"type":"Noted","schema_version":1,"recorded_at":"2026-01-01T02:00:00.5+02:00",'
        '"tags":[],"data":{"b":\t1 ,\r"a":[] },"metadata":{}}\n'
    )
    await other.import_log(opened(path))
    assert b'"recorded_at":"2026-01-01T00:00:00.5+00:00","tags":[],"data":{"a": [], "b": 1}' in (
        await export(other, tmp_path / "again.jsonl")
    )


async def test_a_file_that_contradicts_the_store_is_refused(
    store: EventStore, other: EventStore, tmp_path: Path
) -> None:
    await store.append("a", [Noted(n=number) for number in range(15)])
    path = tmp_path / "log.jsonl"
    text = await export(store, path)
    await other.import_log(opened(path))
    for before, after in (
        (b'"n": 13', b'"n": 99'),
        (b'"tags":["note:13"]', b'"tags":[]'),
        (b'"schema_version":3', b'"schema_version":4'),
        (b'"type":"Noted"', b'"type":"Other"'),
        (b'"metadata":{}', b'"metadata":{"actor": "x"}'),
        (b'"ratio": 1.5', b'"ratio": 1.50'),
    ):
        lines = text.splitlines(keepends=True)
        lines[13] = lines[13].replace(before, after)
        assert lines[13] not in text
        path.write_bytes(b"".join(lines))
        with pytest.raises(Conflict, match=r"Line 14 of log\.jsonl contradicts the event store") as refusal:
            await other.import_log(opened(path))
        assert "Stream a holds another event as version 14. The lines before 12 are in" in refusal.value.detail


async def test_a_gap_is_refused(store: EventStore, other: EventStore, tmp_path: Path) -> None:
    await store.append("a", [Noted(n=number) for number in range(4)])
    path = tmp_path / "log.jsonl"
    lines = (await export(store, path)).splitlines(keepends=True)
    for kept in ([1, 2], [0, 2], [0, 0], [1, 0]):
        path.write_bytes(b"".join(lines[index] for index in kept))
        with pytest.raises(Conflict, match="leaves a gap"):
            await other.import_log(opened(path))
        assert await other.count_events() == 0


async def test_a_cut_off_parquet_file_and_one_of_other_columns_are_refused(store: EventStore, tmp_path: Path) -> None:
    await fill(store)
    path = tmp_path / "log.parquet"
    whole = await export(store, path)
    for kept in (0, 3, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:kept])
        with pytest.raises(InvalidInput, match="no whole Parquet file"):
            ParquetRows(path)
    parquet.write_table(pa.table({"stream": ["a"]}), path)
    with pytest.raises(InvalidInput, match="other columns"):
        ParquetRows(path)


async def test_a_parquet_file_that_is_damaged_inside_is_refused(
    store: EventStore, other: EventStore, tmp_path: Path
) -> None:
    await fill(store)
    path = tmp_path / "log.parquet"
    damaged = bytearray(await export(store, path))
    damaged[60:400] = b"\xff" * 340
    path.write_bytes(damaged)
    with pytest.raises(InvalidInput):
        await other.import_log(opened(path))
    assert await other.count_events() == 0


async def test_import_and_appends_to_the_same_streams_take_turns(
    store: EventStore, other: EventStore, tmp_path: Path
) -> None:
    """The import takes the locks of appends: whoever comes between its chunks makes it a contradiction, never a gap."""
    for number in range(60):
        await store.append(f"s-{number % 2}", [Noted(n=number)])
    path = tmp_path / "log.jsonl"
    await export(store, path)

    async def append() -> None:
        for number in range(30):
            await other.append(f"new-{number % 2}", [Noted(n=number)])

    await asyncio.gather(other.import_log(opened(path)), append())
    await other.append("s-0", [Noted(n=-5)])
    assert await other.count_events() == 91
    for name in ("s-0", "s-1", "new-0", "new-1"):
        versions = [event.version async for event in other.read_stream(name)]
        assert versions == list(range(1, len(versions) + 1))
