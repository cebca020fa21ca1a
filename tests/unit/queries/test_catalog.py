from __future__ import annotations

from pathlib import Path

import pytest

from headrace.errors import InvalidConfiguration, Unknown
from headrace.queries.catalog import Catalog, Query, parse_query

FILE = """\
-- title: Distance per month
-- description: Kilometres
--   per calendar month.
-- parameter user_id: One user.
-- default user_id: ''
-- cache_s: 5
-- rows_max: 10

-- A plain comment may hold {braces} and ;
SELECT '{not:Int8}' AS "a;b", {user_id:String} AS user, {month:Date} AS month
FROM workouts_view WHERE user_id = {user_id:String};
"""


def parse(text: str, name: str = "example") -> Query:
    return parse_query(name, text, Path(f"queries/{name}.sql"))


def test_a_file_becomes_a_query() -> None:
    query = parse(FILE)
    assert query.title == "Distance per month"
    assert query.description == "Kilometres per calendar month."
    assert [(p.name, p.type.text, p.default) for p in query.parameters] == [
        ("user_id", "String", ""),
        ("month", "Date", None),
    ]
    assert query.parameters[0].description == "One user."
    assert (query.cache_s, query.rows_max, query.time_max_s) == (5.0, 10, None)
    assert query.sql.startswith("SELECT")
    assert not query.sql.endswith(";")


def test_a_title_is_made_from_the_name_when_there_is_none() -> None:
    assert parse("SELECT 1", "active_users").title == "Active users"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("-- titel: x\nSELECT 1", "queries/example.sql:1: the header has no entry 'titel'"),
        ("-- default: 1\nSELECT 1", "example.sql:1"),
        ("-- cache_s: soon\nSELECT 1", "example.sql:1: cache_s is not a number of seconds"),
        ("-- default a: 1\nSELECT 1", "example.sql:1: the statement has no parameter 'a'"),
        ("-- default a: x\nSELECT {a:Int8}", "example.sql:1: the default of 'a' does not fit"),
        ("SELECT {a:Int8},\n {a:Int16}", "example.sql:2: the parameter 'a' has two types"),
        ("SELECT 1,\n { a:Int8 }", "example.sql:2: this brace"),
        ("SELECT {a:Identifier}", "the parameter 'a' has the type 'Identifier'"),
        ("SELECT {format:String}", "a parameter cannot be called 'format'"),
        ("SELECT 1; DROP TABLE x", "example.sql:1: a query file holds one statement"),
        ("INSERT INTO x SELECT 1", "a query file holds one SELECT"),
        ("", "a query file holds one SELECT"),
        ("SELECT 1 FORMAT CSV", "'FORMAT CSV' does not belong"),
    ],
)
def test_a_file_that_cannot_work_is_refused_with_its_place(text: str, says: str) -> None:
    with pytest.raises(InvalidConfiguration) as raised:
        parse(text)
    assert says in str(raised.value)


def test_a_name_that_no_url_should_have_is_refused() -> None:
    with pytest.raises(InvalidConfiguration, match="cannot be the name"):
        parse("SELECT 1", "My Query")


def test_the_catalog_reads_a_folder_and_suggests_names(tmp_path: Path) -> None:
    (tmp_path / "b.sql").write_text("SELECT 2")
    (tmp_path / "active_users.sql").write_text("SELECT 1")
    catalog = Catalog.load(tmp_path)
    assert [query.name for query in catalog] == ["active_users", "b"]
    assert catalog.get("b").sql == "SELECT 2"
    with pytest.raises(Unknown) as raised:
        catalog.get("active_user")
    assert raised.value.hint == "Did you mean 'active_users'?"


def test_a_missing_folder_is_an_empty_catalog(tmp_path: Path) -> None:
    assert len(Catalog.load(tmp_path / "queries")) == 0
