"""Nodes back to text, in one of two hands that differ only in care.

`canonical` is for people and for fingerprints: as few quotes and parentheses as parse back to the same node.
`explicit` is for ClickHouse: every name quoted and every operand in parentheses, so that no difference between its
precedences and ours, and no word it reserves, can change a meaning.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from headrace.streaming_sql import ast
from headrace.streaming_sql.precedence import (
    ADD,
    BETWEEN,
    CHAIN,
    COMPARE,
    IS,
    LAMBDA,
    MULTIPLY,
    NEGATE,
    NOT,
    POSTFIX,
    PRIMARY,
    RESERVED,
)

_BARE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Words that stand for something else than a column in the place of an operand.
_QUOTED_WORDS: Final = RESERVED | {"INTERVAL", "INF", "NAN"}


def canonical(node: ast.Expression | ast.Select | ast.Statement) -> str:
    """The shortest text that parses to `node`. Equal nodes give equal text."""
    if isinstance(node, ast.Expression):
        return _CANONICAL.expression(node)
    if isinstance(node, ast.Select):
        return _select(node)
    return _statement(node)


def explicit(node: ast.Expression) -> str:
    """The text of an expression for ClickHouse: names quoted, operands in parentheses."""
    return _EXPLICIT.expression(node)


def quoted(name: str) -> str:
    """`name` in backticks, as ClickHouse and this package's lexer read it."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def string(value: str) -> str:
    """`value` as a string literal."""
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def name(text: str) -> str:
    """`text` as a name, quoted only where it must be."""
    return text if _BARE.fullmatch(text) and text.upper() not in _QUOTED_WORDS else quoted(text)


class _Hand:
    """One way of writing expressions."""

    def __init__(self, *, explicit: bool) -> None:
        self.explicit = explicit

    def name(self, text: str) -> str:
        return quoted(text) if self.explicit else name(text)

    def operand(self, node: ast.Expression, least: int) -> str:
        """The node's text, in parentheses if it binds weaker than `least`."""
        text = self.expression(node)
        return f"({text})" if _strength(node) < (PRIMARY if self.explicit else least) else text

    def several(self, nodes: Iterable[ast.Expression]) -> str:
        return ", ".join(self.expression(node) for node in nodes)

    def expression(self, node: ast.Expression) -> str:
        match node:
            case ast.Literal(text=text):
                return text
            case ast.Identifier(parts=parts):
                return ".".join(self.name(part) for part in parts)
            case ast.Call():
                return self._call(node)
            case ast.Chain(operator=operator, operands=operands):
                least = CHAIN[operator] + 1
                return f" {operator} ".join(self.operand(each, least) for each in operands)
            case ast.Binary(operator=operator, left=left, right=right):
                strength = _strength(node)
                return f"{self.operand(left, strength)} {operator} {self.operand(right, strength + 1)}"
            case ast.Unary(operator=operator, operand=operand):
                return self._unary(operator, operand)
            case ast.IsNull(operand=operand, negated=negated):
                return f"{self.operand(operand, IS)} IS {'NOT ' if negated else ''}NULL"
            case ast.In():
                return self._in(node)
            case ast.Between(operand=operand, low=low, high=high, negated=negated):
                word = "NOT BETWEEN" if negated else "BETWEEN"
                low_text, high_text = self.operand(low, BETWEEN + 1), self.operand(high, BETWEEN + 1)
                return f"{self.operand(operand, BETWEEN)} {word} {low_text} AND {high_text}"
            case _:
                return self._compound(node)

    def _compound(self, node: ast.Expression) -> str:
        match node:
            case ast.Star(qualifier=qualifier):
                return f"{self.name(qualifier)}.*" if qualifier else "*"
            case ast.Array(items=items):
                return f"[{self.several(items)}]"
            case ast.Tuple(items=items):
                return f"({self.several(items)}{',' if len(items) == 1 else ''})"
            case ast.Case():
                return self._case(node)
            case ast.Cast(operand=operand, type=type_, double_colon=True):
                return f"{self.operand(operand, POSTFIX)}::{type_}"
            case ast.Cast(operand=operand, type=type_):
                return f"CAST({self.expression(operand)} AS {type_})"
            case ast.Extract(unit=unit, operand=operand):
                return f"EXTRACT({unit} FROM {self.expression(operand)})"
            case ast.Lambda(parameters=parameters, body=body):
                return self._lambda(parameters, body)
            case ast.Subscript(operand=operand, index=index):
                return f"{self.operand(operand, POSTFIX)}[{self.expression(index)}]"
            case ast.Element(operand=operand, name=element):
                return self._element(operand, element)
            case ast.DateLiteral(kind=kind, text=text):
                return f"{kind} {text}"
            case ast.Interval(amount=amount, unit=unit):
                text = self.expression(amount)
                # Before anything else than these, the word could be a column of that name.
                is_plain = isinstance(amount, ast.Literal) and text[0] in "'0123456789"
                return f"INTERVAL {text if is_plain else f'({text})'} {unit}".rstrip()
            case _:
                raise AssertionError(f"no text for {type(node).__name__}")

    def _call(self, node: ast.Call) -> str:
        parameters = "" if node.parameters is None else f"({self.several(node.parameters)})"
        return f"{node.name}{parameters}({'DISTINCT ' if node.distinct else ''}{self.several(node.arguments)})"

    def _unary(self, operator: str, operand: ast.Expression) -> str:
        if operator == "NOT":
            return f"NOT {self.operand(operand, NOT)}"
        text = self.operand(operand, NEGATE)
        # "--" would start a comment, and "-1" would be one number.
        return f"-({text})" if text[0] in "-0123456789" else f"-{text}"

    def _in(self, node: ast.In) -> str:
        word = "NOT IN" if node.negated else "IN"
        if isinstance(node.choices, ast.Tuple):
            choices = f"({self.several(node.choices.items)})"
        else:
            choices = self.operand(node.choices, COMPARE + 1)
        return f"{self.operand(node.operand, COMPARE)} {word} {choices}"

    def _case(self, node: ast.Case) -> str:
        parts = ["CASE"]
        if node.operand is not None:
            parts.append(self.expression(node.operand))
        for when in node.whens:
            parts.append(f"WHEN {self.expression(when.condition)} THEN {self.expression(when.result)}")
        if node.otherwise is not None:
            parts.append(f"ELSE {self.expression(node.otherwise)}")
        return " ".join([*parts, "END"])

    def _lambda(self, parameters: tuple[str, ...], body: ast.Expression) -> str:
        names = [self.name(parameter) for parameter in parameters]
        head = names[0] if len(names) == 1 else f"({', '.join(names)})"
        return f"{head} -> {self.operand(body, LAMBDA)}"

    def _element(self, operand: ast.Expression, element: str) -> str:
        text = self.operand(operand, POSTFIX)
        if element.isdigit():
            # After a number the dot would be its decimal point.
            return f"({text}).{element}" if isinstance(operand, ast.Literal) else f"{text}.{element}"
        if isinstance(operand, ast.Identifier | ast.Literal):
            return f"({text}).{self.name(element)}"
        return f"{text}.{self.name(element)}"


_CANONICAL: Final = _Hand(explicit=False)
_EXPLICIT: Final = _Hand(explicit=True)


def _strength(node: ast.Expression) -> int:
    """How strongly the outermost operator of `node` binds."""
    match node:
        case ast.Chain(operator=operator):
            return CHAIN[operator]
        case ast.Binary(operator="+" | "-"):
            return ADD
        case ast.Binary(operator="*" | "/" | "%" | "DIV" | "MOD"):
            return MULTIPLY
        case ast.Binary(operator="IS DISTINCT FROM" | "IS NOT DISTINCT FROM") | ast.IsNull():
            return IS
        case ast.Binary() | ast.In():
            return COMPARE
        case ast.Between():
            return BETWEEN
        case ast.Lambda():
            return LAMBDA
        case ast.Unary(operator="NOT"):
            return NOT
        case ast.Unary() | ast.Interval():
            return NEGATE
        case ast.Cast(double_colon=True) | ast.Subscript() | ast.Element():
            return POSTFIX
        case _:
            return PRIMARY


def _select(query: ast.Select) -> str:
    parts = ["SELECT " + ", ".join(_item(item) for item in query.items)]
    source = f"FROM {name(query.source.name.text)}"
    parts.append(f"{source} AS {name(query.source.alias.text)}" if query.source.alias else source)
    if query.where is not None:
        parts.append(f"WHERE {canonical(query.where)}")
    if query.group_by:
        parts.append("GROUP BY " + _CANONICAL.several(query.group_by))
    return " ".join(parts)


def _item(item: ast.Item) -> str:
    text = canonical(item.expression)
    return f"{text} AS {name(item.alias.text)}" if item.alias else text


def _statement(statement: ast.Statement | ast.Expression | ast.Select) -> str:
    match statement:
        case ast.Create():
            replace = "OR REPLACE " if statement.or_replace else ""
            condition = "IF NOT EXISTS " if statement.if_not_exists else ""
            head = f"CREATE {replace}{statement.kind.upper()} {condition}{name(statement.name.text)}"
            return f"{head} AS {_select(statement.query)}{_properties(statement.properties)}"
        case ast.Drop(kind=kind, name=dropped, if_exists=if_exists):
            return f"DROP {kind.upper()} {'IF EXISTS ' if if_exists else ''}{name(dropped.text)}"
        case ast.Show(what=what):
            return f"SHOW {what.upper()}"
        case ast.Describe(name=described):
            return f"DESCRIBE {name(described.text)}"
        case _:
            raise AssertionError(f"no text for {type(statement).__name__}")


def _properties(properties: tuple[ast.Property, ...]) -> str:
    if not properties:
        return ""
    return " WITH (" + ", ".join(f"{name(each.name.text)} = {string(each.value)}" for each in properties) + ")"
