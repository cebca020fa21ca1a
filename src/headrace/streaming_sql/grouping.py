"""A grouped SELECT split into what is stored and what is computed when it is read.

Stored: the keys, and one partial aggregate for each distinct aggregate call. Computed: every output column, as an
expression over keys and merged aggregates alone. What cannot be computed from these is refused here, with its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from headrace.errors import InvalidSQL
from headrace.streaming_sql import ast, functions, names
from headrace.streaming_sql.printer import canonical
from headrace.streaming_sql.script import Script, Span, did_you_mean


@dataclass(frozen=True)
class Output:
    """A column of the result: its name and the expression as it was written."""

    name: str
    expression: ast.Expression
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True)
class Key:
    """A column of the key: `name` in the state, `expression` over the source."""

    name: str
    expression: ast.Expression


@dataclass(frozen=True)
class Aggregate:
    """A partial aggregate: `column` in the state, ClickHouse's `function`, and the call as it was written."""

    column: str
    function: str
    call: ast.Call


@dataclass(frozen=True)
class Grouping:
    """The parts of a table. `merged` and `plain` go with the definition's outputs, one by one.

    `merged` are the outputs over the columns of the merged state, `plain` the same over the source.
    """

    keys: tuple[Key, ...]
    aggregates: tuple[Aggregate, ...]
    merged: tuple[ast.Expression, ...]
    plain: tuple[ast.Expression, ...]


def split(
    script: Script, query: ast.Select, outputs: tuple[Output, ...], aggregate_functions: frozenset[str]
) -> Grouping:
    """The parts of a grouped SELECT. Raises InvalidSQL for an output that does not follow from the keys."""
    query, outputs = _unqualified(query, outputs)
    keys = _Keys(script, query, outputs, aggregate_functions).found()
    derivation = _Derivation(script, keys, outputs, aggregate_functions)
    merged = tuple(derivation.of(output.expression) for output in outputs)
    aggregates = tuple(derivation.aggregates)
    plain = tuple(_plain(each, keys, aggregates) for each in merged)
    return Grouping(keys, aggregates, merged, plain)


def _unqualified(query: ast.Select, outputs: tuple[Output, ...]) -> tuple[ast.Select, tuple[Output, ...]]:
    """The same with `source.column` as `column` where nothing else is called so: both spellings are one key."""
    reader = (query.source.alias or query.source.name).text
    others = {item.alias.text for item in query.items if item.alias}
    for node, _ in ast.walk(query):
        if isinstance(node, ast.Lambda):
            others.update(node.parameters)

    def bare(node: ast.Expression) -> ast.Expression:
        if isinstance(node, ast.Identifier) and len(node.parts) > 1 and node.parts[0] == reader:
            return node if node.parts[1] in others else replace(node, parts=node.parts[1:])
        return ast.map_children(node, bare)

    bare_outputs = (replace(output, expression=bare(output.expression)) for output in outputs)
    return ast.map_children(query, bare), tuple(bare_outputs)


class _Keys:
    """Reads GROUP BY: positions, aliases, columns and expressions."""

    def __init__(
        self, script: Script, query: ast.Select, outputs: tuple[Output, ...], aggregate_functions: frozenset[str]
    ) -> None:
        self._script = script
        self._query = query
        self._outputs = outputs
        self._aliases = {item.alias.text: item.expression for item in query.items if item.alias}
        self._aggregate_functions = aggregate_functions

    def found(self) -> tuple[Key, ...]:
        keys: list[Key] = []
        for number, element in enumerate(self._query.group_by, start=1):
            name, value = self._key(element)
            for call in functions.aggregates_in(value, self._aggregate_functions):
                hint = "Group by columns of the source."
                raise self._script.error(f"{call.name}() aggregates, and cannot be a key", element.span, hint)
            if any(key.expression == value for key in keys):
                continue
            if not name or names.is_taken(name) or any(key.name == name for key in keys):
                name = names.key(number)
            keys.append(Key(name, value))
        return tuple(keys)

    def _key(self, element: ast.Expression) -> tuple[str, ast.Expression]:
        if isinstance(element, ast.Literal) and element.text.isdigit():
            output = self._at(int(element.text), element.span)
            return output.name, output.expression
        if isinstance(element, ast.Identifier) and len(element.parts) == 1 and element.parts[0] in self._aliases:
            return element.parts[0], self._aliases[element.parts[0]]
        for output in self._outputs:
            if output.expression == element:
                return output.name, element
        return element.parts[-1] if isinstance(element, ast.Identifier) else "", element

    def _at(self, position: int, span: Span) -> Output:
        if not 1 <= position <= len(self._outputs):
            hint = f"The SELECT list has {len(self._outputs)} items, counted from 1."
            raise self._script.error(f"GROUP BY {position} names no column", span, hint)
        return self._outputs[position - 1]


class _Derivation:
    """Rewrites outputs over the source into outputs over the merged state, collecting the aggregates it meets."""

    def __init__(
        self, script: Script, keys: tuple[Key, ...], outputs: tuple[Output, ...], aggregate_functions: frozenset[str]
    ) -> None:
        self.aggregates: list[Aggregate] = []
        self._script = script
        self._keys = keys
        self._outputs = {output.name: output.expression for output in outputs}
        self._aggregate_functions = aggregate_functions
        self._open: list[str] = []

    def of(
        self, node: ast.Expression, bound: frozenset[str] = frozenset(), inside: ast.Call | None = None
    ) -> ast.Expression:
        """`node` over the merged state. `bound` are the parameters of the lambdas around it, `inside` the call."""
        for key in self._keys:
            if node == key.expression and not _mentions(node, bound):
                return _merged(key.name, node.span)
        match node:
            case ast.Call() if function := functions.clickhouse_name(node, self._aggregate_functions):
                return self._aggregate(node, function, bound)
            case ast.Identifier():
                return self._identifier(node, bound, inside)
            case ast.Lambda(parameters=parameters):
                inner = bound | frozenset(parameters)
                return ast.map_children(node, lambda child: self.of(child, inner))
            case _:
                call = node if isinstance(node, ast.Call) else None
                return ast.map_children(node, lambda child: self.of(child, bound, call))

    def _identifier(self, node: ast.Identifier, bound: frozenset[str], inside: ast.Call | None) -> ast.Expression:
        name = node.parts[0]
        if name in bound:
            return node
        if len(node.parts) == 1:
            for key in self._keys:
                if key.name == name:
                    return _merged(key.name, node.span)
            output = self._outputs.get(name)
            if output is not None and output != node and name not in self._open:
                self._open.append(name)
                derived = self.of(output)
                self._open.pop()
                return derived
        raise self._underived(node, inside)

    def _aggregate(self, call: ast.Call, function: str, bound: frozenset[str]) -> ast.Expression:
        inner = [*call.arguments, *(call.parameters or ())]
        for argument in inner:
            for nested in functions.aggregates_in(argument, self._aggregate_functions):
                message = f"{nested.name}() stands inside {call.name}(), and both aggregate"
                raise self._script.error(message, nested.span, "Build one table on a stream for each step.")
            if _mentions(argument, bound):
                message = f"{call.name}() aggregates a parameter of the lambda around it"
                raise self._script.error(message, call.span, f"For arrays write arrayReduce('{function}', …).")
        for known in self.aggregates:
            if known.call == call:
                return _merged(known.column, call.span)
        column = names.aggregate(len(self.aggregates) + 1)
        self.aggregates.append(Aggregate(column, function, call))
        return _merged(column, call.span)

    def _underived(self, node: ast.Identifier, inside: ast.Call | None) -> InvalidSQL:
        shown = canonical(node)
        hint = f"Add it to GROUP BY, or aggregate it, for example max({shown})."
        if inside is not None and self._aggregate_functions:
            near = did_you_mean(inside.name, self._aggregate_functions)
            hint += f" {inside.name}() does not aggregate. {near}" if near else ""
        message = f'"{shown}" is neither in GROUP BY nor inside an aggregate'
        return self._script.error(message, node.span, hint.strip())


def _merged(column: str, span: Span) -> ast.Identifier:
    return ast.Identifier((names.MERGED, column), span=span)


def _mentions(node: ast.Expression, bound: frozenset[str]) -> bool:
    """Whether `node` uses a name of `bound`."""
    found = (each for each, _ in ast.walk(node) if isinstance(each, ast.Identifier))
    return bool(bound) and any(each.parts[0] in bound for each in found)


def _plain(merged: ast.Expression, keys: tuple[Key, ...], aggregates: tuple[Aggregate, ...]) -> ast.Expression:
    originals: Mapping[ast.Expression, ast.Expression] = {
        **{_merged(key.name, merged.span): key.expression for key in keys},
        **{_merged(each.column, merged.span): each.call for each in aggregates},
    }

    def original(node: ast.Expression) -> ast.Expression:
        return originals[node] if node in originals else ast.map_children(node, original)

    return original(merged)
