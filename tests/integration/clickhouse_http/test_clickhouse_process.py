"""The child process: one per folder, found again on its port, repaired after a kill, gone with its parent."""

from __future__ import annotations

import asyncio
import itertools
import os
import select
import signal
import sys
from pathlib import Path

import httpx
import pytest

from headrace.embedded.clickhouse.process import EmbeddedClickHouse
from headrace.errors import AlreadyRunning, InvalidConfiguration

pytestmark = pytest.mark.timeout(90)


def made(path: Path, port: int = 0) -> EmbeddedClickHouse:
    return EmbeddedClickHouse(path, password="secret", port=port)


async def sql(clickhouse: EmbeddedClickHouse, query: str) -> str:
    async with httpx.AsyncClient(auth=httpx.BasicAuth("headrace", "secret"), timeout=30) as client:
        response = await client.post(clickhouse.url, content=query)
        assert response.status_code == 200, response.text
        return response.text


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"


async def test_restart_finds_the_data_on_the_same_port(data_folder: Path) -> None:
    clickhouse = made(data_folder)
    url = await clickhouse.start()
    first_pid = clickhouse.pid
    with pytest.raises(AlreadyRunning):
        await clickhouse.start()
    await sql(clickhouse, "CREATE TABLE kept ENGINE = MergeTree ORDER BY tuple() AS SELECT 42 AS a")
    await clickhouse.stop()
    assert await clickhouse.wait() == 0
    assert clickhouse.pid is None
    assert await clickhouse.start() == url
    assert clickhouse.pid != first_pid
    assert await sql(clickhouse, "SELECT a FROM kept") == "42\n"
    await clickhouse.stop()
    await clickhouse.stop()


async def test_second_process_on_a_folder_or_port_is_refused(data_folder: Path, tmp_path: Path) -> None:
    clickhouse = made(data_folder)
    await clickhouse.start()
    with pytest.raises(AlreadyRunning, match=f"process {clickhouse.pid}"):
        await made(data_folder).start()
    port = int(clickhouse.url.rpartition(":")[2])
    with pytest.raises(AlreadyRunning, match=f"Port {port}"):
        await made(tmp_path / "other", port=port).start()
    assert await sql(clickhouse, "SELECT 1") == "1\n"
    await clickhouse.stop()


async def test_unusable_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfiguration, match="character"):
        await made(tmp_path / "what?").start()
    (tmp_path / "a file").touch()
    with pytest.raises(InvalidConfiguration):
        await made(tmp_path / "a file" / "data").start()


async def test_killed_in_an_insert_it_starts_again_with_whole_inserts(data_folder: Path) -> None:
    clickhouse = made(data_folder)
    await clickhouse.start()
    settings = "SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1"
    await sql(clickhouse, f"CREATE TABLE rows (batch UInt64, a UInt64) ENGINE = MergeTree ORDER BY a {settings}")
    acknowledged = 0

    async def insert(batch: int) -> None:
        body = "".join(f"{batch},{number}\n" for number in range(2000))
        query = f"INSERT INTO rows SETTINGS insert_deduplication_token = '{batch}' FORMAT CSV\n{body}"
        await sql(clickhouse, query)

    async def insert_until_killed(enough: asyncio.Event) -> None:
        nonlocal acknowledged
        for count in itertools.count():
            await insert(acknowledged)
            acknowledged += 1
            if count == 5:
                enough.set()

    for _ in range(3):
        enough = asyncio.Event()
        inserting = asyncio.ensure_future(insert_until_killed(enough))
        await enough.wait()
        assert clickhouse.pid is not None
        os.kill(clickhouse.pid, signal.SIGKILL)
        with pytest.raises(httpx.HTTPError):
            await inserting
        assert await clickhouse.wait() == -signal.SIGKILL
        await clickhouse.start()
        counts = "SELECT countIf(c != 2000), count() FROM (SELECT batch, count() AS c FROM rows GROUP BY batch)"
        torn, batches = (await sql(clickhouse, counts)).split()
        assert torn == "0"
        assert int(batches) in (acknowledged, acknowledged + 1)
        # The unacknowledged batch is sent again. Only if it was stored, its token may (not must) be known.
        if int(batches) == acknowledged + 1:
            acknowledged += 1
    assert not list((data_folder / "spool").iterdir())
    await clickhouse.stop()


async def test_ctrl_c_is_left_to_the_parent(data_folder: Path) -> None:
    clickhouse = made(data_folder)
    await clickhouse.start()
    assert clickhouse.pid is not None
    assert os.getpgid(clickhouse.pid) != os.getpgid(0)
    os.kill(clickhouse.pid, signal.SIGINT)
    assert await sql(clickhouse, "SELECT 1") == "1\n"
    await clickhouse.stop()


async def test_running_query_does_not_hinder_stopping(data_folder: Path) -> None:
    clickhouse = made(data_folder)
    await clickhouse.start()
    endless = asyncio.ensure_future(sql(clickhouse, "SELECT sum(sipHash64(number)) FROM numbers(100000000000)"))
    while await sql(clickhouse, "SELECT count() FROM system.processes") != "2\n":
        pass
    async with asyncio.timeout(12):
        await clickhouse.stop()
    with pytest.raises((httpx.HTTPError, AssertionError)):
        await endless
    assert await clickhouse.wait() == 0


async def test_child_ends_when_its_parent_is_killed(data_folder: Path) -> None:
    parent_program = f"""
import asyncio, pathlib
from headrace.embedded.clickhouse.process import EmbeddedClickHouse
async def main():
    clickhouse = EmbeddedClickHouse(pathlib.Path({str(data_folder)!r}), password="secret")
    await clickhouse.start()
    print(clickhouse.pid, flush=True)
    await clickhouse.wait()
asyncio.run(main())
"""
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", parent_program), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    assert parent.stdout is not None
    child = 0
    while not child:
        line = await parent.stdout.readline()
        assert line, "the parent ended"
        child = int(line) if line.strip().isdigit() else 0
    parent.kill()
    await parent.wait()
    ended = os.pidfd_open(child)
    await asyncio.to_thread(select.select, [ended], [], [], 20)
    os.close(ended)
    assert not alive(child)
    clickhouse = made(data_folder)
    await clickhouse.start()
    await clickhouse.stop()


async def test_password_is_not_on_the_command_line(data_folder: Path) -> None:
    clickhouse = made(data_folder)
    await clickhouse.start()
    assert b"secret" not in Path(f"/proc/{clickhouse.pid}/cmdline").read_bytes()
    await clickhouse.stop()
