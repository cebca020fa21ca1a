"""What the parsers make: frozen nodes that compare equal when they mean the same text, wherever it stood.

Parentheses, letter case of keywords, spaces and comments leave no trace here; the printer puts back what is needed.
Nodes hold what was written, not what ClickHouse makes of it: no node may need a catalog to be built.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final, TypeVar
from typing import Literal as OneOf

from headrace.streaming_sql.script import NOWHERE, Script, Span

DEPTH_MAX: Final = 100


@dataclass(frozen=True, kw_only=True)
class Node:
    """Anything that was written somewhere. `span` is where; it takes no part in equality."""

    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True)
class Name(Node):
    """The name of a stream, table, event, alias or property."""

    text: str


# ── expressions ──────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Expression(Node):
    """Base of everything that has a value."""


@dataclass(frozen=True)
class Literal(Expression):
    """A constant, exactly as written: ClickHouse reads the escapes and digits, nobody else."""

    kind: OneOf["number", "string", "constant"]
    text: str


@dataclass(frozen=True)
class DateLiteral(Expression):
    """`DATE '2024-01-31'` or `TIMESTAMP '…'`: `kind` is the word, `text` the string with its quotes."""

    kind: str
    text: str


@dataclass(frozen=True)
class Interval(Expression):
    """`INTERVAL 5 DAY`; `unit` is empty in `INTERVAL '5 day'`."""

    amount: Expression
    unit: str


@dataclass(frozen=True)
class Identifier(Expression):
    """A column or alias: `a`, `source.a`, `a.nested`, or a bound name inside a lambda."""

    parts: tuple[str, ...]


@dataclass(frozen=True)
class Star(Expression):
    """`*`, or `source.*` with the qualifier `source`."""

    qualifier: str = ""


@dataclass(frozen=True)
class Array(Expression):
    items: tuple[Expression, ...]


@dataclass(frozen=True)
class Tuple(Expression):
    items: tuple[Expression, ...]


@dataclass(frozen=True)
class Unary(Expression):
    operator: OneOf["-", "NOT"]
    operand: Expression


@dataclass(frozen=True)
class Binary(Expression):
    """An operator that groups to the left: arithmetic, comparisons, [NOT] LIKE, IS [NOT] DISTINCT FROM."""

    operator: str
    left: Expression
    right: Expression


@dataclass(frozen=True)
class Chain(Expression):
    """AND, OR or || over two or more operands, kept flat so that long conditions are not deep."""

    operator: str
    operands: tuple[Expression, ...]


@dataclass(frozen=True)
class IsNull(Expression):
    operand: Expression
    negated: bool


@dataclass(frozen=True)
class In(Expression):
    """`operand [NOT] IN choices`; the list in parentheses is a Tuple, also when it holds one item."""

    operand: Expression
    choices: Expression
    negated: bool


@dataclass(frozen=True)
class Between(Expression):
    operand: Expression
    low: Expression
    high: Expression
    negated: bool


@dataclass(frozen=True)
class When(Node):
    condition: Expression
    result: Expression


@dataclass(frozen=True)
class Case(Expression):
    operand: Expression | None
    whens: tuple[When, ...]
    otherwise: Expression | None


@dataclass(frozen=True)
class Cast(Expression):
    """`CAST(x AS Type)`, or `x::Type`, which ClickHouse reads differently for a constant x."""

    operand: Expression
    type: str
    double_colon: bool


@dataclass(frozen=True)
class Extract(Expression):
    unit: str
    operand: Expression


@dataclass(frozen=True)
class Lambda(Expression):
    parameters: tuple[str, ...]
    body: Expression


@dataclass(frozen=True)
class Subscript(Expression):
    operand: Expression
    index: Expression


@dataclass(frozen=True)
class Element(Expression):
    """`pair.1` or `f(x).name`: an element of a tuple, by number from 1 or by name."""

    operand: Expression
    name: str


@dataclass(frozen=True)
class Call(Expression):
    """`name(arguments)`, or `name(parameters)(arguments)`; `parameters` is None where there is no such pair."""

    name: str
    arguments: tuple[Expression, ...]
    parameters: tuple[Expression, ...] | None = None
    distinct: bool = False


# ── statements ───────────────────────────────────────────────────────────────────────────────────────────────────

Kind = OneOf["stream", "table"]


@dataclass(frozen=True)
class Item(Node):
    """One item of a SELECT list."""

    expression: Expression
    alias: Name | None = None


@dataclass(frozen=True)
class Source(Node):
    name: Name
    alias: Name | None = None


@dataclass(frozen=True)
class Select(Node):
    items: tuple[Item, ...]
    source: Source
    where: Expression | None = None
    group_by: tuple[Expression, ...] = ()


@dataclass(frozen=True)
class Property(Node):
    """One `name = 'value'` of a WITH clause, the value without its quotes and escapes."""

    name: Name
    value: str


@dataclass(frozen=True)
class Statement(Node):
    """Base of all statements. `script` is the text the spans point into."""

    script: Script = field(default=Script(""), compare=False, repr=False, kw_only=True)


@dataclass(frozen=True)
class Create(Statement):
    kind: Kind
    name: Name
    query: Select
    properties: tuple[Property, ...] = ()
    or_replace: bool = False
    if_not_exists: bool = False


@dataclass(frozen=True)
class Drop(Statement):
    kind: Kind
    name: Name
    if_exists: bool = False


@dataclass(frozen=True)
class Show(Statement):
    what: OneOf["streams", "tables", "events"]


@dataclass(frozen=True)
class Describe(Statement):
    name: Name


# ── walking ──────────────────────────────────────────────────────────────────────────────────────────────────────


def children(node: Node) -> Iterator[Node]:
    """The nodes directly inside `node`, in the order in which they were written."""
    for part in fields(node):
        value = getattr(node, part.name)
        if isinstance(value, Node):
            yield value
        elif isinstance(value, tuple):
            yield from (item for item in value if isinstance(item, Node))


def walk(node: Node) -> Iterator[tuple[Node, int]]:
    """Every node in `node`, itself first, each with its depth. Does not recurse, so it may meet any depth."""
    pending = [(node, 1)]
    while pending:
        current, depth = pending.pop()
        yield current, depth
        pending.extend((child, depth + 1) for child in reversed(list(children(current))))


AnyNode = TypeVar("AnyNode", bound=Node)


def map_children(node: AnyNode, change: Callable[[Expression], Expression]) -> AnyNode:
    """A copy of `node` with `change` applied to each expression directly inside it (those of a WHEN included)."""

    def changed(value: object) -> object:
        if isinstance(value, Expression):
            return change(value)
        if isinstance(value, Node):
            return map_children(value, change)
        if isinstance(value, tuple):
            return tuple(changed(item) for item in value)
        return value

    values: dict[str, Any] = {part.name: changed(getattr(node, part.name)) for part in fields(node)}
    return replace(node, **values)
