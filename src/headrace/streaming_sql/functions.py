"""Which calls aggregate, and which may not stand in a read model at all.

The names of ClickHouse's aggregate functions are given by the caller, who reads them from `system.functions`; only
what ClickHouse does not tell is written down here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from headrace.streaming_sql import ast
from headrace.streaming_sql.expressions import SQL_AGGREGATES
from headrace.streaming_sql.script import Script

# Suffixes that turn an aggregate function into another: sumIf, uniqArray, avgOrNull.
_COMBINATORS: Final = ("If", "Array", "Map", "Distinct", "OrDefault", "OrNull", "ForEach", "ArgMin", "ArgMax")
_STATES: Final = ("State", "SimpleState", "Merge", "MergeState")

_TAKING: Final = ("If", "OrNull", "OrDefault")

# A rebuilt read model must hold the same rows, so nothing may depend on when, where or in which block a row is read.
_UNREPEATABLE_NAMES: Final = """
    now now64 nowInBlock nowInBlock64 today yesterday curdate current_date current_timestamp localtimestamp UTCTimestamp
    UTC_timestamp rand rand32 rand64 randConstant randCanonical randUniform randNormal randLogNormal randExponential
    randBernoulli randBinomial randNegativeBinomial randPoisson randChiSquared randStudentT randFisherF
    randomString randomFixedString randomPrintableASCII randomStringUTF8 fuzzBits generateUUIDv4 generateUUIDv7
    generateULID generateSnowflakeID generateSerialID hostName FQDN serverUUID serverTimezone timezone uptime tcpPort
    currentUser user currentDatabase connectionId queryID initialQueryID initial_query_id query_id getSetting
    blockNumber blockSize blockSerializedSize rowNumberInBlock rowNumberInAllBlocks runningDifference
    runningDifferenceStartingWithFirstValue runningAccumulate runningConcurrency neighbor lagInPartition sleep
    sleepEachRow file filesystemAvailable filesystemCapacity filesystemUnreserved transactionID
"""
# Aggregates that take what the order of rows gives them: rows that come and go have none.
_ORDERED_NAMES: Final = """
    any any_value anyHeavy anyLast any_respect_nulls anyLast_respect_nulls anyRespectNulls anyLastRespectNulls
    first_value last_value first_value_respect_nulls last_value_respect_nulls deltaSum groupArrayLast
    groupArrayMovingAvg groupArrayMovingSum groupArraySample exponentialMovingAverage boundingRatio
"""
_ORDERED: Final = frozenset(_ORDERED_NAMES.split())
_UNREPEATABLE: Final = frozenset(_UNREPEATABLE_NAMES.lower().split())
_LOWER_AGGREGATES: Final = frozenset(name.lower() for name in SQL_AGGREGATES)


def clickhouse_name(call: ast.Call, aggregate_functions: frozenset[str]) -> str:
    """ClickHouse's name for the aggregate function that `call` calls; empty if it does not aggregate."""
    if call.name in SQL_AGGREGATES:
        return "uniqExact" if call.distinct else call.name.lower()
    name = call.name
    while name not in aggregate_functions and name not in _LOWER_AGGREGATES:
        combinator = next((each for each in _COMBINATORS if name.endswith(each) and name != each), None)
        if combinator is None:
            return ""
        name = name.removesuffix(combinator)
    return call.name


def base_name(function: str) -> str:
    """`function` without the suffixes that change which values it takes, not what it makes of them: sumOrNullIf."""
    while suffix := next((each for each in _TAKING if function.endswith(each) and function != each), ""):
        function = function.removesuffix(suffix)
    return function


def depends_on_order(function: str) -> bool:
    """Whether the answer of ClickHouse's aggregate `function` is another one when its rows come in another order."""
    return base_name(function) in _ORDERED


def aggregates_in(node: ast.Node, aggregate_functions: frozenset[str]) -> Iterator[ast.Call]:
    """The calls of aggregate functions anywhere in `node`, outer ones first."""
    for each, _ in ast.walk(node):
        if isinstance(each, ast.Call) and clickhouse_name(each, aggregate_functions):
            yield each


def check(script: Script, node: ast.Node, aggregate_functions: frozenset[str]) -> None:
    """Raise InvalidSQL for the first call in `node` that no read model may make."""
    for each, _ in ast.walk(node):
        if isinstance(each, ast.Call):
            _check_call(script, each, aggregate_functions)


def _check_call(script: Script, call: ast.Call, aggregate_functions: frozenset[str]) -> None:
    if call.name.lower() in _UNREPEATABLE:
        message = f"{call.name}() gives another value each time, so the read model could not be rebuilt"
        raise script.error(message, call.span, "Use a time or an id that the event carries, such as _recorded_at.")
    if call.name == "arrayJoin":
        message = "arrayJoin() is not supported: it makes several rows of one change"
        raise script.error(message, call.span, "Keep the array, and apply arrayJoin in the query that reads it.")
    for suffix in _STATES:
        base = call.name.removesuffix(suffix)
        if base != call.name and clickhouse_name(ast.Call(base, ()), aggregate_functions):
            message = f"{call.name}() handles partial aggregates, which a table keeps by itself"
            raise script.error(message, call.span, f"Write {base}(…).")
