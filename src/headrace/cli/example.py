"""The examples that come with the package: where they are, and how a copy is made."""

from __future__ import annotations

import shutil
from importlib import resources
from pathlib import Path

import headrace
from headrace.errors import Unknown


def example_folder(name: str) -> Path:
    """The folder of an example. In an installed wheel they lie inside the package, in a checkout beside it."""
    installed = Path(str(resources.files(headrace))) / "examples" / name
    beside = Path(headrace.__file__).parents[2] / "examples" / name
    for folder in (installed, beside):
        if (folder / "headrace.toml").exists():
            return folder
    raise Unknown(f"There is no example called {name[:40]!r}.", hint="Use wellness.")


def place_example(name: str, folder: Path) -> Path:
    """Copy an example's files to `folder`, over an older copy; its data stays. Returns the folder."""
    ignore = shutil.ignore_patterns("__pycache__", ".headrace")
    shutil.copytree(example_folder(name), folder, dirs_exist_ok=True, ignore=ignore)
    return folder.resolve()
