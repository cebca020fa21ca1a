"""`headrace dev` while its files change: what works is taken over, what does not is refused and the old goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.running_project import Stack, headrace, running_stack, wait_until


@pytest.fixture(scope="module")
def edited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("edited")
    assert headrace("init", "groceries", folder=folder).returncode == 0
    with running_stack(folder / "groceries") as stack:
        yield stack


def refused(stack: Stack, path: str, text: str, words: str) -> None:
    """Write a file, and wait until `dev` has said what is wrong with it."""
    said = len(stack.said)
    (stack.folder / path).write_text(text)
    stack.wait_for(rf"Not reloaded: (.*\n)*?.*{words}", after=said)


def taken_over(stack: Stack, path: str, text: str) -> None:
    """Write a file, or remove it when there is no text, and wait until `dev` runs with it."""
    said = len(stack.said)
    (stack.folder / path).write_text(text) if text else (stack.folder / path).unlink()
    stack.wait_reloaded(after=said)
    assert path in stack.said[said:]


@pytest.mark.parametrize(
    ("path", "text", "words"),
    [
        ("streams/broken.sql", "CREATE TABLE broken AS SELECT FROM", r"broken\.sql"),
        ("streams/broken.sql", "CREATE STREAM s AS SELECT nope(item) AS x FROM ItemAdded", "nope"),
        ("streams/broken.sql", "CREATE STREAM s AS SELECT item FROM Nothing", "Nothing"),
        ("queries/broken.sql", "-- nonsense: yes\nSELECT {a:NoSuchType}", "broken"),
        ("dashboards/broken.toml", "title = ", r"broken\.toml"),
    ],
    ids=["syntax", "function", "source", "query", "dashboard"],
)  # fmt: skip
def test_broken_file_is_refused_and_the_old_one_goes_on(edited: Stack, path: str, text: str, words: str) -> None:
    refused(edited, path, text, words)
    assert "Traceback" not in edited.said
    edited.wait_ready()
    taken_over(edited, path, "")


def test_broken_domain_is_refused_and_the_old_one_goes_on(edited: Stack) -> None:
    domain = (edited.folder / "domain.py").read_text()
    refused(edited, "domain.py", domain + "\nclass X(:\n", "SyntaxError")
    answer = edited.http.post("/add-item", json={"list_id": "a", "item": "still"})
    assert answer.status_code == 201
    taken_over(edited, "domain.py", domain + '\n"""Mended."""\n')


def test_changed_domain_stream_and_query_are_taken_over(edited: Stack) -> None:
    domain = (edited.folder / "domain.py").read_text()
    taken_over(edited, "domain.py", domain.replace('route="/add-item"', 'route="/put-item"'))
    answer = edited.http.post("/put-item", json={"list_id": "taken", "item": "over"})
    assert answer.status_code == 201, answer.text

    stream = "CREATE TABLE longest AS SELECT list_id, MAX(length(item)) AS letters FROM ItemAdded GROUP BY list_id;"
    taken_over(edited, "streams/longest.sql", stream)
    query = "SELECT letters FROM longest WHERE list_id = {list_id:String}"
    taken_over(edited, "queries/longest.sql", query)

    def answered() -> bool:
        answer = edited.http.get("/queries/longest?list_id=taken")
        return answer.status_code == 200 and answer.json()["data"] == [{"letters": 4}]

    wait_until(answered, "the new query answers from the new table")


def test_files_of_the_running_project_do_not_reload_it(edited: Stack) -> None:
    said = len(edited.said)
    Path(edited.folder, ".headrace", "note.py").write_text("1")
    Path(edited.folder, "README.txt").write_text("1")
    taken_over(edited, "queries/longest.sql", "SELECT 1 AS one")
    assert "note.py" not in edited.said[said:]
    assert "README" not in edited.said[said:]
