"""Tokens to expressions: a Pratt parser with ClickHouse's operators and precedences.

Whatever ClickHouse would take and this does not is refused with its place, never passed on unread: everything
that reaches ClickHouse has been understood here. Nesting is bounded, so no input can exhaust Python's stack.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from headrace.streaming_sql import ast, printer, unsupported
from headrace.streaming_sql.cursor import Cursor
from headrace.streaming_sql.lexer import Token
from headrace.streaming_sql.precedence import (
    BETWEEN,
    BINARY,
    CHAIN,
    COMPARE,
    IS,
    LAMBDA,
    NEGATE,
    NOT,
    PRIMARY,
    RESERVED,
    UNITS,
)
from headrace.streaming_sql.script import Span

# These read like names in other places and like constants in the place of an operand.
_CONSTANTS: Final = {"NULL": "NULL", "TRUE": "TRUE", "FALSE": "FALSE", "INF": "inf", "NAN": "nan"}
# Functions whose names are operators too.
_NAMED_LIKE_OPERATORS: Final = frozenset({"MOD", "LIKE", "ILIKE"})
# In any letter case, as in every SQL; all other functions are spelled as ClickHouse spells them.
SQL_AGGREGATES: Final = frozenset({"COUNT", "SUM", "AVG", "MIN", "MAX"})


def expression(cursor: Cursor, least: int = LAMBDA) -> ast.Expression:
    """Read one expression whose operators all bind at least as strongly as `least`.

    Raises InvalidSQL at the first token that cannot continue it, and for more than 100 levels of nesting.
    """
    cursor.nesting += 1
    if cursor.nesting > ast.DEPTH_MAX:
        message = f"The expression is nested more than {ast.DEPTH_MAX} levels deep"
        raise cursor.script.error(message, cursor.token.span, "Split it over several streams.")
    left = _prefix(cursor)
    while (continued := _infix(cursor, left, least)) is not None:
        left = continued
    cursor.nesting -= 1
    return left


def expressions(cursor: Cursor, close: str) -> tuple[ast.Expression, ...]:
    """Read expressions between commas up to the symbol `close`, which is read too; there may be none."""
    if cursor.take_symbol(close):
        return ()
    found = [expression(cursor)]
    while cursor.take_symbol(","):
        found.append(expression(cursor))
    if not cursor.take_symbol(close):
        raise cursor.fail(['","', f'"{close}"'])
    return tuple(found)


# ── between and after operands ───────────────────────────────────────────────────────────────────────────────────


def _infix(cursor: Cursor, left: ast.Expression, least: int) -> ast.Expression | None:
    """`left` continued by the next operator, or None if what comes next does not bind as strongly as `least`."""
    token = cursor.token
    word = token.keyword or (token.text if token.kind == "symbol" else "")
    if word in CHAIN:
        return _chain(cursor, left, word) if CHAIN[word] >= least else None
    if word in BINARY:
        operator, strength = BINARY[word]
        return _binary(cursor, left, operator, strength) if strength >= least else None
    if word == "IS":
        return _is(cursor, left) if least <= IS else None
    if word in ("IN", "BETWEEN", "NOT"):
        return _negatable(cursor, left, least)
    if word == "->":
        return _lambda(cursor, left) if least <= LAMBDA else None
    return None


def _chain(cursor: Cursor, left: ast.Expression, operator: str) -> ast.Expression:
    operands = [left]
    while (cursor.token.keyword or cursor.token.text) == operator and cursor.token.kind in ("word", "symbol"):
        cursor.advance()
        operands.append(expression(cursor, CHAIN[operator] + 1))
    return ast.Chain(operator, tuple(operands), span=left.span.to(cursor.last_span))


def _binary(cursor: Cursor, left: ast.Expression, operator: str, strength: int) -> ast.Expression:
    cursor.advance()
    right = expression(cursor, strength + 1)
    return ast.Binary(operator, left, right, span=left.span.to(right.span))


def _is(cursor: Cursor, left: ast.Expression) -> ast.Expression:
    cursor.advance()
    negated = cursor.take("NOT")
    if cursor.take("DISTINCT", "FROM"):
        right = expression(cursor, IS + 1)
        operator = "IS NOT DISTINCT FROM" if negated else "IS DISTINCT FROM"
        return ast.Binary(operator, left, right, span=left.span.to(right.span))
    if not cursor.take("NULL"):
        raise cursor.fail(["NULL", "DISTINCT FROM"] if negated else ["NULL", "NOT NULL", "DISTINCT FROM"])
    return ast.IsNull(left, negated, span=left.span.to(cursor.last_span))


def _negatable(cursor: Cursor, left: ast.Expression, least: int) -> ast.Expression | None:
    """IN, BETWEEN, and LIKE and ILIKE where NOT precedes them."""
    negated = cursor.at("NOT")
    word = cursor.ahead(1).keyword if negated else cursor.token.keyword
    strength = BETWEEN if word == "BETWEEN" else COMPARE
    if negated and word not in ("IN", "BETWEEN", "LIKE", "ILIKE"):
        cursor.advance()
        raise cursor.fail(["IN", "BETWEEN", "LIKE", "ILIKE"])
    if strength < least:
        return None
    if negated:
        cursor.advance()
    if word == "IN":
        return _in(cursor, left, negated)
    if word == "BETWEEN":
        return _between(cursor, left, negated)
    return _binary(cursor, left, f"NOT {word}", COMPARE)


def _in(cursor: Cursor, left: ast.Expression, negated: bool) -> ast.Expression:
    cursor.advance()
    start = cursor.token.span
    choices: ast.Expression
    if cursor.take_symbol("("):
        if cursor.at("SELECT"):
            raise unsupported.subquery(cursor)
        items = [expression(cursor)]
        while cursor.take_symbol(",") and not cursor.at_symbol(")"):
            items.append(expression(cursor))
        cursor.expect_symbol(")")
        choices = ast.Tuple(tuple(items), span=start.to(cursor.last_span))
    else:
        choices = expression(cursor, PRIMARY)
    if not isinstance(choices, ast.Tuple | ast.Array | ast.Call):
        # ClickHouse would read a name as a table, and the definition would depend on it unseen.
        hint = "Write the values in parentheses; to search an array, write has(array, value)."
        raise cursor.script.error("IN takes a list of values", choices.span, hint)
    return ast.In(left, choices, negated, span=left.span.to(cursor.last_span))


def _between(cursor: Cursor, left: ast.Expression, negated: bool) -> ast.Expression:
    cursor.advance()
    low = expression(cursor, BETWEEN + 1)
    cursor.expect("AND")
    high = expression(cursor, BETWEEN + 1)
    return ast.Between(left, low, high, negated, span=left.span.to(high.span))


def _lambda(cursor: Cursor, left: ast.Expression) -> ast.Expression:
    names = left.items if isinstance(left, ast.Tuple) else (left,)
    parameters = [each.parts[0] for each in names if isinstance(each, ast.Identifier) and len(each.parts) == 1]
    if len(parameters) < len(names):
        hint = "Write x -> … or (x, y) -> …"
        raise cursor.script.error("Before -> stand only the parameters of a lambda", left.span, hint)
    cursor.advance()
    body = expression(cursor, LAMBDA)
    return ast.Lambda(tuple(parameters), body, span=left.span.to(body.span))


# ── operands ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _prefix(cursor: Cursor) -> ast.Expression:
    start = cursor.token.span
    if cursor.take("NOT"):
        operand = expression(cursor, NOT + 1)
        return ast.Unary("NOT", operand, span=start.to(operand.span))
    if not cursor.at_symbol("-"):
        return _postfix(cursor, _primary(cursor))
    cursor.advance()
    if cursor.token.kind == "number":
        # -128::Int8 is a cast of the number -128, for ClickHouse and here.
        number = cursor.advance()
        literal = ast.Literal("number", f"-{number.text}", span=start.to(number.span))
        return _postfix(cursor, literal)
    operand = expression(cursor, NEGATE)
    return ast.Unary("-", operand, span=start.to(operand.span))


def _postfix(cursor: Cursor, operand: ast.Expression) -> ast.Expression:
    """`operand` with all the [index], .element and ::Type that follow it."""
    while True:
        if cursor.take_symbol("["):
            index = expression(cursor)
            cursor.expect_symbol("]")
            operand = ast.Subscript(operand, index, span=operand.span.to(cursor.last_span))
        elif cursor.take_symbol("."):
            element = cursor.advance().text if cursor.token.kind == "number" else _part(cursor)
            operand = ast.Element(operand, element, span=operand.span.to(cursor.last_span))
        elif cursor.take_symbol("::"):
            operand = ast.Cast(operand, _type(cursor), True, span=operand.span.to(cursor.last_span))
        else:
            return operand


def _primary(cursor: Cursor) -> ast.Expression:
    token = cursor.token
    special = _SPECIAL.get(token.keyword)
    if special is not None and (found := special(cursor)) is not None:
        return found
    if _is_symbol(cursor, 1, "(") and (token.keyword in _NAMED_LIKE_OPERATORS or _is_free_word(token)):
        return _call(cursor)
    if token.keyword in _CONSTANTS:
        cursor.advance()
        return ast.Literal("constant", _CONSTANTS[token.keyword], span=token.span)
    if cursor.at_name():
        return _identifier(cursor)
    if token.kind == "number" or token.kind == "string":
        cursor.advance()
        return ast.Literal(token.kind, token.text, span=token.span)
    if cursor.take_symbol("("):
        return _parenthesised(cursor, token.span)
    if cursor.take_symbol("["):
        items = expressions(cursor, "]")
        return ast.Array(items, span=token.span.to(cursor.last_span))
    if cursor.take_symbol("*"):
        return ast.Star(span=token.span)
    if cursor.at("SELECT"):
        raise unsupported.subquery(cursor)
    hint = f"{token.text} is a keyword; quote it to use it as a name." if token.keyword in RESERVED else ""
    raise cursor.fail(["an expression"], hint)


def _parenthesised(cursor: Cursor, start: Span) -> ast.Expression:
    """What follows "(": an expression in parentheses, or a tuple."""
    if cursor.at("SELECT") or cursor.at("WITH"):
        raise unsupported.subquery(cursor)
    first = expression(cursor)
    if cursor.take_symbol(")"):
        return first
    items = [first]
    while cursor.take_symbol(",") and not cursor.at_symbol(")"):
        items.append(expression(cursor))
    if not cursor.take_symbol(")"):
        raise cursor.fail(['","', '")"'])
    return ast.Tuple(tuple(items), span=start.to(cursor.last_span))


def _identifier(cursor: Cursor) -> ast.Expression:
    first = cursor.name("a name")
    if cursor.at_symbol("("):
        raise cursor.script.error("The name of a function is not quoted", first.span)
    parts = [first.text]
    while cursor.at_symbol(".") and cursor.ahead(1).kind != "number":
        cursor.advance()
        if cursor.take_symbol("*"):
            if len(parts) > 1:
                raise cursor.script.error("Before .* stands one name", first.span)
            return ast.Star(first.text, span=first.span.to(cursor.last_span))
        parts.append(_part(cursor))
    return ast.Identifier(tuple(parts), span=first.span.to(cursor.last_span))


def _part(cursor: Cursor) -> str:
    # After a dot only a name can stand, so reserved words need no quotes there.
    if cursor.token.kind not in ("word", "quoted"):
        raise cursor.fail(["a name"])
    return cursor.advance().text


def _call(cursor: Cursor) -> ast.Expression:
    token = cursor.advance()
    name = token.keyword if token.keyword in SQL_AGGREGATES else token.text
    cursor.expect_symbol("(")
    distinct = _distinct(cursor, name)
    parameters, arguments = None, expressions(cursor, ")")
    if cursor.at_symbol("(") and not distinct:
        cursor.advance()
        distinct = _distinct(cursor, name)
        parameters, arguments = arguments, expressions(cursor, ")")
    if cursor.at("OVER"):
        raise unsupported.over(cursor)
    if cursor.at("FILTER"):
        hint = f"Write {token.text}If(…, condition)."
        raise cursor.script.error("FILTER (WHERE …) is not supported", cursor.token.span, hint)
    return ast.Call(name, arguments, parameters, distinct, span=token.span.to(cursor.last_span))


def _distinct(cursor: Cursor, name: str) -> bool:
    start = cursor.token.span
    if not cursor.take("DISTINCT"):
        return False
    if name != "COUNT":
        hint = f"Write {name.lower() if name in SQL_AGGREGATES else name}Distinct(…)."
        raise cursor.script.error(f"DISTINCT is supported in COUNT, not in {name}", start, hint)
    return True


# ── operands that begin with a word of their own ─────────────────────────────────────────────────────────────────


def _case(cursor: Cursor) -> ast.Expression | None:
    start = cursor.advance().span
    operand = None if cursor.at("WHEN") else expression(cursor)
    whens: list[ast.When] = []
    while cursor.at("WHEN"):
        when = cursor.advance().span
        condition = expression(cursor)
        cursor.expect("THEN")
        result = expression(cursor)
        whens.append(ast.When(condition, result, span=when.to(result.span)))
    if not whens:
        raise cursor.fail(["WHEN"])
    otherwise = expression(cursor) if cursor.take("ELSE") else None
    if not cursor.take("END"):
        raise cursor.fail(["END"] if otherwise else ["WHEN", "ELSE", "END"])
    return ast.Case(operand, tuple(whens), otherwise, span=start.to(cursor.last_span))


def _cast(cursor: Cursor) -> ast.Expression | None:
    if not _is_symbol(cursor, 1, "("):
        return None
    start = cursor.advance().span
    cursor.advance()
    operand = expression(cursor)
    if cursor.take_symbol(","):
        type_ = expression(cursor)
        cursor.expect_symbol(")")
        return ast.Call("CAST", (operand, type_), span=start.to(cursor.last_span))
    if not cursor.take("AS"):
        raise cursor.fail(["AS", '","'])
    name = _type(cursor)
    cursor.expect_symbol(")")
    return ast.Cast(operand, name, False, span=start.to(cursor.last_span))


def _extract(cursor: Cursor) -> ast.Expression | None:
    # ClickHouse also has a function extract(text, pattern).
    if not (_is_symbol(cursor, 1, "(") and cursor.ahead(3).keyword == "FROM" and cursor.ahead(2).keyword):
        return None
    start = cursor.advance().span
    cursor.advance()
    unit = _unit(cursor)
    if not unit:
        raise cursor.fail(sorted(UNITS))
    cursor.expect("FROM")
    operand = expression(cursor)
    cursor.expect_symbol(")")
    return ast.Extract(unit, operand, span=start.to(cursor.last_span))


def _interval(cursor: Cursor) -> ast.Expression | None:
    following = cursor.ahead(1)
    begins_amount = following.kind in ("number", "string", "quoted") or _is_free_word(following)
    if not begins_amount and not _is_symbol(cursor, 1, "("):
        return None
    start = cursor.advance().span
    amount = expression(cursor, PRIMARY)
    unit = _unit(cursor)
    if not unit and not (isinstance(amount, ast.Literal) and amount.kind == "string"):
        raise cursor.fail(sorted(UNITS))
    return ast.Interval(amount, unit, span=start.to(cursor.last_span))


def _date(cursor: Cursor) -> ast.Expression | None:
    if cursor.ahead(1).kind != "string":
        return None
    word, text = cursor.advance(), cursor.advance()
    return ast.DateLiteral(word.keyword, text.text, span=word.span.to(text.span))


_SPECIAL: Final[dict[str, Callable[[Cursor], ast.Expression | None]]] = {
    "CASE": _case,
    "CAST": _cast,
    "EXTRACT": _extract,
    "INTERVAL": _interval,
    "DATE": _date,
    "TIMESTAMP": _date,
}


def _unit(cursor: Cursor) -> str:
    """The unit of time that comes next, in the singular, read; empty if there is none."""
    unit = cursor.token.keyword
    unit = unit if unit in UNITS else unit.removesuffix("S")
    if unit not in UNITS:
        return ""
    cursor.advance()
    return unit


def _type(cursor: Cursor) -> str:
    """The name of a type with its parameters, e.g. `Array(Nullable(DateTime64(3, 'UTC')))`, evenly spaced."""
    if cursor.token.kind != "word":
        raise cursor.fail(["the name of a type"])
    text, depth = cursor.advance().text, 0
    while depth or (cursor.at_symbol("(") and not text.endswith(")")):
        token = cursor.token
        if token.kind == "end" or (token.kind == "symbol" and token.text not in "(),=-"):
            raise cursor.fail(['","', '")"'])
        cursor.advance()
        written = printer.quoted(token.text) if token.kind == "quoted" else token.text
        if token.kind == "symbol":
            depth += {"(": 1, ")": -1}.get(token.text, 0)
        glued = text[-1] in "(-" or (token.kind == "symbol" and token.text in "(),")
        text += written if glued else f" {written}"
    return text


def _is_symbol(cursor: Cursor, ahead: int, symbol: str) -> bool:
    token = cursor.ahead(ahead)
    return token.kind == "symbol" and token.text == symbol


def _is_free_word(token: Token) -> bool:
    return token.kind == "word" and token.keyword not in RESERVED
