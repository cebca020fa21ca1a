"""`headrace mirror verify`: whether mirrored tables equal their sources, and what to do about those that do not."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from headrace.cli.connections import open_clickhouse_at
from headrace.cli.mirror_request import ask_worker
from headrace.cli.output import AsJson, Folder, load_settings, note, print_json, print_rows, progress, run
from headrace.errors import Unknown
from headrace.mirror.verify import ROWS_PER_S, Verifier
from headrace.runtime.databases import open_databases
from headrace.settings import Settings
from headrace.warehouse.mirrors import (
    READY,
    StoredMirror,
    read_mirrors,
)
from headrace.warehouse.verifications import (
    CLEAN,
    DIFFERENT,
    Difference,
    Verification,
    read_differences,
    read_verifications,
)

SHOWN_MAX: Final = 100


def verify(
    tables: Annotated[list[str] | None, typer.Argument(help="schema.table; none: all.", show_default=False)] = None,
    repair: Annotated[bool, typer.Option("--repair", help="Bring rows that differ over again.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what was stopped.")] = False,
    rows_per_s: Annotated[int, typer.Option(min=1, help="The most that is read in PostgreSQL.")] = ROWS_PER_S,
    project: Folder = Path(),
    as_json: AsJson = False,
) -> None:
    """Compare mirrored tables with PostgreSQL while both are live; exit with 1 when one is not the same."""
    results = run(_verify(load_settings(project), tables or [], repair, resume, rows_per_s))
    if as_json:
        print_json(results)
    else:
        _print(results)
    if any(result["state"] != CLEAN for result in results):
        raise typer.Exit(1)


async def _verify(
    settings: Settings, names: list[str], repair: bool, resume: bool, rows_per_s: int
) -> list[dict[str, Any]]:
    async with open_databases(settings) as databases:
        clickhouse = await open_clickhouse_at(databases.addresses.clickhouse_url, settings)
        try:
            tables = _choose(await read_mirrors(clickhouse, settings.project), names)
            earlier = await read_verifications(clickhouse, settings.project) if resume else {}
            results = []
            with progress() as bars:
                for stored in tables:
                    bar = bars.add_task(_full_name(stored), total=None, rate="")

                    def show(now: Verification, rows: int, bar: Any = bar) -> None:
                        bars.update(bar, completed=now.rows, total=max(rows, now.rows), rate=_found(now))

                    verifier = Verifier(
                        clickhouse=clickhouse,
                        source=settings.project,
                        postgres_url=databases.addresses.postgres_url,
                        rows_per_s=rows_per_s,
                        on_progress=show,
                    )
                    found = await verifier.verify(stored, earlier=earlier.get(stored.name))
                    repaired = 0
                    if repair and found.state == DIFFERENT:
                        repaired = found.differences
                        await ask_worker(clickhouse, settings.project, _full_name(stored), "repair")
                        found = await verifier.verify_again(stored, found)
                    shown = await read_differences(clickhouse, settings.project, found, rows_max=SHOWN_MAX)
                    results.append(_result(stored, found, shown, repaired))
            return results
        finally:
            await clickhouse.close()


def _choose(mirrors: dict[str, StoredMirror], names: list[str]) -> list[StoredMirror]:
    """The tables that are named; without names those that are ready."""
    known = {_full_name(each): each for each in mirrors.values() if each.in_service}
    if not names:
        for name, each in known.items():
            if each.state != READY:
                note(f"{name} is {each.state}: left out.")
        return [each for each in known.values() if each.state == READY]
    missing = [name for name in names if name not in known]
    if missing:
        raise Unknown(
            f"{missing[0][:80]} is not mirrored.",
            f"Mirrored: {', '.join(known) or 'nothing'}.",
            "A table is named with its schema: public.orders.",
        )
    return [known[name] for name in dict.fromkeys(names)]


def _result(stored: StoredMirror, found: Verification, shown: list[Difference], repaired: int) -> dict[str, Any]:
    return {
        "table": _full_name(stored),
        "state": found.state,
        "rows": found.rows,
        "missing": found.missing,
        "extra": found.extra,
        "changed": found.changed,
        "unsettled": found.unsettled,
        "repaired": repaired,
        "differences": [{"key": each.key, "kind": each.kind, "columns": each.columns} for each in shown],
    }


def _print(results: list[dict[str, Any]]) -> None:
    columns = ["table", "state", "rows", "missing", "extra", "changed", "unsettled", "repaired"]
    print_rows(columns, [[result[column] for column in columns] for result in results], as_json=False)
    for result in results:
        if result["differences"]:
            total = result["missing"] + result["extra"] + result["changed"] + result["unsettled"]
            shown = f", the first {len(result['differences'])} of {total:,}" if total > SHOWN_MAX else ""
            rows = [
                [", ".join(each["key"]), each["kind"], ", ".join(each["columns"])] for each in result["differences"]
            ]
            print_rows(["key", "difference", "columns"], rows, as_json=False, title=f"{result['table']}{shown}")


def _found(now: Verification) -> str:
    return f"{now.differences:,} differ" if now.differences else ""


def _full_name(stored: StoredMirror) -> str:
    return f"{stored.schema_name}.{stored.table_name}"
