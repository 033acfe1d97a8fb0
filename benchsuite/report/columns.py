"""Text in columns, plain and in Markdown."""

from __future__ import annotations

from collections.abc import Sequence


def padded(rows: Sequence[Sequence[str]], *, left: int) -> list[list[str]]:
    """Cells of rows, each as wide as its column: the first `left` columns flush left, the figures flush right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        [
            text.ljust(width) if column < left else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        for row in rows
    ]


def aligned(rows: Sequence[Sequence[str]], *, left: int) -> list[str]:
    """`padded` rows as lines."""
    return ["  ".join(row).rstrip() for row in padded(rows, left=left)]


def markdown_table(rows: Sequence[Sequence[str]], *, left: int) -> list[str]:
    """Rows, of which the first is the headings, as the lines of a table in Markdown; `left` as of `padded`."""
    headings, *others = [[text.strip().replace("|", "\\|").replace("\n", "<br>") for text in row] for row in rows]
    rule = ["---" if column < left else "---:" for column in range(len(headings))]
    return [f"| {' | '.join(row)} |" for row in (headings, rule, *others)]
