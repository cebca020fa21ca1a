"""`headrace serve`: the HTTP API."""

from __future__ import annotations

from pathlib import Path

from headrace.cli.output import Folder, LogLevel
from headrace.cli.role import run_role
from headrace.http.server import run_api


def serve(project: Folder = Path(), log_level: LogLevel = "info") -> None:
    """Serve commands, queries and dashboards over HTTP, until stopped."""
    run_role(run_api, project, log_level=log_level)
