"""A project run as its users run it: the command line in a child process, everything else over the network."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx

Seen = TypeVar("Seen")

HEADRACE = Path(sys.executable).with_name("headrace")
EXAMPLES = Path(__file__).parents[2] / "examples"
WELLNESS = EXAMPLES / "wellness"
BANK = EXAMPLES / "bank"
READY_MAX_S = 60.0
STOP_MAX_S = 60.0


def environ(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a user who has set nothing but free ports."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
    return {**clean, "HEADRACE_HTTP__PORT": "0", "HEADRACE_CLICKHOUSE__PORT": "0", **(extra or {})}


def headrace(
    *arguments: str, folder: Path, extra: Mapping[str, str] | None = None, timeout_s: float = 90.0
) -> subprocess.CompletedProcess[str]:
    """Run one verb to its end in `folder`. No error of ours may show a Python traceback."""
    done = subprocess.run(
        [HEADRACE, *arguments],
        cwd=folder,
        env=environ(extra),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def headrace_json(*arguments: str, folder: Path) -> Any:
    """Run one verb with `--json`, which must succeed; the value of its last line."""
    done = headrace(*arguments, "--json", folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def wait_until(look: Callable[[], Seen], what: str, timeout_s: float = READY_MAX_S) -> Seen:
    """Look until it is true; what was seen then."""
    deadline = time.monotonic() + timeout_s
    while not (seen := look()):
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what}"
        time.sleep(0.05)
    return seen


class Running:
    """`headrace dev`, or another verb that goes on, as a child process with its messages kept."""

    def __init__(self, *arguments: str, folder: Path, extra: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [HEADRACE, *arguments],
            cwd=folder,
            env=environ(extra),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._said: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def said(self) -> str:
        return "".join(self._said)

    def wait_for(self, pattern: str, *, after: int = 0) -> re.Match[str]:
        """The first match in its messages behind the first `after` characters."""

        def look() -> re.Match[str] | None:
            assert self.process.poll() is None, self.said
            return re.search(pattern, self.said[after:])

        found = wait_until(look, f"{pattern!r} in what it says")
        assert found is not None
        return found

    def url(self) -> str:
        """The address of its API."""
        return self.wait_for(r"http://127\.0\.0\.1:\d+(?= — reloads|\. |\n)").group(0)

    def members(self) -> set[int]:
        """The process ids of its descendants, databases and their children too."""
        parents: dict[int, int] = {}
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = path.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(path.parent.name)] = int(fields[1])
        found = {self.process.pid}
        while more := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= more
        return found - {self.process.pid}

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """Ctrl-C; the exit code, once nothing it started is left."""
        if self.process.poll() is not None:
            return self.process.returncode
        members = self.members()
        self.process.send_signal(number)
        code = self.process.wait(STOP_MAX_S)
        self._reader.join(5)
        left = {pid for pid in members if _alive(pid)}
        assert not left, f"left behind: {left}"
        return code

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._said.append(line)
        self.process.stderr.close()


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


class Stack(Running):
    """`headrace dev` that is ready: its API behind `http`, its ClickHouse behind `sql`."""

    def __init__(self, folder: Path, extra: Mapping[str, str] | None = None) -> None:
        super().__init__("dev", folder=folder, extra=extra)
        self.http = httpx.Client(base_url=self.url(), timeout=30)
        self.wait_ready()
        addresses = json.loads((folder / ".headrace" / "addresses.json").read_text())
        self.clickhouse_url: str = addresses["clickhouse_url"]

    def wait_ready(self) -> None:
        def ready() -> bool:
            assert self.process.poll() is None, self.said
            try:
                return self.http.get("/readyz").status_code == 200
            except httpx.HTTPError:
                return False

        try:
            wait_until(ready, "ready")
        except AssertionError as error:
            raise AssertionError(self.said) from error

    def wait_reloaded(self, *, after: int) -> None:
        """Wait until `dev` has taken a change over, said behind the first `after` characters, and serves again."""
        self.wait_for(r"Reloading: .*\n(.*\n)*?http.* — reloads on change", after=after)
        self.wait_ready()

    def sql(self, statement: str) -> list[dict[str, Any]]:
        """Ask ClickHouse as curl would: the statement in the body of a POST."""
        answer = httpx.post(
            self.clickhouse_url, content=statement, params={"default_format": "JSONEachRow"}, timeout=30
        )
        assert answer.status_code == 200, answer.text
        return [json.loads(line) for line in answer.text.splitlines()]

    def query(self, name: str, position: str = "", **parameters: str) -> list[dict[str, Any]]:
        """A query's rows, read no earlier than `position`."""
        headers = {"X-Headrace-Min-Position": position} if position else {}
        answer = self.http.get(f"/queries/{name}", params=parameters, headers=headers)
        assert answer.status_code == 200, answer.text
        rows: list[dict[str, Any]] = answer.json()["data"]
        return rows


@contextmanager
def running_stack(folder: Path, extra: Mapping[str, str] | None = None) -> Iterator[Stack]:
    """`headrace dev` in `folder` for as long as the block runs; stopped by Ctrl-C, with nothing left behind."""
    stack: Stack | None = None
    try:
        stack = Stack(folder, extra)
        yield stack
        assert stack.stop() == 0, stack.said
    finally:
        if stack is not None:
            stack.http.close()
            stack.kill()


def copy_wellness(folder: Path) -> Path:
    """The wellness example in a folder of its own."""
    return copy_example(WELLNESS, folder)


def copy_example(example: Path, folder: Path) -> Path:
    """An example in a folder of its own."""
    shutil.copytree(example, folder, ignore=shutil.ignore_patterns("__pycache__", ".headrace"))
    return folder
