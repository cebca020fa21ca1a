"""What stands for a personal value is the same on both ways, and nothing of the value is left in it."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.capture.personal import Personal, masked, replace_values
from headrace.capture.personal_copy import protect_copied

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
VALUE = (
    st.none()
    | TEXT
    | st.sampled_from(["\b0\f\v00", "\\N", "\\", "a\tb", "a\nb\r", "\\t", "", "ann@example.org", '"', "é"])
)
ESCAPES = {"\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}


def copied(value: str | None) -> str:
    """As COPY TO writes it."""
    return "\\N" if value is None else "".join(ESCAPES.get(letter, letter) for letter in value)


def personal() -> Personal:
    made = Personal({"public.t": {"h": "hash", "m": "mask", "t": "tokenize"}})
    made.use_key(b"0" * 32)
    return made


@settings(deadline=None)  # the first example may import pandas, which pyarrow does where it is installed
@given(st.lists(st.tuples(VALUE, VALUE, VALUE, VALUE), min_size=1, max_size=20))
def test_copied_rows_get_what_the_stream_gets(rows: list[tuple[str | None, ...]]) -> None:
    changes = personal().of_columns("public.t", ["h", "plain", "m", "t"])
    assert changes is not None
    text = "".join("\t".join(map(copied, row)) + "\n" for row in rows).encode()
    streamed = []
    for column, change in zip(zip(*rows, strict=True), changes, strict=True):
        values = pa.array([None if value is None else value.encode() for value in column], pa.binary())
        streamed.append((values if change is None else replace_values(values, change)).to_pylist())
    expected = "".join(
        "\t".join(copied(None if value is None else value.decode()) for value in row) + "\n"
        for row in zip(*streamed, strict=True)
    )
    assert protect_copied(text, changes).decode() == expected


@given(TEXT)
def test_equal_values_have_equal_hashes_and_tokens_and_no_others_have(value: str) -> None:
    made = personal()
    changes = made.of_columns("public.t", ["h", "t"])
    assert changes is not None
    for change in filter(None, changes):
        assert change(value.encode()) == change(value.encode()) != change(f"{value} ".encode())
    assert set(made.take_tokens().values()) == {value, f"{value} "}
    assert not made.take_tokens()


def test_a_mask_keeps_the_first_character_and_the_domain() -> None:
    masks = {"ann@example.org": "a***@example.org", "+41 79 000": "+***", "Ann": "***", "": "***", "@": "***"}
    assert {value: masked(value.encode()).decode() for value in masks} == masks
