"""Scheduled commands: those that reactors gave for later, kept until they are carried out.

Due by the database's clock, whatever the clocks of our processes say. Knows no command: what is kept is JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import psycopg
from psycopg_pool import PoolTimeout

from headrace.event_store import statements
from headrace.event_store.connection import Pool, unreachable
from headrace.events.event import Metadata

TAKEN_MAX = 100

_encode = msgspec.json.Encoder().encode
_decode_metadata = msgspec.json.Decoder(Metadata).decode


class DueCommand(NamedTuple):
    """A command whose time has come; `attempts` counts this one."""

    command_id: UUID
    attempts: int
    command: str
    data: bytes
    metadata: Metadata


class ScheduledCommands:
    """The table of them. Each method raises Unavailable."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def add(self, subscription: str, command: str, data: bytes, metadata: Metadata, after: timedelta) -> None:
        """Keep a command until `after` from now. Adding its id again changes nothing."""
        parameters = {
            "command_id": metadata.command_id,
            "after": after,
            "subscription": subscription,
            "command": command,
            "data": data.decode(),
            "metadata": _encode(metadata).decode(),
        }
        await self._change("schedule_command", parameters)

    async def take_due(self, lease: timedelta) -> list[DueCommand]:
        """The next due ones, at most TAKEN_MAX; nobody else gets them before `lease` is over."""
        parameters = {"lease": lease, "rows_max": TAKEN_MAX}
        try:
            async with self._pool.connection() as connection:
                rows = await (await connection.execute(statements.query("take_due_commands"), parameters)).fetchall()
        except (psycopg.OperationalError, PoolTimeout) as error:
            raise unreachable(error) from error
        return [
            DueCommand(command_id, attempts, command, data, _decode_metadata(metadata))
            for command_id, attempts, command, data, metadata in rows
        ]

    async def remove(self, command_id: UUID) -> None:
        """It is carried out, or refused."""
        await self._change("remove_scheduled_command", {"command_id": command_id})

    async def postpone(self, command_id: UUID, problem: str, after: timedelta | None) -> None:
        """It failed; due again `after` from now, or never by itself."""
        problem = problem.replace("\0", "")
        await self._change("postpone_scheduled_command", {"command_id": command_id, "after": after, "problem": problem})

    async def _change(self, name: str, parameters: Mapping[str, Any]) -> None:
        try:
            async with self._pool.connection() as connection:
                await connection.execute(statements.query(name), parameters)
        except (psycopg.OperationalError, PoolTimeout) as error:
            raise unreachable(error) from error
