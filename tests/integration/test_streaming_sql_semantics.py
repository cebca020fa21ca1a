"""Generated statements against a real ClickHouse: what is built slice by slice equals the same SELECT run at once.

chDB is asked directly, without the server around it: nothing here depends on how statements are carried.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence

import pytest
from chdb import ChdbError
from support.direct_clickhouse import Clickhouse

from headrace.streaming_sql import ast
from headrace.streaming_sql.generate import (
    advance_sql,
    batch_sql,
    describe_sql,
    output_sql,
    probe_sql,
)
from headrace.streaming_sql.parser import parse
from headrace.streaming_sql.printer import explicit
from headrace.streaming_sql.slice import Slice

BATCHES = 12


@pytest.fixture(scope="module")
def clickhouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clickhouse]:
    started = Clickhouse(tmp_path_factory.mktemp("chdb"))
    started.run("CREATE DATABASE d")
    started.run(
        "CREATE TABLE d.rows (user Nullable(String), sport LowCardinality(String), km Float64, seconds Nullable(Int64),"
        " tags Array(String), `at` DateTime('UTC'), _lsn UInt64, _ordinal UInt32, _batch UInt64, _stream String,"
        " _version UInt32, _recorded_at DateTime64(6, 'UTC')) ENGINE = MergeTree ORDER BY (_lsn, _ordinal)"
    )
    started.run("CREATE VIEW d.Logged AS SELECT * FROM d.rows")
    # Multiples of a quarter: sums of them are exact in any order.
    started.run(
        "INSERT INTO d.rows SELECT if(h % 7 = 0, NULL, concat('u', toString(h % 5))),"
        " ['run', 'swim', 'bike'][h % 3 + 1], (h % 97) / 4, if(h % 11 = 0, NULL, h % 1000),"
        " [toString(h % 2), 'x'], toDateTime('2024-01-28 00:00:00', 'UTC') + number * 600, 1000 + intDiv(number, 3),"
        f" number % 3, 1 + intDiv(number * {BATCHES}, 3000), 's', 1, toDateTime64('2024-01-01 00:00:00', 6, 'UTC')"
        " FROM (SELECT number, sipHash64(number) AS h FROM numbers(3000))"
    )
    yield started
    started.session.close()


STREAMS = {
    "plain": "CREATE STREAM s AS SELECT user, km, at FROM Logged WHERE sport = 'run'",
    "star": "CREATE STREAM s AS SELECT *, km * 2 AS twice FROM Logged",
    "qualified star": "CREATE STREAM s AS SELECT l.*, lower(l.sport) AS kind FROM Logged AS l WHERE l.km > 3",
    "stored elsewhere": (
        "CREATE STREAM s AS SELECT user, sport, at FROM Logged"
        " WITH (order_by = 'user, at', partition_by = 'toYYYYMM(at), sport')"
    ),
    "alias of an alias": "CREATE STREAM s AS SELECT km + 1 AS more, more * 2 AS most FROM Logged WHERE more < 9",
    "without where": "CREATE STREAM s AS SELECT _recorded_at AS time, arrayMap(x -> x || '!', tags) AS t FROM Logged",
    "disjunction": "CREATE STREAM s AS SELECT km FROM Logged WHERE sport = 'run' OR sport = 'bike'",
    "quoted names": 'CREATE STREAM s AS SELECT km AS "the km", sport AS `sp\\`ort`, 1 + 1 FROM Logged',
}
TABLES = {
    "five": (
        "CREATE TABLE t AS SELECT user, COUNT(*) AS n, COUNT(seconds) AS timed, sum(km) AS total, AVG(seconds) AS mean,"
        " MIN(km) AS least, max(at) AS latest FROM Logged GROUP BY user"
    ),
    "alias key": (
        "CREATE TABLE t AS SELECT SUM(km) AS km, toStartOfMonth(at) AS month, user FROM Logged GROUP BY user, month"
    ),
    "shadowing alias": (
        "CREATE TABLE t AS SELECT toDate(at) AS at, SUM(km) AS km, SUM(km * 2) AS twice FROM Logged"
        " WHERE at >= toDateTime('2024-01-29 12:00:00', 'UTC') GROUP BY at"
    ),
    "over aggregates": (
        "CREATE TABLE t AS SELECT SUM(km) / COUNT(*) AS pace, sport, SUM(km) AS total, total * 2 AS double, 7 AS seven,"
        " CASE WHEN COUNT(*) > 200 THEN upper(sport) ELSE 'few' END AS label FROM Logged GROUP BY sport"
    ),
    "expression key": "CREATE TABLE t AS SELECT COUNT(*) AS n FROM Logged GROUP BY toHour(at), sport",
    "over keys": (
        "CREATE TABLE t AS SELECT toYear(month) AS year, l.user AS who, COUNT() AS n, toStartOfMonth(at) AS month,"
        " upper(user) AS loud FROM Logged AS l GROUP BY toStartOfMonth(l.at), l.user"
    ),
    "positions": "CREATE TABLE t AS SELECT sport, user, COUNT(DISTINCT seconds, km) AS n FROM Logged GROUP BY 1, 2",
    "constant key": "CREATE TABLE t AS SELECT 'all' AS scope, 5 AS five, COUNT(*) FROM Logged GROUP BY scope, five",
    "clickhouse aggregates": (
        "CREATE TABLE t AS SELECT user, sport, quantileExact(0.9)(seconds) AS p90, countIf(km > 5) AS far,"
        " argMax(km, (_lsn, _ordinal)) AS newest, uniqExactIf(seconds, km > 2) AS u, sumOrNull(seconds) AS s,"
        " arraySort(groupUniqArray(sport)) AS sports, sumMap([sport], [km]) AS by_sport, stddevPop(0) AS spread"
        " FROM Logged GROUP BY sport, user"
    ),
    "lambda over a key": (
        "CREATE TABLE t AS SELECT tags, arrayMap(x -> concat(x, toString(COUNT(*))), tags) AS marked"
        " FROM Logged GROUP BY tags"
    ),
    "unnamed columns": "CREATE TABLE t AS SELECT user, COUNT(*), SUM(km) / 2 FROM Logged GROUP BY user",
    "keys only": "CREATE TABLE t AS SELECT user, sport FROM Logged GROUP BY user, sport",
    "hidden key": "CREATE TABLE t AS SELECT _batch AS batch, COUNT(*) AS n FROM Logged GROUP BY _stream, _batch",
    "renamed to each other": (
        "CREATE TABLE t AS SELECT sport AS user, user AS sport, COUNT(*) AS n FROM Logged GROUP BY user, sport"
    ),
}
# Every operator beside its neighbours in precedence.
EXPRESSIONS = r"""
1 + 2 * 3 - 4 % 3
-1::Int8
-128::Int8
NOT 1 = 0
1 = 2 IS NULL
'a' || 'b' = 'ab'
2 - 1 - 1
1 BETWEEN 0 AND 1 = 1
1 = 1 BETWEEN 0 AND 1
NOT 1 BETWEEN 2 AND 3 OR 1 AND 0
1 NOT IN (2) IS NULL
CASE 1 WHEN 1 THEN 'a' ELSE 'b' END
CASE WHEN 1 > 2 THEN 1 END
0.1::Decimal(38, 20)
[1, 2][2]
tuple(1, (2, 3)).2.1
(1,).1
CAST(1 AS Nullable(String))
'1'::Enum8('1' = -1, '2' = 2)
-(-1)
EXTRACT(MONTH FROM DATE '2024-05-06')
DATE '2024-01-01' + INTERVAL 5 DAYS
INTERVAL '5 day'
TIMESTAMP '2024-01-01 00:00:00' - INTERVAL (1 + 1) HOUR
arrayMap((x, y) -> x + y, [1], [2])
0x1F + 1e3
arrayFilter(x -> x > 1 OR x = 0, [0, 1, 2])
1 IN [1, 2]
(1, 2) IN ((1, 2), (3, 4))
7 DIV 2
7 MOD 2
'a%' LIKE 'a\\%'
'it''s\'x\d'
NULL IS DISTINCT FROM 1
1 IS NOT DISTINCT FROM NULL
inf > 1
quantileExact(0.5)(2)
map('a', 1)['a']
mod(7, 2)
1 < 2 < 3
NOT NOT 1
- 1 IS NULL
TRUE AND NOT FALSE
1_000
toInt8(1)::Int16::String
3 NOT BETWEEN 1 AND 2
'A' NOT ILIKE 'b'
"""
ALL = {**STREAMS, **TABLES}


def splits(randomness: random.Random) -> Iterator[Slice]:
    """The batches 1 to BATCHES in slices of random size."""
    after = 0
    while after < BATCHES:
        upto = min(BATCHES, after + randomness.randint(1, 5))
        yield Slice(after, upto)
        after = upto


@pytest.mark.parametrize("text", ALL.values(), ids=ALL.keys())
def test_slices_add_up_to_the_batch_query(clickhouse: Clickhouse, text: str) -> None:
    definition = clickhouse.define(text)
    columns = clickhouse.create(definition)
    randomness = random.Random(text)
    for rows in splits(randomness):
        clickhouse.advance(definition, columns, rows, verify=randomness.random() < 0.5)
        assert clickhouse.content(definition) == clickhouse.batch(definition, Slice(0, rows.upto))
    assert clickhouse.content(definition) == clickhouse.batch(definition)
    assert clickhouse.content(definition)


@pytest.mark.parametrize("text", ALL.values(), ids=ALL.keys())
def test_verified_repeat_inserts_nothing(clickhouse: Clickhouse, text: str) -> None:
    definition = clickhouse.define(text)
    columns = clickhouse.create(definition)
    target = "s" if definition.kind == "stream" else "t__state"
    for rows in (Slice(0, 7), Slice(7, BATCHES)):
        clickhouse.advance(definition, columns, rows)
        before = clickhouse.stored(target)
        clickhouse.advance(definition, columns, rows, verify=True)
        assert clickhouse.stored(target) == before


@pytest.mark.parametrize("text", ALL.values(), ids=ALL.keys())
def test_verify_completes_a_slice_that_was_applied_in_part(clickhouse: Clickhouse, text: str) -> None:
    """A kill in the middle of an INSERT … SELECT leaves some of its parts: here, those that a random filter keeps."""
    definition = clickhouse.define(text)
    columns = clickhouse.create(definition)
    clickhouse.advance(definition, columns, Slice(0, 5))
    rows = Slice(5, BATCHES)
    for share in (0, 1, 2, 3):
        clickhouse.advance_in_part(definition, columns, rows, share)
    clickhouse.advance(definition, columns, rows, verify=True)
    assert clickhouse.content(definition) == clickhouse.batch(definition)


@pytest.mark.parametrize("text", ALL.values(), ids=ALL.keys())
def test_described_columns_are_those_that_readers_get(clickhouse: Clickhouse, text: str) -> None:
    definition = clickhouse.define(text)
    clickhouse.create(definition)
    expected = [(row["name"], row["type"]) for row in clickhouse.rows(output_sql(definition, "d"))]
    described = clickhouse.rows(f"DESCRIBE (SELECT * FROM d.{definition.name})")
    assert [(row["name"], row["type"]) for row in described] == expected


def test_null_keys_form_a_group_and_are_verified(clickhouse: Clickhouse) -> None:
    definition = clickhouse.define(
        "CREATE TABLE t AS SELECT user, seconds, COUNT(*) AS n FROM Logged GROUP BY user, seconds"
    )
    columns = clickhouse.create(definition)
    clickhouse.advance(definition, columns, Slice(0, BATCHES))
    clickhouse.advance(definition, columns, Slice(0, BATCHES), verify=True)
    assert clickhouse.content(definition) == clickhouse.batch(definition)
    nulls = clickhouse.rows("SELECT count() AS n FROM d.t WHERE user IS NULL AND seconds IS NULL")
    assert nulls == [{"n": 1}]


def test_an_alias_does_not_change_what_where_means(clickhouse: Clickhouse) -> None:
    """ClickHouse alone would compare the date, and so keep nothing of the day the filter begins on."""
    text = "CREATE STREAM s AS SELECT toStartOfMonth(at) AS at, km AS seconds FROM Logged WHERE {}"
    where = "at >= toDateTime('2024-01-31 12:00:00', 'UTC') AND seconds > 100"
    definition = clickhouse.define(text.format(where))
    clickhouse.advance(definition, clickhouse.create(definition), Slice(0, BATCHES))
    expected = clickhouse.rows(f"SELECT count() AS n FROM d.rows WHERE {where}")
    assert clickhouse.stored("s") == expected[0]["n"] > 0


def test_streams_on_streams_and_tables_on_them(clickhouse: Clickhouse) -> None:
    texts: Sequence[str] = (
        "CREATE STREAM runs AS SELECT *, _version AS version FROM Logged WHERE sport = 'run'",
        "CREATE STREAM long_runs AS SELECT * FROM runs WHERE km > 5",
        "CREATE TABLE last_runs AS SELECT user, argMax(km, (_lsn, _ordinal)) AS km FROM long_runs GROUP BY user",
    )
    chain = [clickhouse.define(text) for text in texts]
    columns = [clickhouse.create(definition) for definition in chain]
    for rows in splits(random.Random(3)):
        for definition, described in zip(chain, columns, strict=True):
            clickhouse.advance(definition, described, rows)
    for definition in chain:
        assert clickhouse.content(definition) == clickhouse.batch(definition)
        assert clickhouse.content(definition)


def test_star_keeps_its_columns_when_the_source_grows(clickhouse: Clickhouse) -> None:
    clickhouse.run("CREATE OR REPLACE VIEW d.Grows AS SELECT user, km, _lsn, _ordinal, _batch FROM d.rows")
    definition = clickhouse.define("CREATE STREAM s AS SELECT 1 AS one, *, km + 1 AS more FROM Grows")
    columns = clickhouse.create(definition)
    clickhouse.advance(definition, columns, Slice(0, 6))
    clickhouse.run("CREATE OR REPLACE VIEW d.Grows AS SELECT sport, user, km, tags, _lsn, _ordinal, _batch FROM d.rows")
    clickhouse.advance(definition, columns, Slice(6, BATCHES))
    found = clickhouse.rows("SELECT count() AS n, sum(km) AS a, sum(more) AS b, uniqExact(user) AS c FROM d.s")
    assert found == clickhouse.rows("SELECT count() AS n, sum(km) AS a, a + n AS b, uniqExact(user) AS c FROM d.rows")


def test_bookkeeping_columns_are_hidden_and_hold_the_position(clickhouse: Clickhouse) -> None:
    definition = clickhouse.define("CREATE STREAM s AS SELECT km FROM Logged")
    clickhouse.advance(definition, clickhouse.create(definition), Slice(2, 4))
    assert set(clickhouse.rows("SELECT * FROM d.s LIMIT 1")[0]) == {"km"}
    stored = "SELECT _lsn, _ordinal, _batch, km FROM d.{} WHERE _batch IN (3, 4) ORDER BY _lsn, _ordinal"
    assert clickhouse.rows(stored.format("s")) == clickhouse.rows(stored.format("rows"))


@pytest.mark.parametrize("text", [STREAMS["plain"], TABLES["five"]], ids=["stream", "table"])
def test_excluded_positions_are_left_out(clickhouse: Clickhouse, text: str) -> None:
    definition = clickhouse.define(text)
    columns = clickhouse.create(definition)
    clickhouse.run("CREATE OR REPLACE VIEW d.letters AS SELECT _lsn, _ordinal FROM d.rows WHERE _ordinal = 1")
    excluding, rows = "SELECT _lsn, _ordinal FROM d.letters", Slice(0, BATCHES)
    for verify in (False, True):
        insert = advance_sql(definition, "d", columns, rows, verify=verify, excluding=excluding)
        clickhouse.run(insert, **rows.parameters())
    expected = clickhouse.rows(batch_sql(definition, "d", excluding=excluding))
    assert clickhouse.content(definition) == sorted(json.dumps(row) for row in expected)
    assert clickhouse.content(definition) != clickhouse.batch(definition)


@pytest.mark.parametrize(
    "text",
    [
        "CREATE STREAM s AS SELECT throwIf(_lsn = 1500 AND _ordinal = 2) AS poison FROM Logged",
        "CREATE TABLE t AS SELECT sport, SUM(throwIf(_lsn = 1500 AND _ordinal = 2)) AS x FROM Logged GROUP BY sport",
    ],
    ids=["stream", "table"],
)
def test_probing_narrower_ranges_finds_the_row_that_fails(clickhouse: Clickhouse, text: str) -> None:
    definition = clickhouse.define(text)
    columns = clickhouse.create(definition)

    def fails(first: int, last: int) -> bool:
        """Whether a row from the place `first` to `last` fails; three places to an LSN."""
        rows = Slice(0, BATCHES, divmod(first, 3), divmod(last, 3))
        try:
            clickhouse.run(probe_sql(definition, "d", columns, rows), **rows.parameters())
        except ChdbError:
            return True
        return False

    first, last = 3000, 6000
    assert fails(first, last)
    while first < last:
        middle = (first + last) // 2
        first, last = (first, middle) if fails(first, middle) else (middle + 1, last)
    assert divmod(first, 3) == (1500, 2)


def test_a_filter_on_a_key_reaches_the_index_of_the_state(clickhouse: Clickhouse) -> None:
    definition = clickhouse.define(TABLES["alias key"])
    clickhouse.advance(definition, clickhouse.create(definition), Slice(0, BATCHES))
    plan = clickhouse.rows("EXPLAIN indexes = 1 SELECT km FROM d.t WHERE user = 'u1'")
    text = "\n".join(row["explain"] for row in plan)
    assert "Condition: (user in ['u1', 'u1'])" in text


def test_batches_already_applied_are_skipped_by_the_index(clickhouse: Clickhouse) -> None:
    definition = clickhouse.define(STREAMS["stored elsewhere"])
    columns = clickhouse.create(definition)
    for batch in range(BATCHES):
        clickhouse.advance(definition, columns, Slice(batch, batch + 1))
    plan = clickhouse.rows("EXPLAIN indexes = 1 SELECT _lsn, _ordinal FROM d.s WHERE _batch > 11")
    assert "_batch_range" in "\n".join(row["explain"] for row in plan)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("CREATE STREAM s AS SELECT nope FROM Logged", "UNKNOWN_IDENTIFIER"),
        ("CREATE STREAM s AS SELECT km FROM Logged WHERE km = 'x'", "Cannot"),
        ("CREATE TABLE t AS SELECT user, SUM(sport) AS x FROM Logged GROUP BY user", "ILLEGAL_TYPE"),
    ],
)
def test_clickhouse_refuses_wrong_names_and_types_when_asked_to_describe(
    clickhouse: Clickhouse, text: str, problem: str
) -> None:
    with pytest.raises(ChdbError, match=problem):
        clickhouse.rows(describe_sql(clickhouse.define(text), "d"))


def test_expressions_mean_to_clickhouse_what_was_written(clickhouse: Clickhouse) -> None:
    """The text made of the tree gives the same value and type as the text that was written."""
    for text in EXPRESSIONS.strip().splitlines():
        (statement,) = parse(f"CREATE STREAM s AS SELECT {text} FROM Logged")
        assert isinstance(statement, ast.Create)
        from_tree = explicit(statement.query.items[0].expression)
        answer = clickhouse.rows(
            f"SELECT toTypeName({text}) = toTypeName({from_tree}) AS types,"
            f" toString({text}) AS a, toString({from_tree}) AS b"
        )
        assert answer[0]["types"] == 1, (text, from_tree)
        assert answer[0]["a"] == answer[0]["b"], (text, from_tree)
