"""The fenced blocks of a page of the documentation, and what the comment above each says about it.

CONTRIBUTING.md ("Snippets") explains the convention to writers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "docs" / "tutorial.md", *sorted((ROOT / "docs" / "how-to").glob("*.md"))]
COMMENTS = ("background", "repeat", "file", "skip")

_FENCE = re.compile(r"(?:^<!-- (?P<comment>[^\n]*) -->\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.M | re.S)
_POSITION = re.compile(r"\b[0-9A-F]+/[0-9A-F]+(?:\.\d+)?\b")


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block. `comment` is the word of the comment above it, `argument` what follows the colon."""

    page: Path
    line: int
    language: str
    text: str
    comment: str
    argument: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@dataclass(frozen=True, slots=True)
class Command:
    """One `$` line of a console block, and the lines below it: what it must print."""

    text: str
    shown: str


def blocks(page: Path) -> list[Block]:
    """The blocks of a page in order."""
    text = page.read_text()
    found = []
    for fence in _FENCE.finditer(text):
        comment, _, argument = (fence["comment"] or "").partition(": ")
        line = text.count("\n", 0, fence.start("language")) + 1
        found.append(Block(page, line, fence["language"], fence["text"], comment, argument))
    return found


def commands(block: Block) -> list[Command]:
    """The commands of a console block."""
    assert block.text.startswith("$ "), f"{block}: a console block begins with a command: $ …"
    parts = re.split(r"^\$ ", block.text, flags=re.M)[1:]
    return [Command(*(half.strip() for half in part.partition("\n")[::2])) for part in parts]


def find_shown(shown: str, printed: str) -> dict[str, str] | None:
    """Whether `shown` stands in what was printed; the real position for each position shown. None: it does not.

    `…` stands for anything, or nothing; any white space for any other; any position for any other.
    """
    names: dict[str, str] = {}
    pattern = ""
    for piece in re.split(rf"(\s*…\s*|\s+|{_POSITION.pattern})", shown):
        if "…" in piece:
            pattern += ".*?"
        elif piece.isspace():
            pattern += r"\s+"
        elif _POSITION.fullmatch(piece):
            known = next((group for group, position in names.items() if position == piece), "")
            group = known or f"position{len(names)}"
            names[group] = piece
            pattern += f"(?P={group})" if known else f"(?P<{group}>{_POSITION.pattern})"
        else:
            pattern += re.escape(piece)
    found = re.search(pattern, printed, re.DOTALL)
    return None if found is None else {position: found[group] for group, position in names.items()}
