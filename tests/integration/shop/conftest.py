"""The shop example: its generator as a module, and an empty database for it to sell in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from headrace.embedded.postgres import EmbeddedPostgres
from headrace.runtime.project import load_module


@pytest.fixture(scope="session")
def shop() -> Path:
    """The example's folder, to read from."""
    return Path(__file__).parents[3] / "examples" / "shop"


@pytest.fixture(scope="session")
def generator(shop: Path) -> Any:
    return load_module(shop / "generator.py")


@pytest.fixture
def new_database(postgres_server: EmbeddedPostgres) -> Callable[[], Awaitable[str]]:
    """Makes an empty database; its address."""

    async def make() -> str:
        name = f"shop_{uuid4().hex[:12]}"
        async with await psycopg.AsyncConnection.connect(postgres_server.url, autocommit=True) as connection:
            await connection.execute(f"CREATE DATABASE {name} TEMPLATE template0".encode())
        return postgres_server.url.replace("/postgres", f"/{name}")

    return make
