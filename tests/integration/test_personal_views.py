"""Event views over personal fields: a hash where the field is joinable, and never what was stored."""

from __future__ import annotations

from headrace.events.event import Event
from headrace.events.personal import JoinablePersonal, Personal
from headrace.warehouse.client import ClickHouse
from headrace.warehouse.event_views import create_event_views
from headrace.warehouse.schema import create_schema

SEALED = "personal:1:00000000-0000-4000-8000-000000000007"


class Registered(Event, subject="{who}", rename="camel"):
    who: str
    full_name: Personal[str]
    email: JoinablePersonal[str]
    phone: Personal[str | None] = None
    account: JoinablePersonal[str | None] = None


async def test_views_show_keyed_hashes_and_nothing_else(clickhouse: ClickHouse) -> None:
    await create_schema(clickhouse)
    await create_event_views(clickhouse, [Registered])
    for version, data in enumerate(
        (
            f'{{"who":"a","fullName":"{SEALED}::AA","email":"{SEALED}:e1:AA","phone":"{SEALED}::A","account":"{SEALED}:a1:A"}}',
            f'{{"who":"b","fullName":"{SEALED}::AA","email":"{SEALED}:e1:AA","phone":null}}',
            '{"who":"before it was personal","fullName":"Ada","email":"ada@example.org","phone":"1","account":"2"}',
        )
    ):
        await clickhouse.execute(
            f"INSERT INTO `{clickhouse.database}`.events (stream, version, type, schema_version, data) "
            f"VALUES ('s', {version}, 'Registered', 1, '{data}')"
        )
    rows = await clickhouse.rows(
        f"SELECT fullName, email, phone, account FROM `{clickhouse.database}`.Registered ORDER BY _version"
    )
    assert [tuple(row) for row in rows] == [
        ("[personal]", "e1", "[personal]", "a1"),
        ("[personal]", "e1", None, None),
        ("[personal]", "[personal]", "[personal]", "[personal]"),
    ]
