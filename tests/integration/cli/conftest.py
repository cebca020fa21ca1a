"""A project made by `headrace init` and run by `headrace dev`, for all tests of this folder that ask for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.running_project import Stack, headrace, running_stack


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which nothing runs; read it, and copy it to change it."""
    folder = tmp_path_factory.mktemp("made")
    assert headrace("init", "groceries", folder=folder).returncode == 0
    return folder / "groceries"


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("running")
    assert headrace("init", "groceries", folder=folder).returncode == 0
    with running_stack(folder / "groceries") as stack:
        yield stack
