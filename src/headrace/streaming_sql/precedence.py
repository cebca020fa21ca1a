"""How strongly each operator binds, as in ClickHouse's own parser, and the words that cannot be column names.

Parser and printer share this table; text survives the way there and back only while they agree.
"""

from __future__ import annotations

from typing import Final

LAMBDA: Final = 1
OR: Final = 3
AND: Final = 4
NOT: Final = 5
IS: Final = 6
BETWEEN: Final = 7
COMPARE: Final = 9
CONCAT: Final = 10
ADD: Final = 11
MULTIPLY: Final = 12
NEGATE: Final = 13
POSTFIX: Final = 14
PRIMARY: Final = 15

CHAIN: Final = {"OR": OR, "AND": AND, "||": CONCAT}
# Every spelling of an operator between two operands: (what the node holds, how strongly it binds).
BINARY: Final = {
    "=": ("=", COMPARE),
    "==": ("=", COMPARE),
    "!=": ("!=", COMPARE),
    "<>": ("!=", COMPARE),
    "<": ("<", COMPARE),
    "<=": ("<=", COMPARE),
    ">": (">", COMPARE),
    ">=": (">=", COMPARE),
    "LIKE": ("LIKE", COMPARE),
    "ILIKE": ("ILIKE", COMPARE),
    "+": ("+", ADD),
    "-": ("-", ADD),
    "*": ("*", MULTIPLY),
    "/": ("/", MULTIPLY),
    "%": ("%", MULTIPLY),
    "DIV": ("DIV", MULTIPLY),
    "MOD": ("MOD", MULTIPLY),
}

_RESERVED_WORDS: Final = """
    AND AS BETWEEN CASE DISTINCT DIV ELSE END FALSE FROM GROUP HAVING ILIKE IN IS LIKE MOD NOT NULL OR SELECT THEN TRUE
    WHEN WHERE WITH
"""
_UNIT_WORDS: Final = "NANOSECOND MICROSECOND MILLISECOND SECOND MINUTE HOUR DAY WEEK MONTH QUARTER YEAR"

# A column with one of these names must be quoted. Every other word is a keyword only where it can be nothing else.
RESERVED: Final = frozenset(_RESERVED_WORDS.split())
UNITS: Final = frozenset(_UNIT_WORDS.split())
