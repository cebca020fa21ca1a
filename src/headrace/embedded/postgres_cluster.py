"""The data folder: made by initdb on the first start, checked on every later one. Never overwritten."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
from pathlib import Path

from headrace.embedded.postgres_install import Account
from headrace.embedded.postgres_program import data_argument, failure, spawn
from headrace.errors import InvalidConfiguration

USER = "headrace"
_INITDB_MAX_S = 120.0


def read_or_make_password(path: Path, data: Path) -> str:
    if path.exists():
        return path.read_text().strip()
    if (data / "PG_VERSION").exists():
        raise InvalidConfiguration(
            f"The password of the embedded PostgreSQL is missing: {path}.",
            f"The data folder {data} was made with it.",
            "Restore that file from a backup of the project folder.",
        )
    password = secrets.token_urlsafe(24)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(password)
        os.fsync(file.fileno())
    return password


def make_cluster(data: Path, programs: Path, account: Account | None, password: str) -> None:
    """Make the data folder by initdb beside its place and rename it there, so that it exists whole or not at all."""
    if (data / "PG_VERSION").exists():
        _check_version(data, programs)
        return
    if data.exists() and any(data.iterdir()):
        raise InvalidConfiguration(f"{data} holds files, but no PostgreSQL data.", hint="Move them away.")
    staging = data.with_name(f"{data.name}.new")
    shutil.rmtree(staging, ignore_errors=True)
    cluster = staging / "data"
    try:
        staging.mkdir(mode=0o700)
        cluster.mkdir(mode=0o700)
        with open(os.open(staging / "password", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(password)
        if account is not None:
            for path in (staging, cluster, staging / "password"):
                os.chown(path, account.uid, account.gid)
        _run_initdb(cluster, programs, account)
        cluster.rename(data)
        _sync_folder(data.parent)
    except OSError as error:
        raise failure(str(error), data, 0) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _run_initdb(cluster: Path, programs: Path, account: Account | None) -> None:
    command = [str(programs / "initdb"), "-D", data_argument(cluster, account), "-U", USER]
    # The C locale sorts by bytes: fast, and the same on every machine.
    command += ["--auth=scram-sha-256", "--pwfile=../password", "--encoding=UTF8", "--locale=C"]
    with tempfile.TemporaryFile() as output:
        process = spawn(command, cluster, account, output)
        try:
            code = process.wait(_INITDB_MAX_S)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        output.seek(0)
        said = output.read().decode(errors="replace")
    if code != 0:
        raise failure(said, cluster, 0)


def _check_version(data: Path, programs: Path) -> None:
    found = (data / "PG_VERSION").read_text().strip()
    said = subprocess.run([programs / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    version = said.split()[-1].split(".")[0]
    if found != version:
        raise InvalidConfiguration(
            f"{data} was made by PostgreSQL {found}; this is PostgreSQL {version}.",
            hint=f"Move its data over with pg_dump from a PostgreSQL {found}.",
        )


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
