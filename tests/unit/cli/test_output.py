"""What a row says is printed as it is."""

from __future__ import annotations

import pytest

from headrace.cli.output import print_rows


def test_words_in_brackets_and_colons_are_data_and_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    """`[/]` in a row broke off the whole table, and `[bold]` was swallowed."""
    print_rows(["said"], [["[/] [bold] :smile:"]], as_json=False)
    assert "[/] [bold] :smile:" in capsys.readouterr().out
