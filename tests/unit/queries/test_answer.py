from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec

from headrace.events.position import Position
from headrace.queries.answer import Answer, age
from headrace.warehouse.watermark import NOTHING, Watermark

WRITTEN = datetime(2026, 3, 1, tzinfo=UTC)
WATERMARK = Watermark(7, Position(0x16B3748), WRITTEN, WRITTEN)
RAW = b"""{
	"meta":
	[
		{
			"name": "a",
			"type": "Array(UInt8)"
		},
		{
			"name": "],\\n\\n\\t\\"data\\":",
			"type": "String"
		}
	],

	"data":
	[
		{
			"a": [1,2],
			"],\\n\\n\\t\\"data\\":": "x\\n\\t],\\n"
		}
	],

	"rows": 1,

	"rows_before_limit_at_least": 9
}
"""
EMPTY = b"""{
	"meta":
	[
		{
			"name": "a",
			"type": "UInt8"
		}
	],

	"data":
	[

	],

	"rows": 0
}
"""


def read(raw: bytes) -> Answer:
    return Answer.from_json(raw, query="q", watermark=WATERMARK, elapsed_ms=1.25)


def test_the_envelope_holds_the_rows_of_clickhouse_untouched() -> None:
    body = msgspec.json.decode(read(RAW).as_json(WRITTEN + timedelta(seconds=2)))
    assert body == {
        "data": [{"a": [1, 2], '],\n\n\t"data":': "x\n\t],\n"}],
        "columns": [{"name": "a", "type": "Array(UInt8)"}, {"name": '],\n\n\t"data":', "type": "String"}],
        "rows": 1,
        "watermark": "0/16B3748",
        "age_s": 2.0,
        "elapsed_ms": 1.2,
    }


def test_an_answer_without_rows_still_has_columns() -> None:
    answer = read(EMPTY)
    assert (answer.rows, answer.records()) == (0, [])
    assert [column.name for column in answer.column_list()] == ["a"]


def test_answers_are_the_same_when_their_rows_are() -> None:
    assert read(EMPTY).same_rows(read(EMPTY))
    assert not read(EMPTY).same_rows(read(RAW))
    assert not read(EMPTY).same_rows(None)


def test_age_is_unknown_before_the_first_batch_and_never_negative() -> None:
    assert age(NOTHING) is None
    assert age(WATERMARK, WRITTEN - timedelta(seconds=1)) == 0.0
