"""`headrace events catalog`: the domain against what is really stored."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.running_project import headrace

from headrace.embedded.clickhouse.process import EmbeddedClickHouse
from headrace.event_store.event_store import EventStore
from headrace.events.event import Event

CHANGED = """
class ItemListed(Event, version=2, renamed_from="ItemAdded"):
    list_id: str
    item: str
    quantity: int


@upcaster(ItemListed, 1)
def one_of_each(data):
    return {**data, "quantity": 1}
"""


class ItemAdded(Event):
    list_id: str
    item: str


class ItemBought(Event):
    item: str


@pytest.fixture
def project(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "project", ignore=shutil.ignore_patterns(".headrace")))


@pytest.fixture
def where(url: str, clickhouse_server: EmbeddedClickHouse) -> dict[str, str]:
    return {"HEADRACE_POSTGRES__URL": url, "HEADRACE_CLICKHOUSE__URL": clickhouse_server.url}


def catalog(project: Path, where: dict[str, str], *options: str) -> tuple[int, dict[str, Any]]:
    done = headrace("events", "catalog", "--json", *options, folder=project, extra=where)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


async def test_what_is_stored_is_counted_and_found_compatible(
    project: Path, where: dict[str, str], store: EventStore
) -> None:
    await store.append("list-a", [ItemAdded(list_id="a", item="milk"), ItemAdded(list_id="a", item="tea")])
    code, found = catalog(project, where)
    assert (code, found["compatible"], found["checked"], found["all"]) == (0, True, 2, True)
    (kind,) = found["types"]
    assert kind["stored"] == [
        {"type": "ItemAdded", "schema_version": 1, "events": 2, "breaking": 0, "problem": ""},
    ]
    assert "list_id" in json.dumps(kind["schema"])
    code, found = catalog(project, where, "--last", "1")
    assert (code, found["checked"], found["all"]) == (0, 1, False)


async def test_a_changed_domain_reads_what_was_stored_before(
    project: Path, where: dict[str, str], store: EventStore
) -> None:
    await store.append("list-a", [ItemAdded(list_id="a", item="milk")])
    (project / "domain.py").write_text("from headrace import Event, upcaster\n" + CHANGED)
    for path in project.glob("streams/*.sql"):
        path.unlink()
    code, found = catalog(project, where)
    assert code == 0
    (kind,) = found["types"]
    assert (kind["type"], kind["schema_version"], kind["upcasters"]) == ("ItemListed", 2, ["one_of_each"])
    assert [(shape["type"], shape["schema_version"]) for shape in kind["stored"]] == [("ItemAdded", 1)]
    shown = headrace("events", "catalog", folder=project, extra=where)
    assert "one_of_each → ItemListed" in shown.stdout
    assert "Checked all 1 events." in shown.stderr


async def test_what_breaks_is_named_and_the_exit_code_is_1(
    project: Path, where: dict[str, str], store: EventStore
) -> None:
    await store.append("list-a", [ItemAdded(list_id="a", item="milk"), ItemBought(item="milk")])
    domain = project / "domain.py"
    domain.write_text(domain.read_text().replace("    item: str\n\n\nclass List", "    name: str = ''\n\n\nclass List"))
    code, found = catalog(project, where)
    assert (code, found["compatible"]) == (1, False)
    (undeclared,) = found["undeclared"]
    assert (undeclared["type"], undeclared["breaking"]) == ("ItemBought", 1)
    assert "Stream list-a, version 2" in undeclared["problem"]
    ((shape,),) = [kind["stored"] for kind in found["types"]]
    assert "does not declare item: renamed or removed without a new version" in shape["problem"]
    assert headrace("events", "catalog", folder=project, extra=where).returncode == 1


async def test_a_missing_upcaster_is_said_before_anything_is_read(project: Path, where: dict[str, str]) -> None:
    domain = project / "domain.py"
    domain.write_text(domain.read_text().replace("ItemAdded(Event)", "ItemAdded(Event, version=2)"))
    code, found = catalog(project, where)
    assert (code, found["error"]) == (3, "InvalidConfiguration")
    assert "nothing lifts it from version 1" in found["message"]
