"""The slot's limits: a warning at the one, and at the other no slot any more."""

from __future__ import annotations

from uuid import uuid4

import psycopg
import pytest

from headrace.capture.slot_health import slot_health
from headrace.embedded.postgres import EmbeddedPostgres
from headrace.errors import Corrupt
from headrace.mirror.slot_watch import SlotWatch


async def test_a_slot_that_keeps_too_much_log_is_dropped_if_that_is_wanted(postgres_server: EmbeddedPostgres) -> None:
    url, slot = postgres_server.url, f"watched_{uuid4().hex[:12]}"
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (slot,))
        await connection.execute("SELECT pg_logical_emit_message(false, '', repeat('x', 100000))")
        await SlotWatch(postgres_url=url, slot=slot, warn_bytes=1, drop_bytes=None).look()
        assert await slot_health(url, slot) is not None
        with pytest.raises(Corrupt, match="headrace recover"):
            await SlotWatch(postgres_url=url, slot=slot, warn_bytes=1, drop_bytes=1).look()
        assert await slot_health(url, slot) is None
        await SlotWatch(postgres_url=url, slot=slot, warn_bytes=1, drop_bytes=1).look()
