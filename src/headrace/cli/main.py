"""`headrace`: gathers the verbs, and says every error in the same words with the right exit code."""

from __future__ import annotations

import sys
from typing import NoReturn

import typer
from rich.markup import escape

from headrace.cli import dead_letters, demo, dev, doctor, events, init, query, rebuild, serve, sql, status, worker
from headrace.cli.output import errors, print_json
from headrace.errors import Error

app = typer.Typer(
    name="headrace",
    help="CQRS for Python: commands into PostgreSQL, answers out of ClickHouse.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command()(init.init)
app.command()(dev.dev)
app.command()(demo.demo)
app.command()(serve.serve)
app.command()(worker.worker)
app.command()(status.status)
app.add_typer(events.app, name="events")
app.command()(query.query)
app.command()(sql.sql)
app.command()(rebuild.rebuild)
app.add_typer(dead_letters.app, name="dead-letters")
app.command()(doctor.doctor)


def main() -> NoReturn:
    """Run one verb. Exit codes: 0 done, 1 and 3 to 9 as `headrace.errors` names them, 2 bad usage, 130 interrupted."""
    try:
        app()
    except Error as error:
        _say(error)
        sys.exit(error.exit_code)
    except OSError as error:
        # A full disk, a folder without rights: the machine's own words say it, not a trace of our code.
        failed = Error(f"{error.strerror or error}: {error.filename or 'no file'}.", hint="`headrace doctor` looks.")
        _say(failed)
        sys.exit(failed.exit_code)
    sys.exit(0)


def _say(error: Error) -> None:
    if "--json" in sys.argv:
        print_json(error.as_dict())
        return
    errors.print(f"[bold red]error[/] {escape(error.message)}", soft_wrap=True)
    if error.detail:
        errors.print(f"  {error.detail}", soft_wrap=True, markup=False)
    if error.hint:
        errors.print(f"  → {error.hint}", soft_wrap=True, markup=False)
