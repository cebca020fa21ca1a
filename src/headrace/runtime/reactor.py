"""The reactors' role: every reactor of the project follows the events, and scheduled commands are carried out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from headrace.commands.dispatch import Dispatcher
from headrace.commands.domain import Domain
from headrace.event_store.event_store import EventStore
from headrace.runtime.databases import Addresses
from headrace.runtime.project import Project
from headrace.runtime.waiting import until_stopped, waiting
from headrace.settings import Settings
from headrace.subscriptions.reaction import Reactions
from headrace.subscriptions.reactor import Reactor
from headrace.subscriptions.schedule import Schedule
from headrace.subscriptions.subscription import Subscription
from headrace.telemetry import logger

log = logger(__name__)


async def run_reactors(settings: Settings, addresses: Addresses, stop: asyncio.Event) -> None:
    """React until `stop` is set. Waits while PostgreSQL is away, and says so."""
    project = Project.load(settings)
    await until_stopped(stop, _work(project, addresses))


async def _work(project: Project, addresses: Addresses) -> None:
    store = EventStore(addresses.postgres_url, pool_size=project.settings.postgres.pool_size)
    await waiting("reactor", store.open)
    try:
        await react(project.reactors, project.domain, addresses.postgres_url, store)
    finally:
        await store.close()


async def react(reactors: Sequence[Reactor], domain: Domain, postgres_url: str, store: EventStore) -> None:
    """All reactors and the schedule, until cancelled. What fails for good is raised."""
    dispatcher = Dispatcher(store=store, domain=domain)
    scheduled = store.scheduled_commands
    log.info("reactors_running", reactors=[each.name for each in reactors])
    async with asyncio.TaskGroup() as group:
        for each in reactors:
            reactions = Reactions(reactor=each, dispatcher=dispatcher, scheduled=scheduled)
            subscription = Subscription(
                url=postgres_url,
                reactor=each,
                events=domain.events,
                reactions=reactions,
                with_keys=store.with_keys,
            )
            group.create_task(_again_and_again(f"reactor_{each.name}", subscription))
        schedule = Schedule(dispatcher=dispatcher, domain=domain, scheduled=scheduled)
        group.create_task(_again_and_again("schedule", schedule))


async def _again_and_again(name: str, work: Subscription | Schedule) -> None:
    while True:
        await waiting(name, work.run)
