"""Every snippet of the README, the tutorial and the how-tos runs, in order, in one temporary folder on a real stack."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.documentation import COMMENTS, PAGES, ROOT, Block, blocks, commands, find_shown

COMMAND_MAX_S = 90.0
REPEAT_MAX_S = 60.0
REPEAT_PAUSE_S = 0.3
STOP_MAX_S = 30.0


class Reader:
    """Does what a page tells its reader to do."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ports = {port: _free_port() for port in ("8080", "8123", "8081", "8124")}
        self._positions: dict[str, str] = {}
        self._background: list[subprocess.Popen[bytes]] = []
        self._log = (folder / "background.log").open("wb")
        self._environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HEADRACE_HTTP__PORT": self._ports["8080"],
            "HEADRACE_CLICKHOUSE__PORT": self._ports["8123"],
        }

    def follow(self, block: Block) -> None:
        if block.comment == "skip" or block.language == "text":
            return
        if block.comment == "file":
            path = self._folder / block.argument
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
            return
        assert block.language == "console", f"{block}: nothing says what to do with this block; see CONTRIBUTING.md"
        if block.comment == "background":
            self._start(block)
            return
        deadline = time.monotonic() + REPEAT_MAX_S
        while (difference := self._run(block)) and block.comment == "repeat" and time.monotonic() < deadline:
            time.sleep(REPEAT_PAUSE_S)
        assert not difference, f"{block}: {difference}\n\nIn the background:\n{self.background_log()}"

    def background_log(self) -> str:
        return Path(self._log.name).read_text()[-4000:]

    def close(self) -> None:
        for process in reversed(self._background):
            process.send_signal(signal.SIGINT)
        for process in self._background:
            try:
                process.wait(STOP_MAX_S)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        self._log.close()

    def _start(self, block: Block) -> None:
        (command,) = commands(block)
        self._background.append(
            subprocess.Popen(
                ["bash", "-c", f"exec {self._real(command.text)}"],
                cwd=self._folder,
                env=self._environment,
                stdout=self._log,
                stderr=self._log,
            )
        )

    def _run(self, block: Block) -> str:
        """Run the commands of a block; what was different from what the page shows, or nothing."""
        for command in commands(block):
            text = self._real(command.text)
            if text.startswith("cd "):
                self._folder = self._folder / text.removeprefix("cd ")
                continue
            done = subprocess.run(
                ["timeout", f"{COMMAND_MAX_S:g}", "bash", "-c", text],
                cwd=self._folder,
                env=self._environment,
                capture_output=True,
                check=False,
            )
            printed = (done.stdout + done.stderr).decode()
            found = find_shown(command.shown, printed)
            if done.returncode != 0 or found is None:
                return f"$ {text}\nexpected:\n{command.shown}\nexit code {done.returncode}, printed:\n{printed}"
            self._positions.update(found)
        return ""

    def _real(self, text: str) -> str:
        """The command with this run's ports, and the positions that were really printed."""
        for shown, real in self._positions.items():
            text = re.sub(rf"(?<!\w){re.escape(shown)}(?![\w.])", real, text)
        shown = "|".join(self._ports)
        return re.sub(rf"(127\.0\.0\.1:|PORT=)({shown})\b", lambda match: match[1] + self._ports[match[2]], text)


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    made = Reader(tmp_path)
    yield made
    made.close()


@pytest.mark.timeout(400)  # under a minute on two free cores; a dozen processes start on the way
def test_every_snippet_runs_as_shown(reader: Reader) -> None:
    for page in sorted(PAGES, key=_reading_order):
        for block in blocks(page):
            reader.follow(block)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_snippet_says_how_it_is_tested(page: Path) -> None:
    for block in blocks(page):
        assert block.comment in ("", *COMMENTS), f"{block}: the comment above it is not known"
        assert block.comment != "skip" or block.argument, f"{block}: skipped without a reason"
        assert block.comment or block.language in ("console", "text"), f"{block}: nothing says what to do with it"
        if block.language == "python":
            compile(block.text, str(block), "exec")
        if block.language == "toml":
            tomllib.loads(block.text)


def _reading_order(page: Path) -> int:
    """The tutorial makes the project that all other pages go on with; a page comes after those that it names first."""
    order = ["README", "tutorial", "read-your-writes", "correct-a-mistake", "add-a-query", "add-a-dashboard"]
    return order.index(page.stem) if page.stem in order else len(order)


def _free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])
