"""Are a changed project's statements fit to run? Asked before the processes that run the old ones are stopped.

Changes nothing. What reads an event or a stream that changes together with it cannot be asked about yet: ClickHouse
still knows the old columns. Such a statement is checked when the worker deploys it.
"""

from __future__ import annotations

from headrace.commands.domain import Domain
from headrace.read_models.deploy import aggregate_functions, check
from headrace.runtime.project import Project
from headrace.streaming_sql.definition import define_all
from headrace.streaming_sql.dependencies import order
from headrace.streaming_sql.names import changes
from headrace.streaming_sql.parser import parse
from headrace.warehouse.client import ClickHouse
from headrace.warehouse.definitions import READY, read_definitions
from headrace.warehouse.event_views import columns
from headrace.warehouse.mirrors import READY as MIRRORED
from headrace.warehouse.mirrors import read_mirrors


async def check_statements(project: Project, running: Project, clickhouse: ClickHouse) -> None:
    """Raises InvalidSQL for the first statement of `project` that cannot work; `running` is the project as it runs."""
    aggregates = await aggregate_functions(clickhouse)
    statements = [each for file in project.statements for each in parse(file.text, str(file.path))]
    definitions = define_all(statements, aggregates)
    names = {definition.name for definition in definitions}
    stored = await read_definitions(clickhouse, project.settings.project)
    created = [row for row in stored.values() if row.state == READY]
    others = [each for row in created if row.name not in names for each in define_all(parse(row.statement), aggregates)]
    mirrors = await read_mirrors(clickhouse, project.settings.project)
    mirrored = [name for name, each in mirrors.items() if each.in_service]
    ordered = order([*others, *definitions], project.domain.events.by_name(), mirrored)
    known = _same_events(project.domain, running.domain) | {row.name for row in created if row.name not in names}
    known |= {each for name in mirrored if mirrors[name].state == MIRRORED for each in (name, changes(name))}
    for definition in ordered:
        if definition.name not in names:
            continue
        if definition.source in known:
            await check(clickhouse, definition)
            row = stored.get(definition.name)
            if row is not None and row.state == READY and row.fingerprint == definition.fingerprint:
                known.add(definition.name)


def _same_events(new: Domain, old: Domain) -> set[str]:
    before = old.events.by_name()
    return {
        name
        for name, event in new.events.by_name().items()
        if name in before and columns(event) == columns(before[name])
    }
