"""Columns stand beneath each other."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from benchsuite.report.columns import aligned, markdown_table, padded

ROWS = st.integers(1, 5).flatmap(
    lambda width: st.lists(st.lists(st.text("ab1", max_size=6), min_size=width, max_size=width), min_size=1, max_size=6)
)


@given(rows=ROWS, left=st.integers(0, 5))
def test_every_cell_is_as_wide_as_its_column_and_says_what_it_said(rows: list[list[str]], left: int) -> None:
    cells = padded(rows, left=left)
    for column, texts in enumerate(zip(*cells, strict=True)):
        assert {len(text) for text in texts} == {max(len(row[column]) for row in rows)}
        flush = str.startswith if column < left else str.endswith
        assert all(flush(text, row[column]) for text, row in zip(texts, rows, strict=True))
    assert [[text.strip() for text in row] for row in cells] == rows


def test_a_name_and_its_figures() -> None:
    assert aligned([("part", "ms"), ("attention", "1.5"), ("mlp", "12.25")], left=1) == [
        "part          ms",
        "attention    1.5",
        "mlp        12.25",
    ]


def test_no_text_breaks_a_table_in_markdown() -> None:
    assert markdown_table([("", "ms"), ("a | b\nc\n", "1.5")], left=1) == [
        "|  | ms |",
        "| --- | ---: |",
        "| a \\| b<br>c | 1.5 |",
    ]
