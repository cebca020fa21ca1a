"""Reaction: hand one event to a reactor, within its time, and carry out the commands that it gives.

A command's id is made from the reactor, the event's place and the command's number: a repeated reaction does nothing.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable
from typing import Any, TypeVar
from uuid import UUID, uuid5

import msgspec

from headrace.commands.dispatch import Dispatcher
from headrace.errors import Error, Rejected
from headrace.event_store.scheduled_commands import ScheduledCommands
from headrace.events.command import Command
from headrace.events.event import Event, Metadata, StoredEvent
from headrace.subscriptions.reactor import Later, Reactor
from headrace.telemetry import logger

log = logger(__name__)

# Threads of plain functions that did not end in time: they cannot be stopped, only left behind.
HANGING_MAX = 8
# Any fixed one: the same reaction to the same event has the same command ids, in every process and for ever.
_COMMAND_IDS = UUID("0d6a1c55-6d0c-4a8e-8f10-6f2f6a3f1c44")

_encode = msgspec.json.Encoder().encode
Result = TypeVar("Result")


class Hanging(Error):
    """A plain function did not end within its time: it would not the next time either."""


class Reactions:
    """Reactions of one reactor; any number at the same time."""

    def __init__(self, *, reactor: Reactor, dispatcher: Dispatcher, scheduled: ScheduledCommands) -> None:
        self._reactor = reactor
        self._dispatcher = dispatcher
        self._scheduled = scheduled
        self._hanging = 0

    async def react(self, event: Event, stored: StoredEvent) -> None:
        """Hand it over, and carry out what comes. A command that the domain refuses is logged, and is no failure.

        Raises what the reactor and the dispatcher raise, TimeoutError when an async reactor takes too long, and Hanging
        when a plain one does.
        """
        reactor = self._reactor
        arguments = (event, stored) if reactor.takes_stored else (event,)
        if reactor.is_async:
            await self._have_effects(*arguments)
            return
        given = await self._call(lambda: _listed(reactor, reactor.react(*arguments)))
        for index, each in enumerate(given):
            await self._carry_out(each, self._metadata(each, stored, index))

    async def _have_effects(self, *arguments: object) -> None:
        """A reactor that cancels itself, or wants the process to end, has failed like any other."""
        try:
            async with asyncio.timeout(self._reactor.time_max_s):
                await self._reactor.react(*arguments)
        except (asyncio.CancelledError, SystemExit) as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise Error(f"The reactor {self._reactor.name} raised {type(error).__name__}.") from error

    def check(self) -> None:
        """Raises Error when so many calls hang that the process has to begin anew."""
        if self._hanging >= HANGING_MAX:
            raise Error(
                f"{self._hanging} calls of the reactor {self._reactor.name} hang; the process has to begin anew.",
                hint="A plain reactor only makes commands. Write `async def` for what takes time.",
            )

    async def _carry_out(self, given: Command | Later, metadata: Metadata) -> None:
        if isinstance(given, Later):
            name = type(given.command).__name__
            await self._scheduled.add(self._reactor.name, name, _encode(given.command), metadata, given.after)
            return
        try:
            await self._dispatcher.dispatch(given, metadata=metadata)
        except Rejected as rejection:
            log.info(
                "reaction_rejected", reactor=self._reactor.name, command=metadata.command, reason=rejection.message
            )

    def _metadata(self, given: Command | Later, stored: StoredEvent, index: int) -> Metadata:
        command = given.command if isinstance(given, Later) else given
        place = f"{stored.stream}@{stored.version}"
        return Metadata(
            command_id=command_id(self._reactor.name, stored, index),
            command=type(command).__name__,
            actor=f"reactor {self._reactor.name}",
            correlation_id=stored.metadata.correlation_id or place,
            causation_id=place,
        )

    async def _call(self, function: Callable[[], Result]) -> Result:
        """Call it in a thread of its own: one that hangs can be left behind, and keeps no process from ending."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()

        def settle(set_it: Callable[[Any], None], value: object) -> None:
            if not future.done():
                set_it(value)

        def work() -> None:
            try:
                result = function()
            except BaseException as error:  # the user's function: it is raised where it is awaited
                caught = error if isinstance(error, Exception) else Error(f"It raised {type(error).__name__}.")
                _tell(loop, settle, future.set_exception, caught)
            else:
                _tell(loop, settle, future.set_result, result)

        threading.Thread(target=work, name=f"reactor {self._reactor.name}", daemon=True).start()
        try:
            async with asyncio.timeout(self._reactor.time_max_s):
                return await future
        except TimeoutError as error:
            self._hanging += 1
            raise Hanging(
                f"The reactor {self._reactor.name} did not end within {self._reactor.time_max_s:g} s.",
                hint="A plain reactor only makes commands. Write `async def` for what takes time.",
            ) from error


def command_id(reactor: str, stored: StoredEvent, index: int) -> UUID:
    """The id of the `index`-th command that this reactor gives for this event."""
    return uuid5(_COMMAND_IDS, f"{reactor}\n{stored.stream}\n{stored.version}\n{index}")


def _tell(loop: asyncio.AbstractEventLoop, *call: Any) -> None:
    if not loop.is_closed():  # else it hung until after the end
        loop.call_soon_threadsafe(*call)


def _listed(reactor: Reactor, given: object) -> list[Command | Later]:
    """What the reactor gave; a generator runs here."""
    listed = [] if given is None else list(given) if isinstance(given, Iterable) else [given]
    for each in listed:
        if not isinstance(each.command if isinstance(each, Later) else each, Command):
            raise Error(
                f"The reactor {reactor.name} gave something that is no command: a {type(each).__name__}.",
                hint="Give commands, or Later(command, after=timedelta(...)).",
            )
    return listed
