"""COPY's text format, of values that are JSON, names and tags: what becomes of their backslashes, and arrays."""

from __future__ import annotations

from collections.abc import Sequence


def escape(text: bytes) -> bytes:
    """Of what JSON and names can hold, only the backslash means something to COPY."""
    return text.replace(b"\\", b"\\\\")


def array(tags: Sequence[str]) -> bytes:
    """A text array as COPY reads it: each element in quotes, as JSON has them but for what is escaped."""
    quoted = ('"' + tag.replace("\\", "\\\\").replace('"', '\\"') + '"' for tag in tags)
    return escape(("{" + ",".join(quoted) + "}").encode())
