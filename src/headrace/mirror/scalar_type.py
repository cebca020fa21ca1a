"""The types of single values: numbers, times, text. Pure.

ClickHouse's own parsers are lenient: they take 30 February for 1 March, drop decimal places, and clamp years. So a
value fits when writing it again gives the text that it came from, which is also the cheapest exact test.
"""

from __future__ import annotations

from headrace.mirror.column_type import ColumnType, Expression, SourceType

DECIMAL_DIGITS_MAX = 76
_DECIMALS = {9: "toDecimal32OrNull", 18: "toDecimal64OrNull", 38: "toDecimal128OrNull", 76: "toDecimal256OrNull"}
_INTEGERS = {"int2": "Int16", "int4": "Int32", "int8": "Int64", "oid": "UInt32"}
_TEXTS = ("text", "varchar", "bpchar", "name", "citext", "char")
_YEARS = "from 1900 to 2299; other years and infinity do not fit"


def scalar_type(source: SourceType) -> ColumnType | None:
    """The type that holds every value, or nearly every value, of `source`; None: there is none but text."""
    if source.kind == "enum":
        return _enum()
    if source.kind != "base":
        return None
    match source.name:
        case "bool":
            return _bool()
        case "int2" | "int4" | "int8" | "oid":
            return _integer(_INTEGERS[source.name])
        case "float4":
            return _float(32)
        case "float8":
            return _float(64)
        case "numeric":
            return _numeric(source.typmod)
        case "bytea":
            return _bytea()
        case "date":
            return _date()
        case "timestamp":
            return _timestamp("the time of day as it was written, kept as if it were UTC", lambda text: text, _as_it_is)
        case "timestamptz":
            return _timestamp("the moment, in UTC", _without_offset, lambda column: f"({column} AT TIME ZONE 'UTC')")
        case "uuid":
            return _uuid()
        case name if name in _TEXTS:
            note = "padded with spaces to its length, as PostgreSQL sends it" if name == "bpchar" else "exact"
            return text_type(note)
    return None


def text_type(note: str) -> ColumnType:
    """PostgreSQL's text of a value, byte for byte: what every type can become."""
    return ColumnType(
        clickhouse="String",
        nullable_allowed=True,
        value=_as_it_is,
        fits=lambda text: "1",
        source_text=written,
        mirror_text=lambda column: f"toNullable({column})",
        note=note,
    )


def written(column: str) -> str:
    """PostgreSQL: what the output function of the column's type writes, as it is sent; NULL for NULL.

    A cast to text is not the same: it cuts the spaces of char(n) and adds a mask to inet. `IS DISTINCT FROM` and not
    `IS NOT NULL`, which is false for a row with a NULL in it.
    """
    return f"CASE WHEN {column} IS DISTINCT FROM NULL THEN format('%s', {column}) END"


def _as_it_is(expression: str) -> str:
    return expression


def _as_text(column: str) -> str:
    return f"{column}::text"


def _exact(
    clickhouse: str,
    *,
    parsed: Expression,
    same: Expression,
    source_text: Expression,
    mirror_text: Expression,
    note: str = "exact",
) -> ColumnType:
    """`parsed` reads a text somehow, `same` says whether that was right: NULL or false when it was not, or for NULL."""
    return ColumnType(
        clickhouse=clickhouse,
        nullable_allowed=True,
        value=lambda text: f"if({same(text)}, {parsed(text)}, NULL)",
        fits=lambda text: f"ifNull({same(text)}, isNull({text}))",
        source_text=source_text,
        mirror_text=lambda column: f"toNullable({mirror_text(column)})",
        note=note,
    )


def _bool() -> ColumnType:
    return _exact(
        "Bool",
        parsed=lambda text: f"CAST({text} = 't' AS Nullable(Bool))",
        same=lambda text: f"{text} IN ('t', 'f')",
        source_text=_as_text,
        mirror_text=lambda column: f"toString({column})",
    )


def _integer(clickhouse: str) -> ColumnType:
    def parsed(text: str) -> str:
        return f"to{clickhouse}OrNull({text})"

    return ColumnType(
        clickhouse=clickhouse,
        nullable_allowed=True,
        value=parsed,
        fits=lambda text: f"isNotNull({parsed(text)}) OR isNull({text})",
        source_text=_as_text,
        mirror_text=lambda column: f"toNullable(toString({column}))",
        note="exact",
    )


def _float(bits: int) -> ColumnType:
    """Compared by their bits: both sides write the shortest digits, each in its own way. Every NaN is one."""

    def parsed(text: str) -> str:
        return f"toFloat{bits}OrNull({text})"

    return _exact(
        f"Float{bits}",
        parsed=parsed,
        same=lambda text: f"(isFinite({parsed(text)}) OR {text} IN ('NaN', 'Infinity', '-Infinity'))",
        source_text=lambda column: (
            f"CASE WHEN {column} = 'NaN' THEN 'NaN' ELSE upper(encode(float{bits // 8}send({column}), 'hex')) END"
        ),
        mirror_text=lambda column: (
            f"if(isNaN({column}), 'NaN', leftPad(hex(reinterpretAsUInt{bits}({column})), {bits // 4}, '0'))"
        ),
        note="exact, with −0, NaN and infinity",
    )


def precision_and_scale(typmod: int) -> tuple[int, int]:
    """What numeric(p, s) is declared with. The scale is signed, in 11 bits (PostgreSQL 15's numeric.c)."""
    return (typmod - 4) >> 16 & 0xFFFF, ((typmod - 4) & 0x7FF ^ 0x400) - 0x400


def _numeric(typmod: int) -> ColumnType:
    if typmod == -1:
        return text_type("no precision declared: any number of digits")
    precision, scale = precision_and_scale(typmod)
    if precision > DECIMAL_DIGITS_MAX:
        return text_type(f"more than {DECIMAL_DIGITS_MAX} digits")
    if not 0 <= scale <= precision:
        return text_type("a scale that is negative or over the precision")
    clickhouse = f"Decimal({precision}, {scale})"
    read = next(name for digits, name in _DECIMALS.items() if precision <= digits)
    # With the point; and a zero before it where that is the only digit that can be there.
    length_max = precision + (scale > 0) + (scale == precision)
    small = "" if scale < precision else " AND position({text}, '0.') BETWEEN 1 AND 2"

    def parsed(text: str) -> str:
        return f"{read}({text}, {scale})"

    return _exact(
        clickhouse,
        parsed=lambda text: f"CAST({parsed(text)} AS Nullable({clickhouse}))",
        same=lambda text: (
            f"(toDecimalString({parsed(text)}, {scale}) = {text} "
            f"AND length({text}) <= {length_max} + startsWith({text}, '-'){small.format(text=text)})"
        ),
        source_text=_as_text,
        mirror_text=lambda column: f"toDecimalString({column}, {scale})",
        note="exact; NaN does not fit",
    )


def _bytea() -> ColumnType:
    return _exact(
        "String",
        parsed=lambda text: f"unhex(substring({text}, 3))",
        same=lambda text: f"concat('\\\\x', lower(hex(unhex(substring({text}, 3))))) = {text}",
        source_text=lambda column: f"upper(encode({column}, 'hex'))",
        mirror_text=lambda column: f"hex({column})",
        note="the bytes themselves",
    )


def _date() -> ColumnType:
    def parsed(text: str) -> str:
        return f"toDate32OrNull({text})"

    return _exact(
        "Date32",
        parsed=parsed,
        same=lambda text: f"(toString({parsed(text)}) = {text} AND {text} >= '1900' AND {text} < '2300')",
        source_text=_as_text,
        mirror_text=lambda column: f"toString({column})",
        note=_YEARS,
    )


def _timestamp(note: str, local: Expression, source: Expression) -> ColumnType:
    """`local` takes the offset from a text. The zone is UTC for both: a server's own would have hours missing."""

    def parsed(text: str) -> str:
        return f"toDateTime64OrNull({local(text)}, 6, 'UTC')"

    return _exact(
        "DateTime64(6, 'UTC')",
        parsed=parsed,
        # PostgreSQL leaves out the zeros at the end of a fraction.
        same=lambda text: (
            f"(startsWith(toString({parsed(text)}), {local(text)}) AND length({local(text)}) >= 19 "
            f"AND {text} >= '1900' AND {text} < '2300')"
        ),
        source_text=lambda column: f"to_char({source(column)}, 'YYYY-MM-DD HH24:MI:SS.US')",
        mirror_text=lambda column: f"toString({column})",
        note=f"{note}, to the microsecond; {_YEARS}",
    )


def _without_offset(text: str) -> str:
    return f"if(endsWith({text}, '+00'), substring({text}, 1, length({text}) - 3), NULL)"


def _uuid() -> ColumnType:
    return _exact(
        "UUID",
        parsed=lambda text: f"toUUIDOrNull({text})",
        same=lambda text: f"toString(toUUIDOrNull({text})) = {text}",
        source_text=_as_text,
        mirror_text=lambda column: f"toString({column})",
    )


def _enum() -> ColumnType:
    return ColumnType(
        clickhouse="LowCardinality(String)",
        nullable_allowed=True,
        value=lambda text: f"toLowCardinality({text})",
        fits=lambda text: "1",
        source_text=_as_text,
        mirror_text=lambda column: f"CAST({column} AS Nullable(String))",
        note="the label; its order among the others is lost",
    )
