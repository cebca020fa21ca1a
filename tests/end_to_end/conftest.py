"""The wellness example as a whole, run by `headrace dev`: one for all tests of this folder that ask for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.running_project import Stack, copy_wellness, running_stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(copy_wellness(tmp_path_factory.mktemp("stack") / "wellness")) as stack:
        yield stack
