"""`headrace mirror` beside a running worker: how its tables are, and what verify says, repairs, and goes on with."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from support.running_project import Running, Stack, headrace, running_stack, wait_until

TABLES = """
CREATE TABLE prices (id int PRIMARY KEY, amount numeric(10, 2) NOT NULL);
INSERT INTO prices SELECT g, g FROM generate_series(1, 30000) AS g;
CREATE TABLE people (id uuid PRIMARY KEY, name text);
INSERT INTO people SELECT md5(g::text)::uuid, 'name ' || g FROM generate_series(1, 500) AS g;
"""
TOTALS = "CREATE TABLE totals AS SELECT id % 2 AS odd, SUM(amount) AS total FROM prices GROUP BY odd"


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("mirrored")
    assert headrace("init", "shop", folder=folder).returncode == 0
    project = folder / "shop"
    with (project / "headrace.toml").open("a") as file:
        file.write('\n[mirror]\ntables = ["public.p*"]\n')
    with running_stack(project) as stack:
        write(project, TABLES)
        wait_until(lambda: states(project) == {"ready"}, "both tables are ready")
        made = headrace("sql", TOTALS, folder=project)
        assert made.returncode == 0, made.stderr
        yield stack


def write(project: Path, statements: str) -> None:
    addresses = json.loads((project / ".headrace" / "addresses.json").read_text())
    with psycopg.connect(addresses["postgres_url"], autocommit=True) as connection:
        connection.execute(statements.encode())


def states(project: Path) -> set[str]:
    tables = json.loads(headrace("mirror", "status", "--json", folder=project).stdout)["tables"]
    return {table["state"] for table in tables} if len(tables) == 2 else set()


def verify(stack: Stack, *options: str) -> tuple[int, dict[str, Any]]:
    """The exit code, and what is said of each table."""
    done = headrace("mirror", "verify", "--json", *options, folder=stack.folder)
    return done.returncode, {each["table"]: each for each in json.loads(done.stdout)}


def spoil(stack: Stack) -> None:
    """Two rows of prices become others, behind the worker's back."""
    (row,) = stack.sql(
        "SELECT database, name FROM system.tables WHERE name LIKE 'prices%rows%' ORDER BY name DESC LIMIT 1"
    )
    rows = f"{row['database']}.`{row['name']}`"
    stack.sql(f"INSERT INTO {rows} SELECT id, amount + 5, _version + 1, 0 FROM {rows} FINAL WHERE id = 204")
    stack.sql(f"INSERT INTO {rows} SELECT id, amount, _version + 1, 1 FROM {rows} FINAL WHERE id = 17")


def totals(stack: Stack) -> str:
    return str(stack.sql("SELECT sum(total) AS total FROM shop.totals")[0]["total"])


def test_what_differs_is_named_and_repaired_with_all_that_reads_it(mirrored: Stack) -> None:
    code, found = verify(mirrored)
    assert (code, {each["state"] for each in found.values()}) == (0, {"clean"})
    assert (found["public.prices"]["rows"], found["public.people"]["rows"]) == (30000, 500)

    spoil(mirrored)
    code, found = verify(mirrored, "public.prices")
    assert code == 1
    assert found["public.prices"]["differences"] == [
        {"key": ["17"], "kind": "missing", "columns": []},
        {"key": ["204"], "kind": "changed", "columns": ["amount"]},
    ]
    shown = headrace("mirror", "verify", "public.prices", folder=mirrored.folder)
    assert shown.returncode == 1
    assert "204  changed     amount" in shown.stdout

    code, found = verify(mirrored, "public.prices", "--repair")
    assert (code, found["public.prices"]["state"], found["public.prices"]["repaired"]) == (0, "clean", 2)
    assert verify(mirrored)[0] == 0
    wait_until(lambda: totals(mirrored) == str(30000 * 30001 // 2), "the sums are those of the source")
    # And they follow it further.
    write(mirrored.folder, "UPDATE prices SET amount = amount + 1 WHERE id = 204; DELETE FROM prices WHERE id = 17")
    wait_until(lambda: totals(mirrored) == str(30000 * 30001 // 2 + 1 - 17), "the sums are those of the source")
    assert verify(mirrored)[0] == 0


def test_ctrl_c_keeps_what_was_done(mirrored: Stack) -> None:
    running = Running("mirror", "verify", "public.prices", "--rows-per-s", "100", folder=mirrored.folder)
    newest = (
        "SELECT state FROM headrace.mirror_verifications FINAL WHERE name = 'prices' ORDER BY began_at DESC LIMIT 1"
    )
    wait_until(lambda: mirrored.sql(newest)[0]["state"] == "running", "it has begun")
    code = running.stop(signal.SIGINT)
    assert code == 130
    assert mirrored.sql(newest)[0]["state"] == "stopped"
    code, found = verify(mirrored, "public.prices", "--resume")
    assert (code, found["public.prices"]["state"]) == (0, "clean")


def test_a_table_that_is_not_mirrored_is_refused(mirrored: Stack) -> None:
    done = headrace("mirror", "verify", "public.nothing", folder=mirrored.folder)
    assert done.returncode == 2
    assert "public.nothing is not mirrored" in done.stderr


def status(stack: Stack) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """What is said of each table, and of the slot."""
    found = json.loads(headrace("mirror", "status", "--json", folder=stack.folder).stdout)
    return {each["table"]: each for each in found["tables"]}, found["slot"]


def test_lag_is_the_slots_for_a_ready_table_and_its_own_for_a_paused_one(mirrored: Stack) -> None:
    assert headrace("mirror", "pause", "public.people", folder=mirrored.folder).returncode == 0
    write(mirrored.folder, "UPDATE people SET name = 'another' WHERE name < 'name 2'")
    write(mirrored.folder, "UPDATE prices SET amount = 1")

    def caught_up() -> bool:
        tables, slot = status(mirrored)
        lags = {slot["lag_bytes"], tables["public.prices"]["lag_bytes"]}
        return lags == {0} and bool(tables["public.people"]["waiting"])

    wait_until(caught_up, "all but the paused table are at the end of the log")
    tables, slot = status(mirrored)
    assert tables["public.people"]["state"] == "paused"
    assert tables["public.people"]["lag_bytes"] > 1_000_000  # the log of the other table's update is behind it
    assert tables["public.people"]["lag_s"] > 0
    assert (slot["wal_status"], slot["kept_bytes_max"], slot["warn_bytes"]) == ("reserved", None, 5 << 30)
    assert slot["worker_heard_s"] < 10

    assert headrace("mirror", "resume", "public.people", folder=mirrored.folder).returncode == 0
    wait_until(lambda: states(mirrored.folder) == {"ready"}, "it goes on")
    assert verify(mirrored, "public.people")[0] == 0
    tables, _ = status(mirrored)
    assert (tables["public.people"]["waiting"], tables["public.people"]["verified"]["state"]) == (0, "clean")


def test_a_copy_is_waited_for(mirrored: Stack) -> None:
    write(mirrored.folder, "CREATE TABLE goods AS SELECT g AS id FROM generate_series(1, 1000) g")
    write(mirrored.folder, "ALTER TABLE goods ADD PRIMARY KEY (id)")
    done = headrace("mirror", "add", "public.goods", "--wait", folder=mirrored.folder)
    assert (done.returncode, "public.goods is ready" in done.stderr) == (0, True), done.stderr
    assert mirrored.sql("SELECT count() AS count FROM shop.goods") == [{"count": 1000}]
    assert headrace("mirror", "remove", "public.goods", folder=mirrored.folder).returncode == 0


def test_recover_is_refused_while_a_worker_reads(mirrored: Stack) -> None:
    done = headrace("recover", folder=mirrored.folder)
    assert (done.returncode, "is in use by another connection" in done.stderr) == (9, True), done.stderr
