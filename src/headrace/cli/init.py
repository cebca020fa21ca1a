"""`headrace init`: a new project, small enough to read in a minute."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from headrace.cli.output import note
from headrace.errors import InvalidInput

FILES = {
    "headrace.toml": 'project = "{name}"\n',
    "domain.py": '''"""Events, commands and deciders. Deciders are pure: command and state in, events out."""

from collections.abc import Iterable
from typing import Self

from msgspec import Struct

from headrace import Command, Event, Rejected, decider


class AddItem(Command, stream="list-{{list_id}}", route="/add-item"):
    """Put an item on a list."""

    list_id: str
    item: str


class ItemAdded(Event):
    list_id: str
    item: str


class List(Struct, frozen=True):
    items: frozenset[str] = frozenset()

    def evolve(self, event: ItemAdded) -> Self:
        return type(self)(self.items | {{event.item}})


@decider(AddItem)
def add_item(command: AddItem, state: List) -> Iterable[Event]:
    if command.item in state.items:
        raise Rejected(f"{{command.item}} is on the list already.")
    yield ItemAdded(list_id=command.list_id, item=command.item)
''',
    "streams/items.sql": """CREATE TABLE items_per_list AS
  SELECT list_id, COUNT(*) AS items FROM ItemAdded GROUP BY list_id EMIT CHANGES;
""",
    "queries/items_per_list.sql": """-- title: Items per list
-- default list_id: ''
SELECT list_id, items
FROM items_per_list
WHERE {{list_id:String}} = '' OR list_id = {{list_id:String}}
ORDER BY list_id
""",
    "dashboards/lists.toml": """title = "Lists"

[[tiles]]
title = "Items per list"
query = "items_per_list"
kind = "table"
""",
    ".gitignore": ".headrace/\n",
}


def init(name: Annotated[str, typer.Argument(help="Name of the project, and of its folder.")]) -> None:
    """Begin a project: a domain with one command, a table, a query and a page."""
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name):
        raise InvalidInput(f"Not a project name: {name[:60]!r}.", hint="Use a-z, 0-9 and _, beginning with a letter.")
    folder = Path(name)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InvalidInput(f"{folder} is there already, and not an empty folder.", hint="Choose another name.")
    for path, text in FILES.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text.format(name=name))
    note(f"Made {folder}/ with {len(FILES)} files. Next:\n\n  cd {name}\n  headrace dev\n")
