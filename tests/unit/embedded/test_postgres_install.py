"""Which folders an account may enter."""

from __future__ import annotations

import os
from pathlib import Path

from headrace.embedded.postgres_install import Account


def test_an_account_may_enter_what_every_folder_above_lets_it_enter(tmp_path: Path) -> None:
    inner = tmp_path / "outer" / "inner"
    inner.mkdir(parents=True)
    mine = tmp_path.stat()
    owner, stranger = Account(mine.st_uid, mine.st_gid), Account(54321, 54321)
    for folder in (tmp_path / "outer", inner):
        folder.chmod(0o755)
    (tmp_path / "outer").chmod(0o700)
    assert not stranger.may_enter(inner)
    assert owner.may_enter(Path("/"))
    assert stranger.may_enter(Path("/"))


def test_an_ordinary_user_runs_as_themselves(tmp_path: Path) -> None:
    account = Account.for_data(tmp_path / "new")
    assert (account is None) == (os.geteuid() != 0)
