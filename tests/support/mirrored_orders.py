"""A mirrored table made by hand: its rows, its change stream, and random changes to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from hypothesis import strategies as st

COLUMNS: Final = {
    "id": "Int64",
    "region": "Nullable(String)",
    "qty": "Nullable(Int8)",
    "big": "UInt64",
    "amount": "Nullable(Decimal(10, 2))",
    "total": "Decimal(38, 4)",
    "price": "Nullable(Float64)",
    "note": "LowCardinality(Nullable(String))",
    "tags": "Array(Nullable(String))",
}
CHANGE: Final = {
    "_operation": "LowCardinality(String)",
    "_sign": "Int8",
    "_lsn": "UInt64",
    "_ordinal": "UInt32",
    "_batch": "UInt64",
    "_xid": "UInt32",
    "_committed_at": "DateTime64(6, 'UTC')",
}
# Sums of the small ones are exact in any order; the others must leave no trace when they go.
FLOATS: Final = ("NULL", "0", "-0.0", "0.25", "0.75", "2.5", "1e300", "nan", "inf", "-inf")
KEYS: Final = st.integers(1, 12)
VALUES: Final = st.tuples(
    st.sampled_from(("NULL", "'north'", "'south'", "''")),
    st.sampled_from(("NULL", "-128", "-1", "0", "3", "127")),
    st.sampled_from(("0", "7", "9223372036854775808", "18446744073709551615")),
    st.sampled_from(("NULL", "'0.01'", "'-12345678.90'", "'99999999.99'")),
    st.sampled_from(("'0'", "'1.0001'", "'-9999999999999999999999999999999.9999'")),
    st.sampled_from(FLOATS),
    st.sampled_from(("NULL", "'x'", "'y'")),
    st.sampled_from(("[]", "['a']", "['a', NULL]")),
)
CHANGES: Final = st.one_of(
    st.tuples(st.just("put"), KEYS, VALUES),
    st.tuples(st.just("put"), KEYS, VALUES),
    st.tuples(st.just("delete"), KEYS),
    st.tuples(st.just("rekey"), KEYS, KEYS),
)
BATCHES: Final = st.lists(st.one_of(st.lists(CHANGES, min_size=1, max_size=12), st.just("truncate")), max_size=7)


class MirroredOrders:
    """What a source table held batch by batch, as the two inserts that bring it into ClickHouse."""

    def __init__(self, database: str) -> None:
        self.database = database
        self.rows: dict[int, tuple[str, ...]] = {}
        self.batch = 0

    def create_sql(self) -> list[str]:
        columns = ", ".join(f"`{name}` {type_}" for name, type_ in COLUMNS.items())
        change = ", ".join(f"{name} {type_}" for name, type_ in CHANGE.items())
        d = self.database
        return [
            f"DROP TABLE IF EXISTS {d}.orders__rows SYNC",
            f"DROP TABLE IF EXISTS {d}.orders_changes SYNC",
            f"CREATE TABLE {d}.orders__rows ({columns}, _version UInt64, _is_deleted UInt8) "
            "ENGINE = ReplacingMergeTree(_version, _is_deleted) ORDER BY id",
            f"CREATE TABLE {d}.orders_changes ({columns}, {change}) "
            "ENGINE = MergeTree ORDER BY (_batch, _lsn, _ordinal)",
            f"CREATE OR REPLACE VIEW {d}.orders AS SELECT {', '.join(COLUMNS)} FROM {d}.orders__rows FINAL",
        ]

    def apply_sql(self, changes: Sequence[tuple[Any, ...]] | str) -> list[str]:
        """The inserts of the next batch; none if it changes nothing, and then there is no batch."""
        images = self._truncated() if isinstance(changes, str) else self._images(changes)
        if not images:
            return []
        self.batch += 1
        version = self.batch * 1000
        values = [
            f"({key}, {', '.join(row)}, '{operation}', {sign}, {self.batch * 100}, {ordinal}, {self.batch}, 1, 0)"
            for ordinal, operation, sign, key, row in images
        ]
        touched = {key: row for _, _, _, key, row in images}
        rows = [
            f"({key}, {', '.join(self.rows.get(key, row))}, {version}, {int(key not in self.rows)})"
            for key, row in touched.items()
        ]
        return [
            f"INSERT INTO {self.database}.orders_changes VALUES {', '.join(values)}",
            f"INSERT INTO {self.database}.orders__rows VALUES {', '.join(rows)}",
        ]

    def _truncated(self) -> list[tuple[int, str, int, int, tuple[str, ...]]]:
        images = [(0, "delete", -1, key, row) for key, row in self.rows.items()]
        self.rows.clear()
        return images

    def _images(self, changes: Sequence[tuple[Any, ...]]) -> list[tuple[int, str, int, int, tuple[str, ...]]]:
        images = []
        for ordinal, (kind, key, *rest) in enumerate(changes):
            old = self.rows.get(key)
            if kind == "put" and old is None:
                images.append((ordinal, "insert", 1, key, rest[0]))
                self.rows[key] = rest[0]
            elif kind == "put" and old is not None:
                images += [(ordinal, "update_before", -1, key, old), (ordinal, "update_after", 1, key, rest[0])]
                self.rows[key] = rest[0]
            elif kind == "delete" and old is not None:
                images.append((ordinal, "delete", -1, key, old))
                del self.rows[key]
            elif kind == "rekey" and old is not None and rest[0] not in self.rows:
                images += [(ordinal, "delete", -1, key, old), (ordinal, "insert", 1, rest[0], old)]
                self.rows[rest[0]] = self.rows.pop(key)
        return images
