"""`headrace events at`, `diff` and `audit`: for people, for programs, and into files."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from support.running_project import Stack, headrace, headrace_json

from headrace.errors import InvalidInput


def add(stack: Stack, item: str, to: str) -> None:
    headers = {"X-Actor": "ada", "X-Correlation-Id": "party"}
    answer = stack.http.post("/add-item", json={"list_id": to, "item": item}, headers=headers)
    assert answer.status_code == 201, answer.text


def test_the_state_then_and_what_changed(stack: Stack) -> None:
    add(stack, "milk", "past")
    add(stack, "bread", "past")
    then = headrace_json("events", "at", "list-past", "--version", "1", folder=stack.folder)
    assert (then["version"], then["state"]) == (1, {"items": ["milk"]})
    recorded_at = then["recorded_at"]
    assert headrace_json("events", "at", "list-past", "--time", recorded_at, folder=stack.folder) == then
    assert (
        'List         {"items":["bread","milk"]}' in headrace("events", "at", "list-past", folder=stack.folder).stdout
    )
    changes = headrace_json("events", "diff", "list-past", recorded_at, "2", folder=stack.folder)["changes"]
    assert changes == [{"path": "/items/0", "before": "milk", "after": "bread"}, {"path": "/items/1", "after": "milk"}]
    assert "/items/1" in headrace("events", "diff", "list-past", "1", "2", folder=stack.folder).stdout


def test_an_audit_says_what_when_who_and_why(stack: Stack) -> None:
    add(stack, "salt, fine", "audited")
    shown = headrace("events", "audit", "--stream", "list-audited", "--from", "2024-03-15", folder=stack.folder)
    assert shown.stdout.endswith("by ada, AddItem party\n")
    assert shown.stdout.count("\n") == 1
    last = headrace_json("events", "audit", "--category", "list", "--from", "2024-03-15", folder=stack.folder)
    assert (last["metadata"]["actor"], last["data"]["item"]) == ("ada", "salt, fine")


def test_an_export_is_a_whole_file_or_none(stack: Stack, tmp_path: Path) -> None:
    add(stack, 'a "quoted", item', "exported")
    path = tmp_path / "audit.csv"
    period = ["--from", "2024-03-15", "--stream", "list-exported"]
    export = ["events", "audit", "--format", "csv", "--output", str(path)]
    done = headrace(*export, *period, folder=stack.folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "1 event\n")
    (found,) = csv.DictReader(path.read_text().splitlines())
    assert (found["actor"], found["command"], found["causation_id"]) == ("ada", "AddItem", "")
    assert json.loads(found["data"])["item"] == 'a "quoted", item'
    lost = headrace(*export, "--from", "2024-03-15", "--stream", "list-nobody", folder=stack.folder)
    assert lost.returncode == InvalidInput.exit_code
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_text().count("\n") == 2
    nowhere = [*export[:-1], str(tmp_path / "no" / "folder"), *period]
    assert "No such file" in headrace(*nowhere, folder=stack.folder).stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["at", "list-nobody"], "no stream 'list-nobody'"),
        (["at", "cart-1"], "No command of this domain"),
        (["at", "list\n1"], "Not a stream name"),
        (["show", "list\n1"], "Not a stream name"),
        (["at", "list-1", "--version", "1", "--time", "2024-03-15"], "not by both"),
        (["at", "list-1", "--time", "then"], "Not a time"),
        (["diff", "list-1", "1", "then"], "Not a time"),
        (["audit", "--from", "then"], "Not a time"),
        (["audit", "--from", "2024-03-15", "--to", "2024-03-15"], "period is empty"),
        (["audit", "--from", "2024-03-15", "--stream", "list-nobody"], "no stream"),
        (["audit", "--from", "2024-03-15", "--stream", "a", "--type", "B"], "one of the three"),
        (["audit", "--from", "2024-03-15", "--category", "list-1"], "Not a category"),
        (["audit", "--from", "2024-03-15", "--type", "list-1"], "Not an event type"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_bad_input_is_said_in_words(stack: Stack, arguments: list[str], words: str) -> None:
    done = headrace("events", *arguments, folder=stack.folder)
    assert (done.returncode, done.stdout) == (InvalidInput.exit_code, ""), done.stderr
    assert words in done.stderr
