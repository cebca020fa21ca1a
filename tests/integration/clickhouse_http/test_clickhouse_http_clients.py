"""Stock clients, unmodified: clickhouse-connect (sync and async), dbt-clickhouse, curl."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
import shutil
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import clickhouse_connect
import pyarrow as pa
import pytest
from clickhouse_connect.driver.asyncclient import AsyncClient
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from headrace.embedded.clickhouse.process import EmbeddedClickHouse

pytestmark = pytest.mark.timeout(120)

NOON = dt.datetime(2026, 5, 1, 12, 0, 0, 250_000, dt.UTC)


@pytest.fixture
def client(server: EmbeddedClickHouse, password: str) -> Iterator[Client]:
    address = urlsplit(server.url)
    with clickhouse_connect.get_client(
        host=address.hostname, port=address.port, username="headrace", password=password
    ) as client:
        client.command("CREATE OR REPLACE TABLE client_rows (a UInt64, s Nullable(String), at DateTime64(3, 'UTC'))"
                       " ENGINE = MergeTree ORDER BY a")  # fmt: skip
        yield client


@pytest.fixture
async def async_client(server: EmbeddedClickHouse, password: str) -> AsyncIterator[AsyncClient]:
    address = urlsplit(server.url)
    client = await clickhouse_connect.get_async_client(
        host=address.hostname, port=address.port, username="headrace", password=password, autogenerate_session_id=False
    )
    yield client
    await client.close()


async def test_clickhouse_connect_inserts_and_reads(client: Client) -> None:
    def work() -> None:
        summary = client.insert("client_rows", [[1, "x", NOON], [2, None, NOON]], column_names=["a", "s", "at"])
        assert summary.written_rows == 2
        rows = client.query("SELECT * FROM client_rows WHERE a >= {least:UInt64} ORDER BY a", parameters={"least": 1})
        naive = NOON.replace(tzinfo=None)  # which is how clickhouse-connect gives UTC
        assert [tuple(row) for row in rows.result_rows] == [(1, "x", naive), (2, None, naive)]
        assert client.command("SELECT count() FROM client_rows") == 2
        assert client.query("SELECT 1 WHERE 0").result_rows == []
        assert client.query("SELECT getSetting('max_threads')", settings={"max_threads": 1}).first_row == (1,)

    await asyncio.to_thread(work)


@pytest.mark.parametrize("compression", ["lz4", "zstd", "gzip"])
async def test_clickhouse_connect_moves_arrow_both_ways(client: Client, compression: str) -> None:
    def work() -> None:
        client.write_compression = compression
        client.compression = compression
        rows = 200_000
        table = pa.table(
            {
                "a": pa.array(range(rows), pa.uint64()),
                "s": pa.array(["a text"] * rows),
                "at": pa.array([NOON] * rows, pa.timestamp("ms", "UTC")),
            }
        )
        client.insert_arrow("client_rows", table)
        back = client.query_arrow("SELECT * FROM client_rows ORDER BY a", use_strings=True)
        assert back.num_rows == rows
        assert back.column("at")[0].as_py() == NOON
        streamed = 0
        with client.query_row_block_stream("SELECT a FROM client_rows") as blocks:
            for block in blocks:
                streamed += len(block)
        assert streamed == rows
        assert len(client.raw_query("SELECT a FROM client_rows", fmt="CSV").splitlines()) == rows

    await asyncio.to_thread(work)


async def test_clickhouse_connect_sees_clickhouses_errors(client: Client) -> None:
    def work() -> None:
        with pytest.raises(DatabaseError, match=r"code: 47.*UNKNOWN_IDENTIFIER"):
            client.query("SELECT nope")
        with pytest.raises(DatabaseError, match=r"[cC]ode: 395"):
            client.query("SELECT throwIf(number = 4000000), number FROM numbers(5000000)")
        assert client.command("SELECT 1") == 1

    await asyncio.to_thread(work)


async def test_clickhouse_connect_async_runs_many_at_once(async_client: AsyncClient) -> None:
    results = await asyncio.gather(*(async_client.query(f"SELECT {number}") for number in range(20)))
    assert [result.result_rows for result in results] == [[(number,)] for number in range(20)]
    await async_client.command("CREATE OR REPLACE TABLE async_rows (a UInt64) ENGINE = MergeTree ORDER BY a")
    await async_client.insert("async_rows", [[number] for number in range(1000)], column_names=["a"])
    assert (await async_client.query("SELECT sum(a) FROM async_rows")).first_row == (499_500,)
    with pytest.raises(DatabaseError, match="60"):
        await async_client.query("SELECT * FROM no_such_table")


async def test_curl(server: EmbeddedClickHouse, password: str) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed")
    process = await asyncio.create_subprocess_exec(
        *(curl, "-sS", "--compressed", "--fail-with-body", "--user", f"headrace:{password}"),
        *(server.url, "--data-binary", "SELECT number FROM numbers(200000) FORMAT CSV"),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    assert output == b"".join(b"%d\n" % number for number in range(200_000))


MODELS = {
    "models/events.sql": "{{ config(materialized='table', order_by='id') }} SELECT * FROM {{ ref('raw_events') }}",
    "models/recent.sql": "{{ config(materialized='view') }} SELECT * FROM {{ ref('events') }} WHERE id > 1",
    "models/by_key.sql": """
        {{ config(materialized='incremental', incremental_strategy='delete_insert', unique_key='id', order_by='id') }}
        SELECT id, amount, {{ 2 if is_incremental() else 1 }} AS run FROM {{ ref('events') }}
        {% if is_incremental() %} WHERE id = 2 {% endif %}""",
    "models/by_day.sql": """
        {{ config(materialized='incremental', incremental_strategy='insert_overwrite', partition_by='day',
                  order_by='id') }}
        SELECT id, day, {{ 2 if is_incremental() else 1 }} AS run FROM {{ ref('events') }}
        {% if is_incremental() %} WHERE day = '2026-01-02' {% endif %}""",
    "models/schema.yml": "models: [{name: events, columns: [{name: id, data_tests: [unique, not_null]}]}]",
    "snapshots/amounts.sql": """
        {% snapshot amounts %}
        {{ config(target_schema='dbt_test', unique_key='id', strategy='check', check_cols=['amount']) }}
        SELECT id, amount FROM {{ ref('events') }}
        {% endsnapshot %}""",
    "seeds/raw_events.csv": "id,day,amount\n1,2026-01-01,10\n2,2026-01-02,20\n3,2026-01-02,30\n",
}


@pytest.fixture
def dbt_project(tmp_path: Path, server: EmbeddedClickHouse, password: str) -> Path:
    for name, text in MODELS.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    project = {"name": "it", "version": "1.0", "profile": "it", "flags": {"send_anonymous_usage_stats": False}}
    (tmp_path / "dbt_project.yml").write_text(json.dumps(project))
    address = urlsplit(server.url)
    target = {
        "type": "clickhouse",
        "schema": "dbt_test",
        "host": address.hostname,
        "port": address.port,
        "user": "headrace",
        "password": password,
        "use_lw_deletes": True,
    }
    (tmp_path / "profiles.yml").write_text(json.dumps({"it": {"target": "t", "outputs": {"t": target}}}))
    return tmp_path


async def test_dbt_builds_and_rebuilds_incrementally(dbt_project: Path, client: Client) -> None:
    async def build() -> None:
        started = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            *(str(Path(sys.executable).parent / "dbt"), "--no-use-colors", "build"),
            cwd=dbt_project,
            env={**os.environ, "DBT_PROFILES_DIR": str(dbt_project)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        assert process.returncode == 0, output.decode()
        assert time.monotonic() - started < 60

    await build()
    assert client.query("SELECT * FROM dbt_test.recent ORDER BY id").row_count == 2
    await build()
    by_key = client.query("SELECT id, run FROM dbt_test.by_key ORDER BY id").result_rows
    assert [tuple(row) for row in by_key] == [(1, 1), (2, 2), (3, 1)]
    by_day = client.query("SELECT id, run FROM dbt_test.by_day ORDER BY id").result_rows
    assert [tuple(row) for row in by_day] == [(1, 1), (2, 2), (3, 2)]
    assert client.command("SELECT count() FROM dbt_test.amounts") == 3
