"""Personal columns: their values are nowhere but in PostgreSQL, on whatever way a row takes."""

from __future__ import annotations

import pytest
from support.mirror_proof import log_end
from support.mirror_side import MirrorSide
from support.waiting import until

from headrace.capture.source_tables import find_tables
from headrace.errors import InvalidConfiguration, InvalidSQL
from headrace.mirror.layout import wanted_shape
from headrace.mirror.verify import Verifier
from headrace.settings import MirroredTable
from headrace.warehouse.dead_letters import read_dead_letters
from headrace.warehouse.mirrors import QUARANTINED, READY, MirrorRequest, read_mirrors, write_request

SECRET = "5ecret"
TABLE = (
    "CREATE TABLE t (id int PRIMARY KEY, email text, phone text, name varchar(80), notes text, born date, n int); "
    "ALTER TABLE t ALTER email SET STORAGE EXTERNAL"
)
PERSONAL = (
    '\n[mirror.table."public.t"]\n'
    'columns = {email = "hash", phone = "mask", name = "tokenize", notes = "drop", born = "mask"}\n'
)


def declare(side: MirrorSide, personal: str) -> None:
    file = side.root / "headrace.toml"
    file.write_text(file.read_text().split("\n[mirror.table")[0] + personal)


def row(number: int, n: str = "1") -> str:
    return f"({number}, '{SECRET}{number}@x.org', 'q{SECRET}', '{SECRET} {number}', '{SECRET}', '1980-01-01', {n})"


async def stored_text(side: MirrorSide) -> str:
    """Every value of every table in the project's database, and of our own tables."""
    sql = (
        "SELECT database, name FROM system.tables WHERE database IN ({database:String}, 'headrace') "
        "AND engine NOT IN ('View', 'MaterializedView')"
    )
    found = []
    for database, name in await side.clickhouse.rows(sql, {"database": side.clickhouse.database}):
        try:
            found.append((await side.clickhouse.raw(f"SELECT * FROM `{database}`.`{name}`", format="TSV")).decode())
        except InvalidSQL as error:  # an older generation, dropped just now
            if "UNKNOWN_TABLE" not in str(error):
                raise
    return "\n".join(found)


async def state_of(side: MirrorSide) -> tuple[str, str]:
    stored = (await read_mirrors(side.clickhouse, side.mirrored.source))["t"]
    return stored.state, stored.problem


async def test_a_personal_value_is_nowhere_but_in_postgresql(
    side: MirrorSide, capfd: pytest.CaptureFixture[str]
) -> None:
    declare(side, PERSONAL)
    await side.run(TABLE)
    await side.run(f"INSERT INTO t VALUES {row(1)}, {row(2)}")
    await side.run("ALTER TABLE t ALTER n TYPE numeric(9)")
    await side.run(f"INSERT INTO t VALUES {row(3, repr('NaN'))}")
    side.start()
    await side.mirrored.wait_until_ready()
    await side.run(f"INSERT INTO t VALUES {row(4)}, {row(5)}, {row(6, repr('NaN'))}")
    await side.run("UPDATE t SET n = 7 WHERE id = 4")
    await side.run(f"UPDATE t SET id = 50, email = '{SECRET}1@x.org' WHERE id = 5")
    await side.run("DELETE FROM t WHERE id = 2")
    await side.mirrored.wait_for(await log_end(side.url))
    shown = await side.clickhouse.rows("SELECT id, email, phone, name, born FROM t ORDER BY id")
    by_id = {number: values for number, *values in shown}
    assert sorted(by_id) == [1, 4, 50]
    assert by_id[1][0] == by_id[50][0] != by_id[4][0]
    assert len(by_id[1][0]) == 64
    assert by_id[1][1] == "q***"
    assert by_id[1][3] == "1***"
    tokens: dict[str, str] = dict(await side.run("SELECT token, value FROM headrace.personal_tokens"))
    assert {tokens[values[2]] for values in by_id.values()} == {f"{SECRET} 1", f"{SECRET} 4", f"{SECRET} 5"}
    letters = await read_dead_letters(side.clickhouse, side.mirrored.source)
    assert len(letters) == 2
    stored = await read_mirrors(side.clickhouse, side.mirrored.source)
    verifier = Verifier(clickhouse=side.clickhouse, source=side.mirrored.source, postgres_url=side.url)
    verified = await verifier.verify(stored["t"])
    assert (verified.missing, verified.extra, verified.changed) == (2, 0, 0)  # those that became letters
    await write_request(side.clickhouse, side.mirrored.source, MirrorRequest("public.t", "repair"))
    await side.run("TRUNCATE t")
    await side.run(f"INSERT INTO t VALUES {row(8)}")
    await side.mirrored.wait_for(await log_end(side.url))
    assert SECRET not in await stored_text(side)
    assert SECRET not in "".join(capfd.readouterr())


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE t RENAME email TO mail",
        "ALTER TABLE t RENAME notes TO remarks",
        "ALTER TABLE t DROP COLUMN phone",
        "ALTER TABLE t RENAME TO people",
    ],
)
async def test_a_table_whose_personal_columns_are_not_found_is_withheld(side: MirrorSide, statement: str) -> None:
    declare(side, PERSONAL)
    await side.run(TABLE)
    side.start()
    await side.mirrored.wait_until_ready()
    await side.run(statement)
    name = "people" if "people" in statement else "t"
    await side.run(f"INSERT INTO {name} (id, name, born) VALUES (1, '{SECRET}', '1980-01-01')")
    if name == "t" and "DROP" not in statement:
        column = "mail" if "mail" in statement else "remarks"
        await side.run(f"INSERT INTO t (id, {column}) VALUES (2, '{SECRET}')")

    async def quarantined() -> bool:
        found = await read_mirrors(side.clickhouse, side.mirrored.source)
        return any(each.state == QUARANTINED for each in found.values())

    await until(quarantined)
    assert SECRET not in await stored_text(side)


async def test_what_becomes_personal_later_is_copied_anew_and_gone(side: MirrorSide) -> None:
    await side.run(TABLE)
    await side.run(f"INSERT INTO t VALUES {row(1)}")
    side.start()
    await side.mirrored.wait_until_ready()
    assert SECRET in await stored_text(side)
    await side.stop()
    declare(side, PERSONAL)
    await side.run(f"INSERT INTO t VALUES {row(2)}")
    side.start()

    async def gone() -> bool:
        return (await state_of(side))[0] == READY and SECRET not in await stored_text(side)

    await until(gone)
    assert len(await side.clickhouse.rows("SELECT email, name FROM t")) == 2


async def test_what_was_personal_is_not_shown_for_a_line_that_is_missing(side: MirrorSide) -> None:
    declare(side, PERSONAL)
    await side.run(TABLE)
    side.start()
    await side.mirrored.wait_until_ready()
    await side.stop()
    declare(side, PERSONAL.replace('email = "hash", ', ""))
    await side.run(f"INSERT INTO t VALUES {row(1)}")
    side.start()

    async def quarantined() -> bool:
        return (await state_of(side))[0] == QUARANTINED

    await until(quarantined)
    assert "email" in (await state_of(side))[1]
    await side.run(f"INSERT INTO t VALUES {row(2)}")
    await side.mirrored.wait_for(await log_end(side.url))
    assert SECRET not in await stored_text(side)


async def test_settings_for_no_table_are_told(side: MirrorSide, capfd: pytest.CaptureFixture[str]) -> None:
    """A wrong letter in the name of a table would show what is personal."""
    declare(side, PERSONAL.replace("public.t", "public.tt"))
    await side.run(TABLE)
    side.start()
    await side.mirrored.wait_until_ready()
    told = ""

    async def has_told() -> bool:
        nonlocal told
        told += "".join(capfd.readouterr())
        return "public.tt" in told and "is for no table that is mirrored" in told

    await until(has_told)


async def test_a_key_cannot_be_personal(side: MirrorSide) -> None:
    await side.run(TABLE)
    (table,) = await find_tables(side.url, ["public.t"])
    with pytest.raises(InvalidConfiguration, match="personal column in its key: id"):
        wanted_shape(table, {"public.t": MirroredTable(columns={"id": "hash"})})
