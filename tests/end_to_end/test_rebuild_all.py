"""The whole read side thrown away and loaded again from the event store: same events, same answers."""

from __future__ import annotations

from pathlib import Path

from support.running_project import headrace, headrace_json


def test_everything_comes_back_from_the_event_store(tmp_path: Path) -> None:
    load = ("demo", "--once", "--events", "3000", "--users", "20", "--folder", str(tmp_path / "demo"))
    first = headrace_json(*load, folder=tmp_path)

    again = headrace("rebuild", "--all", "--project", str(tmp_path / "demo" / "wellness"), folder=tmp_path)
    assert again.returncode == 0, again.stderr
    second = headrace_json(*load, folder=tmp_path)

    assert first["events_visible"] == second["events_visible"] == 3000
    assert first["answers"] == second["answers"]


def test_a_name_or_all_but_not_both_and_not_neither(tmp_path: Path) -> None:
    (tmp_path / "headrace.toml").write_text('project = "some"\n')
    for arguments in ((), ("items", "--all")):
        refused = headrace("rebuild", *arguments, folder=tmp_path)
        assert refused.returncode == 2
        assert "Name one stream or table, or say --all" in refused.stderr
