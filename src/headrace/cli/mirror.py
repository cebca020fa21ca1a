"""`headrace mirror`: tables of PostgreSQL that are kept in ClickHouse."""

from __future__ import annotations

import typer

from headrace.cli.mirror_verify import verify

app = typer.Typer(help="Tables of PostgreSQL that are mirrored.", no_args_is_help=True)
# Without it, a single verb would be the whole of it.
app.callback()(lambda: None)
app.command()(verify)
