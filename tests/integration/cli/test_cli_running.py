"""Every verb beside a running stack, for people and for programs."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path

import pytest
from support.running_project import HEADRACE, Stack, environ, headrace, headrace_json, running_stack, wait_until

from headrace.errors import InvalidInput


def add(stack: Stack, item: str, to: str = "home") -> str:
    answer = stack.http.post("/add-item", json={"list_id": to, "item": item})
    assert answer.status_code == 201, answer.text
    position: str = answer.json()["position"]
    return position


def test_new_project_answers_command_query_and_page(stack: Stack) -> None:
    position = add(stack, "milk", "new")
    assert stack.query("items_per_list", position, list_id="new") == [{"list_id": "new", "items": 1}]
    assert stack.http.get("/dashboards/lists").status_code == 200


def test_status_doctor_and_queries(stack: Stack) -> None:
    add(stack, "bread", "shown")
    status = headrace_json("status", folder=stack.folder)
    assert (status["ready"], status["problems"], status["read_models"]["items_per_list"]) == (True, [], "ready")
    assert "items_per_list" in headrace("status", folder=stack.folder).stdout
    findings = headrace_json("doctor", folder=stack.folder)
    assert all(finding["ok"] for finding in findings), findings
    assert {"versions", "disk", "project", "postgres", "clickhouse", "worker"} <= {each["check"] for each in findings}
    assert [each["name"] for each in headrace_json("query", folder=stack.folder)] == ["items_per_list"]
    rows = headrace_json("query", "items_per_list", "list_id=shown", folder=stack.folder)
    assert rows == [{"list_id": "shown", "items": 1}]


def test_events_show_and_tail(stack: Stack) -> None:
    add(stack, "tea", "events")
    add(stack, "salt", "events")
    shown = headrace("events", "show", "list-events", folder=stack.folder).stdout.splitlines()
    assert ["ItemAdded" in line for line in shown] == [True, True]
    later = headrace_json("events", "show", "list-events", "--after-version", "1", folder=stack.folder)
    assert (later["version"], later["data"]["item"]) == (2, "salt")
    last = headrace_json("events", "tail", "--no-follow", "-n", "1", folder=stack.folder)
    assert last["stream"] == "list-events"
    assert headrace("events", "show", "list-nobody", folder=stack.folder).returncode == InvalidInput.exit_code


def test_the_log_is_exported_and_imported_again(stack: Stack, tmp_path: Path) -> None:
    add(stack, "rice", "moved")
    file = str(tmp_path / "log.jsonl")
    exported = headrace_json("events", "export", file, folder=stack.folder)
    assert exported["written"] > 0
    assert headrace("events", "export", "-", folder=stack.folder).stdout == Path(file).read_text()
    imported = headrace_json("events", "import", file, folder=stack.folder)
    assert (imported["written"], imported["present"]) == (0, exported["written"])
    whole = str(tmp_path / "log.parquet")
    assert headrace_json("events", "export", whole, folder=stack.folder)["written"] == exported["written"]
    assert headrace("events", "export", whole, folder=stack.folder).returncode == InvalidInput.exit_code
    assert headrace("events", "export", "log.csv", folder=stack.folder).returncode == InvalidInput.exit_code
    assert headrace_json("events", "import", whole, folder=stack.folder)["present"] == exported["written"]


def test_tail_stops_quietly_when_its_reader_has_seen_enough(stack: Stack) -> None:
    for item in ("a", "b", "c"):
        add(stack, item, "pipe")
    done = subprocess.run(
        ["sh", "-c", f"{HEADRACE} events tail --no-follow -n 3 | head -1"],
        cwd=stack.folder,
        env=environ(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


def test_definition_created_while_data_flows_is_filled_then_dropped(stack: Stack) -> None:
    ended = threading.Event()
    added: list[str] = []

    def go_on_adding() -> None:
        while not ended.is_set():
            added.append(add(stack, f"item {len(added)}", "flow"))

    adding = threading.Thread(target=go_on_adding)
    adding.start()
    try:
        wait_until(lambda: len(added) > 20, "some items before the definition")
        made = headrace_json("sql", "CREATE STREAM flowing AS SELECT list_id, item FROM ItemAdded", folder=stack.folder)
        assert made == {"name": "flowing", "state": "ready"}
        table = "CREATE TABLE flow AS SELECT list_id, COUNT(*) AS n FROM flowing GROUP BY list_id"
        assert headrace_json("sql", table, folder=stack.folder)["state"] == "ready"
    finally:
        ended.set()
        adding.join()
    stack.query("items_per_list", added[-1])
    (counted,) = headrace_json("sql", "SELECT n FROM flow WHERE list_id = 'flow'", folder=stack.folder)
    (held,) = stack.sql("SELECT count() AS n FROM groceries.flowing WHERE list_id = 'flow'")
    assert counted == held == {"n": len(added)}
    assert "flowing" in headrace("sql", "SHOW STREAMS", folder=stack.folder).stdout
    columns = headrace_json("sql", "DESCRIBE flow", folder=stack.folder)
    assert [column["column"] for column in columns] == ["list_id", "n"]
    read_by = headrace("sql", "DROP STREAM flowing", folder=stack.folder)
    assert (read_by.returncode, "is read by flow" in read_by.stderr) == (InvalidInput.exit_code, True)
    for drop in ("DROP TABLE flow", "DROP STREAM flowing"):
        assert headrace_json("sql", drop, folder=stack.folder)["state"] == "dropped"
    assert headrace("sql", "SELECT * FROM flow", folder=stack.folder).returncode == InvalidInput.exit_code


def test_rebuild_gives_the_same_answer(stack: Stack) -> None:
    position = add(stack, "rice", "rebuilt")
    before = stack.query("items_per_list", position)
    assert headrace_json("rebuild", "items_per_list", folder=stack.folder)["name"] == "items_per_list"

    def rebuilt() -> bool:
        state: str = stack.http.get("/status").json()["read_models"]["items_per_list"]
        return state == "ready" and stack.query("items_per_list") == before

    wait_until(rebuilt, "the table filled again")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sql", "SELEC 1"], "Syntax error"),
        (["sql", "  "], "empty"),
        (["sql", "SELECT nope FROM items_per_list"], "nope"),
        (["sql", "CREATE TABLE x AS SELECT FROM"], "line 1, column"),
        (["sql", "CREATE TABLE x AS SELECT a, COUNT(*) AS n FROM Nothing GROUP BY a"], "Nothing"),
        (["sql", "CREATE TABLE x AS SELECT nope(list_id) AS a, COUNT(*) AS n FROM ItemAdded GROUP BY a"], "nope"),
        (["sql", "CREATE TABLE items_per_list AS SELECT COUNT(*) AS n FROM ItemAdded GROUP BY list_id"], "exists"),
        (["sql", "DROP STREAM items_per_list"], "is a table"),
        (["sql", "DROP TABLE nope"], "nope"),
        (["sql", "INSERT INTO items_per_list VALUES ('a', 1)"], "readonly"),
        (["query", "nope"], "nope"),
        (["query", "items_per_list", "who=me"], "who"),
        (["query", "items_per_list", "me"], "user_id="),
        (["rebuild", "nope"], "nope"),
        (["events", "show", "nope"], "nope"),
        (["dead-letters", "show", "nope"], "position"),
        (["dead-letters", "show", "0/1"], "dead letter"),
        (["dead-letters", "retry", "0/1"], "dead letter"),
        (["dead-letters", "discard", "0/1"], "dead letter"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_bad_input_is_said_in_words_and_changes_nothing(stack: Stack, arguments: list[str], words: str) -> None:
    done = headrace(*arguments, folder=stack.folder)
    assert done.returncode == InvalidInput.exit_code, done.stderr
    assert done.stdout == ""
    assert words in done.stderr
    assert len(done.stderr) < 1500
    assert stack.http.get("/readyz").status_code == 200


def test_error_for_a_program_is_one_object(stack: Stack) -> None:
    done = headrace("query", "nope", "--json", folder=stack.folder)
    assert done.returncode == InvalidInput.exit_code
    assert '"error":"Unknown"' in done.stdout


def test_second_dev_in_the_same_folder_is_refused(stack: Stack) -> None:
    done = headrace("dev", folder=stack.folder)
    assert done.returncode == 9
    assert "running already" in done.stderr
    assert stack.http.get("/readyz").status_code == 200


def test_dev_refuses_a_port_that_is_in_use(stack: Stack, made: Path) -> None:
    port = str(stack.http.base_url.port)
    done = headrace("dev", folder=made, extra={"HEADRACE_HTTP__PORT": port})
    assert done.returncode == 9
    assert f"127.0.0.1:{port} is in use" in done.stderr
    assert not (made / ".headrace").exists()


def test_two_projects_run_side_by_side(stack: Stack, tmp_path: Path) -> None:
    assert headrace("init", "other", folder=tmp_path).returncode == 0
    with running_stack(tmp_path / "other") as other:
        position = add(other, "elsewhere", "other")
        assert other.query("items_per_list", position) == [{"list_id": "other", "items": 1}]
        assert all(row["list_id"] != "other" for row in stack.query("items_per_list"))
