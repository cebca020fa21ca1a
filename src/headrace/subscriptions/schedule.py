"""Schedule: carry out the commands whose time has come. Any number of processes may do it at the same time."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import msgspec

from headrace.commands.dispatch import Dispatcher
from headrace.commands.domain import Domain
from headrace.errors import Conflict, Rejected, Unavailable
from headrace.event_store.scheduled_commands import DueCommand, ScheduledCommands
from headrace.telemetry import logger

log = logger(__name__)

ATTEMPTS_MAX = 8
POLL_S = 0.5
# Longer than a command takes: after it, a command is taken to be left behind by a process that died.
LEASE = timedelta(seconds=60)


class Schedule:
    """Takes due commands and dispatches them, each under the id that its reaction gave it."""

    def __init__(self, *, dispatcher: Dispatcher, domain: Domain, scheduled: ScheduledCommands) -> None:
        self._dispatcher = dispatcher
        self._domain = domain
        self._scheduled = scheduled

    async def run(self) -> None:
        """Until cancelled. Raises Unavailable when PostgreSQL is away: run it again then."""
        while True:
            due = await self._scheduled.take_due(LEASE)
            await asyncio.gather(*(self._carry_out(each) for each in due))
            if not due:
                await asyncio.sleep(POLL_S)

    async def _carry_out(self, due: DueCommand) -> None:
        try:
            command = msgspec.json.decode(due.data, type=self._domain.command(due.command))
            await self._dispatcher.dispatch(command, metadata=due.metadata)
        except Unavailable:
            raise
        except Rejected as rejection:
            log.info("scheduled_command_rejected", command=due.command, reason=rejection.message)
        except Conflict:  # others keep appending to its stream: its turn comes
            await self._scheduled.postpone(due.command_id, "", timedelta(seconds=1))
            return
        except Exception as error:  # the domain's code, or a command that it does not know any more
            last = due.attempts >= ATTEMPTS_MAX
            log.error("scheduled_command_failed", command=due.command, attempt=due.attempts, last=last, exc_info=error)
            again = None if last else timedelta(seconds=2**due.attempts)
            await self._scheduled.postpone(due.command_id, f"{type(error).__name__}: {error}", again)
            return
        await self._scheduled.remove(due.command_id)
