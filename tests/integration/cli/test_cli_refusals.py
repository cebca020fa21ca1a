"""What verbs say where nothing runs: wrong settings, broken files, databases that are away or cannot serve."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.running_project import headrace

from headrace.embedded.clickhouse.process import EmbeddedClickHouse
from headrace.embedded.postgres import EmbeddedPostgres
from headrace.errors import InvalidConfiguration, InvalidInput, Unavailable

NOWHERE = "127.0.0.1:1"


@pytest.fixture
def project(made: Path, tmp_path: Path) -> Path:
    """A project of its own, to be broken."""
    return Path(shutil.copytree(made, tmp_path / "project", ignore=shutil.ignore_patterns(".headrace")))


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("HEADRACE_HTTP__PORT", "many", "http.port"),
        ("HEADRACE_HTTP__PORT", "70000", "http.port"),
        ("HEADRACE_HTTP__PROT", "1", "no setting http.prot"),
        ("HEADRACE_NOPE", "1", "no setting nope"),
        ("HEADRACE_CLICKHOUSE__URL", "tcp://127.0.0.1:9000", "clickhouse.url"),
    ],
)
def test_wrong_setting(project: Path, variable: str, value: str, words: str) -> None:
    done = headrace("status", folder=project, extra={variable: value})
    assert done.returncode == InvalidConfiguration.exit_code, done.stderr
    assert words in done.stderr


@pytest.mark.parametrize(
    ("path", "text", "words"),
    [
        ("headrace.toml", b"project = ", "not valid TOML"),
        ("headrace.toml", b'project = "\xff"', "not valid TOML"),
        ("headrace.toml", b'project = "A-B"', "project"),
        ("headrace.toml", b'project = "a"\n[http]\nprot = 1', "no setting http.prot"),
        ("domain.py", b"class X(:", "SyntaxError"),
        ("domain.py", b"import nowhere_to_be_found", "nowhere_to_be_found"),
        ("streams/items.sql", b"CREATE TABEL x", "items.sql"),
        ("queries/items_per_list.sql", b"SELECT {a:NoSuchType}", "items_per_list"),
        ("dashboards/lists.toml", b"title = ", "lists.toml"),
        ("dashboards/lists.toml", b'title = "a"\n[[tiles]]\ntitle = "b"\nquery = "nope"\nkind = "table"', "nope"),
    ],
)
def test_broken_file_is_refused_before_anything_starts(project: Path, path: str, text: bytes, words: str) -> None:
    (project / path).write_bytes(text)
    done = headrace("dev", folder=project)
    assert done.returncode in (InvalidConfiguration.exit_code, InvalidInput.exit_code), done.stderr
    assert words in done.stderr
    assert not (project / ".headrace").exists()


def test_no_project_here(tmp_path: Path) -> None:
    for verb in ("dev", "status", "serve", "worker", "doctor", "query"):
        done = headrace(verb, folder=tmp_path)
        assert done.returncode == InvalidConfiguration.exit_code
        assert "headrace init" in done.stderr
    (tmp_path / "file").touch()
    done = headrace("status", "--project", "file", folder=tmp_path)
    assert done.returncode == InvalidConfiguration.exit_code


def test_init_overwrites_nothing(project: Path) -> None:
    before = (project / "domain.py").read_bytes()
    assert headrace("init", project.name, folder=project.parent).returncode == InvalidInput.exit_code
    assert headrace("init", "No-Name", folder=project.parent).returncode == InvalidInput.exit_code
    (project.parent / "taken").touch()
    assert headrace("init", "taken", folder=project.parent).returncode == InvalidInput.exit_code
    assert (project / "domain.py").read_bytes() == before


def test_unknown_verb_and_option(tmp_path: Path) -> None:
    assert headrace("nope", folder=tmp_path).returncode == InvalidInput.exit_code
    assert headrace("demo", "--events", "0", folder=tmp_path).returncode == InvalidInput.exit_code


def test_status_where_nothing_runs_looks_and_says_so(project: Path) -> None:
    done = headrace("status", folder=project)
    assert done.returncode == 1
    assert "Nothing is running" in done.stderr


class Servers:
    """Databases as somebody else runs them: given by address."""

    def __init__(self, postgres: EmbeddedPostgres, clickhouse: EmbeddedClickHouse) -> None:
        self.postgres = postgres
        self.clickhouse_url = clickhouse.url

    def environ(self, **changes: str) -> dict[str, str]:
        both = {"HEADRACE_POSTGRES__URL": self.postgres.url, "HEADRACE_CLICKHOUSE__URL": self.clickhouse_url}
        return {**both, **changes}


@pytest.fixture
def servers(postgres_server: EmbeddedPostgres, clickhouse_server: EmbeddedClickHouse) -> Servers:
    return Servers(postgres_server, clickhouse_server)


def test_postgres_that_is_away(project: Path, servers: Servers) -> None:
    away = servers.environ(HEADRACE_POSTGRES__URL=f"postgresql://somebody:a-secret@{NOWHERE}/x")
    done = headrace("events", "tail", "--no-follow", folder=project, extra=away)
    assert done.returncode == Unavailable.exit_code, done.stderr
    assert "PostgreSQL cannot be reached" in done.stderr
    assert "a-secret" not in done.stderr
    doctor = headrace("doctor", folder=project, extra=away)
    assert doctor.returncode == 1
    assert "a-secret" not in doctor.stderr


def test_clickhouse_that_is_away(project: Path, servers: Servers) -> None:
    away = servers.environ(HEADRACE_CLICKHOUSE__URL=f"http://somebody:a-secret@{NOWHERE}")
    done = headrace("query", "items_per_list", folder=project, extra=away)
    assert done.returncode == Unavailable.exit_code, done.stderr
    assert NOWHERE in done.stderr
    assert "a-secret" not in done.stderr


def test_wrong_password(project: Path, servers: Servers) -> None:
    url = servers.postgres.url
    wrong = url.replace(url.split(":")[2].split("@")[0], "not-the-password")
    done = headrace(
        "events", "tail", "--no-follow", folder=project, extra=servers.environ(HEADRACE_POSTGRES__URL=wrong)
    )
    assert done.returncode != 0
    assert "password" in done.stderr
    assert "not-the-password" not in done.stderr


async def test_wal_level_that_is_not_logical(project: Path, servers: Servers, tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "replica", settings={"wal_level": "replica"})
    await server.start()
    try:
        extra = servers.environ(HEADRACE_POSTGRES__URL=server.url)
        done = headrace("worker", folder=project, extra=extra)
    finally:
        await server.stop()
    assert done.returncode == InvalidConfiguration.exit_code, done.stderr
    assert "wal_level" in done.stderr
    assert "ALTER SYSTEM SET wal_level = 'logical'" in done.stderr


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 MB, which no PostgreSQL fits into."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("a full disk needs the right to mount a small one")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_full_disk(made: Path, small_disk: Path) -> None:
    project = shutil.copytree(made, small_disk / "project", ignore=shutil.ignore_patterns(".headrace"))
    done = headrace("status", folder=project)
    assert done.returncode != 0
    assert "space" in done.stderr.lower(), done.stderr
    assert not (project / ".headrace" / "postgres").exists()
