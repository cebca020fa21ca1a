"""Real databases for a test or a benchmark: started in a temporary folder, stopped and removed afterwards."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from headrace.embedded.clickhouse.process import EmbeddedClickHouse
from headrace.embedded.postgres import EmbeddedPostgres
from headrace.runtime.databases import CLICKHOUSE_USER


@dataclass(frozen=True, slots=True)
class TemporaryDatabases:
    """Both servers, running; kill them and `start()` them again at will. `folder` is free to use."""

    postgres: EmbeddedPostgres
    clickhouse: EmbeddedClickHouse
    folder: Path


@asynccontextmanager
async def temporary_databases() -> AsyncIterator[TemporaryDatabases]:
    """One PostgreSQL and one ClickHouse on free ports, with durable commits like any other."""
    with tempfile.TemporaryDirectory(prefix="headrace-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        postgres = EmbeddedPostgres(folder / "postgres")
        clickhouse = EmbeddedClickHouse(folder / "clickhouse", user=CLICKHOUSE_USER, password="")
        try:
            await postgres.start()
            await clickhouse.start()
            yield TemporaryDatabases(postgres, clickhouse, folder)
        finally:
            await clickhouse.stop()
            await postgres.stop()


@contextmanager
def project_folder(files: Mapping[str, str]) -> Iterator[Path]:
    """A project in a temporary folder, from file names and texts; its ports are free ones."""
    with tempfile.TemporaryDirectory(prefix="headrace-", ignore_cleanup_errors=True) as name:
        root = Path(name)
        texts = {"headrace.toml": 'project = "temporary"\n\n[clickhouse]\nport = 0\n\n[http]\nport = 0\n', **files}
        for path, text in texts.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text)
        yield root
