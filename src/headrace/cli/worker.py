"""`headrace worker`: capture changes and keep the read models."""

from __future__ import annotations

from pathlib import Path

from headrace.cli.output import Folder, LogLevel
from headrace.cli.role import run_role
from headrace.runtime.worker import run_worker


def worker(project: Folder = Path(), log_level: LogLevel = "info") -> None:
    """Capture changes from PostgreSQL and load them into ClickHouse, until stopped."""
    run_role(run_worker, project, log_level=log_level)
