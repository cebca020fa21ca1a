"""A project without domain.py: nothing to command, everything else works."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.running_project import headrace, headrace_json, running_stack

from headrace.errors import InvalidConfiguration
from headrace.runtime.project import Project
from headrace.settings import Settings


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "queries").mkdir()
    (tmp_path / "headrace.toml").write_text('project = "onlooker"')
    (tmp_path / "queries" / "one.sql").write_text("SELECT 1 AS one")
    return tmp_path


def test_it_has_an_empty_domain_and_no_reactors(project: Path) -> None:
    loaded = Project.load(Settings.load(project, environ={}))
    assert not loaded.domain.commands
    assert not loaded.domain.events.by_name()
    assert loaded.roles == ["worker", "serve"]
    assert [query.name for query in loaded.catalog] == ["one"]


def test_reactors_still_need_the_events_they_name(project: Path) -> None:
    (project / "reactors.py").write_text(
        "from headrace import Event, reactor\n"
        "class Seen(Event):\n    name: str\n"
        "@reactor('looking')\ndef look(event: Seen) -> None: ...\n"
    )
    with pytest.raises(InvalidConfiguration, match=r"domain\.py"):
        Project.load(Settings.load(project, environ={}))


def test_it_runs_answers_queries_and_refuses_commands(project: Path) -> None:
    (found,) = [each for each in findings(project) if each["check"] == "project"]
    assert found["ok"]
    assert found["detail"] == "onlooker: 0 commands, 1 queries"
    with running_stack(project) as stack:
        assert stack.query("one") == [{"one": 1}]
        assert stack.http.get("/commands").json() == {"commands": []}
        assert stack.http.post("/commands/Anything", json={}).status_code == 404
        assert all(each["ok"] for each in findings(project))
        assert headrace("status", folder=project).returncode == 0
        assert headrace("sql", "SHOW EVENTS", folder=project).returncode == 0


def findings(project: Path) -> list[dict[str, object]]:
    found: list[dict[str, object]] = headrace_json("doctor", folder=project)
    return found
