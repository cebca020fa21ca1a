"""ClickHouse's exceptions as its HTTP interface shows them: a code, a message, an HTTP status.

The engine raises plain text; this module reads the code back out of it. No wording of our own may replace the
engine's, because clients and people look errors up by it.
"""

from __future__ import annotations

import enum
import re
from typing import Final


class Code(enum.IntEnum):
    """The error codes that this interface raises by itself. The engine has some nine hundred more."""

    BAD_ARGUMENTS = 36
    NOT_IMPLEMENTED = 48
    SYNTAX_ERROR = 62
    UNKNOWN_TYPE_OF_QUERY = 78
    UNKNOWN_COMPRESSION_METHOD = 89
    INCORRECT_DATA = 117
    READONLY = 164
    TOO_MANY_SIMULTANEOUS_QUERIES = 202
    QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING = 216
    QUERY_IS_TOO_LARGE = 229
    CANNOT_DECOMPRESS = 271
    INTO_OUTFILE_NOT_ALLOWED = 358
    SESSION_NOT_FOUND = 372
    SESSION_IS_LOCKED = 373
    INVALID_SESSION_TIMEOUT = 374
    QUERY_WAS_CANCELLED = 394
    AUTHENTICATION_FAILED = 516
    UNKNOWN_EXCEPTION = 1002


# As in ClickHouse's src/Server/HTTP/exceptionCodeToHTTPStatus.cpp; every other code is a 500.
_CODES_BY_STATUS: Final = {
    400: (6, 8, 15, 25, 26, 27, 36, 37, 38, 41, 44, 53, 62, 72, 117, 123, 167, 168, 223, 321, 376, 427, 441, 675, 676),
    401: (194,),
    403: (192, 193, 497, 512, 516),
    404: (46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 152, 336, 511),
    408: (159,),
    411: (381,),
    413: (229,),
    415: (779,),
    501: (48,),
    503: (76, 209, 439),
}
_STATUS: Final = {code: status for status, codes in _CODES_BY_STATUS.items() for code in codes}
_PREFIX: Final = re.compile(r"\s*Code: (\d+)\. DB::Exception: ")
_VERSION: Final = re.compile(r"\s*\(version [^()]*(?:\([^()]*\))?\)\.?")


class ClickHouseException(Exception):
    """One exception of ClickHouse. `text` is its message with neither code nor version, `(NAME)` at its end."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text

    @property
    def status(self) -> int:
        """The HTTP status that ClickHouse answers this code with."""
        return _STATUS.get(self.code, 500)

    def body(self, version: str) -> bytes:
        """The response body, in the server's words and ending in a newline."""
        return f"Code: {self.code}. DB::Exception: {self.text} (version {version})\n".encode()


def refused(code: Code, message: str) -> ClickHouseException:
    """An exception raised by the interface itself, worded as the server words it."""
    return ClickHouseException(int(code), f"{message} ({code.name})")


def from_engine(message: str) -> ClickHouseException:
    """Read the engine's error text.

    chDB wraps some exceptions two or three times (`Code: 115. DB::Exception: Code: 115. DB::Exception: … (NAME)
    (version …). (NAME)`); the innermost is what a server would have said.
    """
    code = int(Code.UNKNOWN_EXCEPTION)
    text = message.strip()
    while match := _PREFIX.match(text):
        code = int(match[1])
        text = text[match.end() :]
    text = _VERSION.sub("", text).strip()
    names = re.search(r"\s*(\([A-Z][A-Z0-9_]+\))(?:[.\s]*\1)*\.?$", text)
    if names:
        text = f"{text[: names.start()]} {names[1]}"
    elif code == Code.UNKNOWN_EXCEPTION:
        text = f"{text} ({Code.UNKNOWN_EXCEPTION.name})"
    return ClickHouseException(code, text)
