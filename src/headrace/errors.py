"""Every error that Headrace raises on purpose, one class per thing the caller can do about it.

    Error
    ├── InvalidInput            fix the input
    │   ├── InvalidSQL          … at this place in the statement
    │   └── Unknown             … it names something that does not exist
    ├── InvalidConfiguration    fix headrace.toml, the project folder or the database's settings
    ├── Conflict                read again and retry
    ├── Rejected                nothing: the domain said no
    ├── LimitExceeded           ask for less
    ├── Unavailable             wait; the other side is down or behind
    │   └── Behind              … the read side has not reached this position yet
    ├── Corrupt                 restore, then report
    └── AlreadyRunning          stop the other process, or use it

Nothing here may import from the rest of the package, and no message may hold a password or row data.
"""

from __future__ import annotations

from typing import ClassVar


class Error(Exception):
    """What happened, with which values, and the next thing to do.

    `message` is one factual line; `detail` names the values (expected, got, where); `hint` is the next
    command or change. `http_status` and `exit_code` are how the HTTP and command lines say it.
    """

    http_status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, detail: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail
        self.hint = hint

    def __str__(self) -> str:
        lines = [self.message]
        if self.detail:
            lines.append(f"  detail: {self.detail}")
        if self.hint:
            lines.append(f"  hint:   {self.hint}")
        return "\n".join(lines)

    def as_dict(self) -> dict[str, str]:
        """The shape of every error body over HTTP and of every `--json` error: error, message, detail, hint."""
        return {
            "error": type(self).__name__,
            "message": self.message,
            "detail": self.detail,
            "hint": self.hint,
        }


class InvalidInput(Error):
    """The caller sent something malformed; nothing was written."""

    http_status = 400
    exit_code = 2


class InvalidSQL(InvalidInput):
    """A statement does not parse or does not type-check. `line` and `column` count from 1."""

    def __init__(self, message: str, detail: str = "", hint: str = "", *, line: int = 1, column: int = 1) -> None:
        super().__init__(message, detail, hint)
        self.line = line
        self.column = column


class UnknownSource(InvalidSQL):
    """A definition reads from something that does not exist; a mirrored table can come into being later."""


class Unknown(InvalidInput):
    """The caller named a command, query, stream or parameter that does not exist."""

    http_status = 404


class InvalidConfiguration(Error):
    """A setting, a project file or a database's own settings cannot work; nothing was started."""

    exit_code = 3


class Conflict(Error):
    """Somebody else wrote first. Read again, decide again, retry."""

    http_status = 409
    exit_code = 4


class Rejected(Error):
    """The domain refused the command. Repeating it gives the same answer until the state changes."""

    http_status = 422
    exit_code = 5


class LimitExceeded(Error):
    """The request would go over a limit of time, rows, bytes or memory. Ask for less or raise the limit."""

    http_status = 413
    exit_code = 6


class Unavailable(Error):
    """A database cannot be reached or refuses to work for now. Nothing was lost; retry later."""

    http_status = 503
    exit_code = 7


class Behind(Unavailable):
    """The read side did not reach the asked position within the wait. Retry, or ask without `min_position`."""

    http_status = 504


class Corrupt(Error):
    """Stored data contradicts itself. Restore or rebuild, and report what the detail says."""

    exit_code = 8


class AlreadyRunning(Error):
    """Another process holds the port, the data folder or the replication slot."""

    http_status = 503
    exit_code = 9
