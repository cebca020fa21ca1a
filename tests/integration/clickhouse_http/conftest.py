"""One embedded ClickHouse for this folder's tests, and a plain HTTP client for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from headrace.embedded.clickhouse.process import EmbeddedClickHouse


@pytest.fixture(scope="session")
def password() -> str:
    return "a secret 'with' odd /characters"


@pytest.fixture(scope="session")
async def server(tmp_path_factory: pytest.TempPathFactory, password: str) -> AsyncIterator[EmbeddedClickHouse]:
    clickhouse = EmbeddedClickHouse(tmp_path_factory.mktemp("clickhouse"), password=password, queries_max=4)
    await clickhouse.start()
    yield clickhouse
    await clickhouse.stop()


@pytest.fixture(scope="session")
async def http(server: EmbeddedClickHouse, password: str) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"X-ClickHouse-User": "headrace", "X-ClickHouse-Key": password, "Accept-Encoding": "identity"}
    async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=30) as client:
        yield client


@pytest.fixture
def data_folder(tmp_path: Path) -> Path:
    return tmp_path / "data"
