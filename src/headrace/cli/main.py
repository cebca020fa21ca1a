"""`headrace`: gathers the verbs, and says every error in the same words with the right exit code."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib import import_module
from typing import NoReturn

import typer
from rich.markup import escape

from headrace.cli.output import errors, print_json
from headrace.errors import Error

# Verb → whether it has verbs of its own. The modules are called like their verbs.
VERBS = {
    "init": False,
    "dev": False,
    "demo": False,
    "serve": False,
    "worker": False,
    "reactor": False,
    "status": False,
    "events": True,
    "query": False,
    "sql": False,
    "rebuild": False,
    "recover": False,
    "mirror": True,
    "dead-letters": True,
    "subscriptions": True,
    "forget": False,
    "doctor": False,
}


def make_app(verbs: Iterable[str]) -> typer.Typer:
    """The command line with these verbs. Only their modules are imported: all of them would take seconds."""
    app = typer.Typer(
        name="headrace",
        help="CQRS for Python: commands into PostgreSQL, answers out of ClickHouse.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    # Without it, a single verb would be the whole command line, and its name an argument.
    app.callback()(lambda: None)
    for verb in verbs:
        name = verb.replace("-", "_")
        module = import_module(f"headrace.cli.{name}")
        if VERBS[verb]:
            app.add_typer(module.app, name=verb)
        else:
            app.command(verb)(getattr(module, name))
    return app


def main() -> NoReturn:
    """Run one verb. Exit codes: 0 done, 1 and 3 to 9 as `headrace.errors` names them, 2 bad usage, 130 interrupted."""
    asked = [verb for verb in sys.argv[1:2] if verb in VERBS]
    try:
        make_app(asked or VERBS)()
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
