"""`headrace reactor`: hand events to the project's reactors."""

from __future__ import annotations

from pathlib import Path

from headrace.cli.output import Folder, LogLevel
from headrace.cli.role import run_role
from headrace.runtime.reactor import run_reactors


def reactor(project: Folder = Path(), log_level: LogLevel = "info") -> None:
    """Hand events to the project's reactors and carry out scheduled commands, until stopped."""
    run_role(run_reactors, project, log_level=log_level)
