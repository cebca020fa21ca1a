"""`headrace demo`: once and again on the same folder, cut off in the middle, and stopped while it serves."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path
from typing import Any

import httpx
from support.running_project import Running, headrace, wait_until

KEYS = ["events_appended", "events_visible", "append_per_s", "visible_per_s", "seconds", "answers"]


def once(folder: Path, events: int) -> dict[str, Any]:
    done = headrace(
        "demo", "--once", "--json", "--events", str(events), "--users", "20", "--folder", "demo", folder=folder
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert list(result) == KEYS
    assert result["events_appended"] == result["events_visible"]
    return result


def test_once_and_again_on_the_same_folder(tmp_path: Path) -> None:
    first = once(tmp_path, 3_000)
    assert first["events_visible"] == 3_000
    assert all(first["answers"].values())
    again = once(tmp_path, 5_000)
    assert again["events_visible"] == 5_000
    assert set(again["answers"]) == set(first["answers"])


def test_import_that_was_cut_off_is_completed_exactly(tmp_path: Path) -> None:
    """Not one event more or fewer, although the first run ended anywhere in the middle."""
    arguments = ("demo", "--once", "--json", "--events", "150000", "--users", "50", "--folder", "demo")
    cut = Running(*arguments, folder=tmp_path)
    try:
        kept = tmp_path / "demo" / "wellness" / ".headrace" / "demo.json"
        wait_until(kept.exists, "the import has begun")
        assert cut.stop() != 0
        assert "goes on from here" in cut.said
        assert "Traceback" not in cut.said
    finally:
        cut.kill()
    assert once(tmp_path, 150_000)["events_visible"] == 150_000


def test_serves_until_ctrl_c_and_refuses_a_second_one(tmp_path: Path) -> None:
    arguments = ("demo", "--events", "2000", "--users", "20", "--folder", "demo")
    demo = Running(*arguments, folder=tmp_path)
    try:
        url = demo.wait_for(r"The page: (http://127\.0\.0\.1:\d+)").group(1)

        def count() -> int:
            try:
                return int(httpx.get(f"{url}/status").json()["events_visible"])
            except httpx.HTTPError:
                return 0

        wait_until(lambda: count() > 2000, "simulated people go on logging")
        assert httpx.get(url, follow_redirects=True).status_code == 200
        assert len(re.findall(r"^  (?:curl|headrace) ", demo.said, re.MULTILINE)) == 3
        second = headrace(*arguments, folder=tmp_path)
        assert second.returncode == 9
        assert "running already" in second.stderr
        assert demo.stop(signal.SIGINT) == 0
    finally:
        demo.kill()
