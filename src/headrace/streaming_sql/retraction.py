"""How the aggregates of a table over rows that change are kept, so that a row that goes takes back what it brought.

Counts, and sums and averages of whole numbers and decimals, are kept as numbers: a row adds its value, or takes it off.
Everything else needs the values themselves. They are kept as a multiset: what the aggregates read, and how many rows
read it. So floating-point sums do not drift, and a minimum that goes leaves the next one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from headrace.streaming_sql import ast, functions, names
from headrace.streaming_sql.definition import Definition
from headrace.streaming_sql.grouping import Aggregate
from headrace.streaming_sql.printer import explicit, quoted

# Aggregates that a value that is there twice gives the same answer as once.
_IDEMPOTENT_NAMES: Final = """
    min max argMin argMax argAndMin argAndMax uniq uniqExact uniqCombined uniqCombined64 uniqHLL12 uniqTheta
    groupUniqArray groupBitAnd groupBitOr groupBitmap
"""
_IDEMPOTENT: Final = frozenset(_IDEMPOTENT_NAMES.split())
# Counts the copies of an entry, from 0.
COPY: Final = "_agg_copy"
_WHOLE: Final = re.compile(r"(U?)Int(8|16|32|64|128|256)|Bool")
_DECIMAL: Final = re.compile(r"Decimal\((\d+), (\d+)\)")
_WRAPPED: Final = re.compile(r"(?:Nullable|LowCardinality)\((.*)\)")

# How the answer comes about: from numbers; from the values times their number; from each value once; from all of them.
Way = Literal["numbers", "weighted", "distinct", "repeated"]


@dataclass(frozen=True)
class Kept:
    """One aggregate and the way it is kept. `value` and `condition` are the arguments of COUNT, SUM and AVG.

    `base` is the type of `value` without Nullable, `nullable` whether the answer may be NULL.
    """

    aggregate: Aggregate
    way: Way
    name: str
    value: ast.Expression | None
    condition: ast.Expression | None
    base: str
    nullable: bool

    @property
    def adds(self) -> bool:
        """Whether a sum is kept beside the count."""
        return self.name != "count"

    def count(self, weight: str) -> str:
        """The weight, where a row counts."""
        counts = [] if self.value is None else [f"isNotNull({explicit(self.value)})"]
        counts += [] if self.condition is None else [f"({explicit(self.condition)})"]
        return f"if({' AND '.join(counts)}, {weight}, 0)" if counts else weight

    def total(self, weight: str) -> str:
        """The value as a whole number, of a decimal its digits, times the weight; 0 where there is none."""
        assert self.value is not None, "SUM and AVG have an argument"
        value = explicit(self.value)
        if decimal := _DECIMAL.fullmatch(self.base):
            value = f"reinterpret({value}, 'Int{_bits(int(decimal[1]))}')"
        return f"ifNull(toInt256({value}), 0) * {self.count(weight)}"

    def answer(self, count: str, total: str) -> str:
        """What the aggregate gives, from its count and, where it adds, its sum."""
        if self.name == "count":
            return f"toUInt64({count})"
        value = self._in_sum_type(total)
        if self.name == "avg":
            value = f"toFloat64({value}) / {count}"
        return f"if({count} = 0, NULL, {value})" if self.nullable else value

    def _in_sum_type(self, total: str) -> str:
        """`total` as SUM gives it: of the type that ClickHouse sums in, and beyond its range as ClickHouse goes on."""
        if decimal := _DECIMAL.fullmatch(self.base):
            digits, bits = (76, 256) if int(decimal[1]) > 38 else (38, 128)
            return f"reinterpret(CAST({total} AS Int{bits}), 'Decimal({digits}, {decimal[2]})')"
        whole = _WHOLE.fullmatch(self.base)
        assert whole is not None, f"numbers are whole or decimal, not {self.base}"
        bits = max(64, int(whole[2] or 64))
        return f"CAST({total} AS {'Int' if whole[2] and not whole[1] else 'UInt'}{bits})"


@dataclass(frozen=True)
class Retraction:
    """How a table is kept. `arguments` are those that the multiset holds, (column, type, expression)."""

    kept: tuple[Kept, ...]
    arguments: tuple[tuple[str, str, ast.Expression], ...]

    @property
    def repeats(self) -> bool:
        """Whether an aggregate must see a value as often as it is there."""
        return any(each.way == "repeated" for each in self.kept)

    def columns(self) -> list[tuple[str, str]]:
        """The columns of the state behind the keys, the batch excepted, (name, type)."""
        found = [(names.ENTRY, "FixedString(16)")] if self.arguments else []
        found += [(name, f"SimpleAggregateFunction(any, {type_})") for name, type_, _ in self.arguments]
        return found + [(name, f"SimpleAggregateFunction(sum, {type_})") for name, type_ in self.numbers()]

    def numbers(self) -> list[tuple[str, str]]:
        """The columns that are added up, (name, type): all of them are 0 once the rows that they tell of are gone."""
        found = [(names.ROWS, "Int64")]
        for each in self.kept:
            if each.way == "numbers":
                found.append((names.count(each.aggregate.column), "Int64"))
                if each.adds:
                    found.append((names.total(each.aggregate.column), "Int256"))
        return found

    def values(self, weight: str) -> list[str]:
        """What `columns` hold of a group of rows; `weight` is 1 for a row that comes, -1 for one that goes."""
        found = [f"{self.entry()} AS {quoted(names.ENTRY)}"] if self.arguments else []
        found += [f"any({explicit(value)}) AS {quoted(name)}" for name, _, value in self.arguments]
        found.append(f"sum({weight}) AS {quoted(names.ROWS)}")
        for each in self.kept:
            if each.way == "numbers":
                found.append(f"sum({each.count(weight)}) AS {quoted(names.count(each.aggregate.column))}")
                if each.adds:
                    found.append(f"sum({each.total(weight)}) AS {quoted(names.total(each.aggregate.column))}")
        return found

    def entry(self) -> str:
        """The hash of the values that one entry of the multiset stands for. Floats have zeros and NaNs that compare in
        ways of their own; hashed, a value is its bits."""
        return f"sipHash128(tuple({', '.join(explicit(value) for _, _, value in self.arguments)}))"

    def answer(self, each: Kept, source: str) -> str:
        """The aggregate over the columns of `source`: the state, or its entries."""
        if each.way == "numbers":
            count = self._added(f"{source}.{quoted(names.count(each.aggregate.column))}")
            total = self._added(f"{source}.{quoted(names.total(each.aggregate.column))}") if each.adds else ""
            return each.answer(count, total)
        columns = {value: ast.Identifier((source, name)) for name, _, value in self.arguments}
        if each.way == "weighted":
            return _weighted(each, columns, f"{source}.{quoted(names.ROWS)}")
        call = each.aggregate.call
        parameters = (
            f"({', '.join(explicit(value) for value in call.parameters)})" if call.parameters is not None else ""
        )
        arguments = ", ".join(explicit(columns[value]) for value in call.arguments)
        return f"{each.aggregate.function}{parameters}({arguments})"

    def _added(self, column: str) -> str:
        """The sum over entries, of which each stands there as often as its rows are where values are repeated."""
        return f"sumIf({column}, {quoted(COPY)} = 0)" if self.repeats else f"sum({column})"


def retraction(definition: Definition, columns: Sequence[tuple[str, str]]) -> Retraction:
    """How the table is kept; `columns` are the types of the items that `described` gives."""
    types = dict(columns)
    arguments = _arguments(definition)
    known = {value: types[names.argument(number)] for number, value in enumerate(arguments, start=1)}
    kept = [_kept(each, known, types[each.column]) for each in aggregates(definition)]
    if any(each.way == "repeated" for each in kept):
        kept = [replace(each, way="repeated") if each.way == "weighted" else each for each in kept]
    read = [value for each in kept if each.way != "numbers" for value in each.aggregate.call.arguments]
    return Retraction(
        tuple(kept),
        tuple(
            (names.argument(number), known[value], value)
            for number, value in enumerate(arguments, start=1)
            if value in read
        ),
    )


def described(definition: Definition) -> list[str]:
    """The items of a SELECT whose column types tell how the table is kept."""
    items = [
        f"any({explicit(value)}) AS {quoted(names.argument(number))}"
        for number, value in enumerate(_arguments(definition), start=1)
    ]
    return items + [f"{explicit(each.call)} AS {quoted(each.column)}" for each in aggregates(definition)]


def aggregates(definition: Definition) -> tuple[Aggregate, ...]:
    """The aggregates of a table."""
    assert definition.grouping is not None, "a table's definition has a grouping"
    return definition.grouping.aggregates


def _arguments(definition: Definition) -> list[ast.Expression]:
    """What the aggregates read, each once."""
    found: dict[ast.Expression, None] = {}
    for aggregate in aggregates(definition):
        for value in aggregate.call.arguments:
            if not isinstance(value, ast.Star):
                found[value] = None
    return list(found)


def _kept(aggregate: Aggregate, types: Mapping[ast.Expression, str], answer: str) -> Kept:
    name, arguments = aggregate.function, list(aggregate.call.arguments)
    condition = arguments.pop() if name.endswith("If") and arguments else None
    name = name.removesuffix("If") if condition is not None else name
    values = [value for value in arguments if not isinstance(value, ast.Star)]
    value = values[0] if values else None
    base, nullable = _base(types[value]) if value is not None else "", answer.startswith("Nullable")
    way: Way = "distinct" if functions.base_name(name) in _IDEMPOTENT else "repeated"
    if name == "count" or (name in ("sum", "avg") and (_WHOLE.fullmatch(base) or _DECIMAL.fullmatch(base))):
        way = "numbers"
    elif name in ("sum", "avg") and base in ("Float32", "Float64"):
        way = "weighted"
    return Kept(aggregate, way, name, value, condition, base, nullable)


def _weighted(each: Kept, columns: Mapping[ast.Expression, ast.Expression], rows: str) -> str:
    """SUM or AVG of values of which each is there as often as `rows` says."""
    assert each.value is not None, "SUM and AVG have an argument"
    value = columns[each.value]
    condition = None if each.condition is None else columns[each.condition]
    product = f"{explicit(value)} * {rows}"
    total = f"sum({product})" if condition is None else f"sumIf({product}, {explicit(condition)})"
    if each.name == "sum":
        return total
    counted = replace(each, value=value, condition=condition).count(rows)
    return f"{total} / sum({counted})"


def _base(type_: str) -> str:
    """The type without Nullable and LowCardinality."""
    while wrapped := _WRAPPED.fullmatch(type_):
        type_ = wrapped[1]
    return type_


def _bits(precision: int) -> int:
    """How many bits ClickHouse keeps a decimal of so many digits in."""
    return next(bits for digits, bits in ((9, 32), (18, 64), (38, 128), (76, 256)) if precision <= digits)
