"""Obstacles: what keeps tables from being mirrored the way that headrace.toml says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from headrace.capture import obstacles
from headrace.capture.obstacles import Obstacle
from headrace.capture.source_tables import SourceTable
from headrace.errors import InvalidConfiguration
from headrace.settings import MirroredTable


async def find_obstacles(
    url: str, tables: Sequence[SourceTable], publication: str, settings: Mapping[str, MirroredTable]
) -> list[Obstacle]:
    """Everything that is in the way, in the order of `tables`. `settings` are those of [mirror.table]. Raises
    Unavailable.
    """
    set_up = [(table.oid, settings.get(table.full_name, MirroredTable())) for table in tables]
    return await obstacles.find_obstacles(
        url,
        tables,
        publication,
        appends=[oid for oid, each in set_up if each.append_only],
        filtered=[oid for oid, each in set_up if each.where],
    )


async def refuse_obstacles(
    url: str, tables: Sequence[SourceTable], publication: str, settings: Mapping[str, MirroredTable]
) -> None:
    """Raises InvalidConfiguration, with all that is in the way, when something is; Unavailable."""
    if found := await find_obstacles(url, tables, publication, settings):
        raise InvalidConfiguration(
            f"{found[0].name} cannot be mirrored as it is.",
            " ".join(each.reason for each in found),
            " ".join(each.hint for each in found),
        )
