"""WikiText's rows put back together into its pages (Merity et al. 2016)."""

from __future__ import annotations

from collections.abc import Iterable

from benchsuite.data.examples import Document

EMPTY_LINE = " \n"  # what a row without text is in the raw file


def pages(rows: Iterable[str]) -> tuple[Document, ...]:
    r"""The documents of EleutherAI/wikitext_document_level, whose lines are the rows of Salesforce/wikitext.

    A page begins at each row that reads as a heading of the first level and ends before the newline that the next
    heading stands behind. `rows` of all pages are all rows: those before the first heading belong to the first page,
    but not to its text.

    >>> [page.text for page in pages(["", " = One = \n", "", " Text . \n", " = Two = \n", " = = Part = = \n"])]
    [' = One = \n \n Text . ', ' = Two = \n = = Part = = \n']
    """
    groups: list[list[str]] = [[]]
    for row in rows:
        if _is_title(row) and any(row.strip() for row in groups[-1]):
            groups.append([])
        groups[-1].append(row)
    texts = ["".join(row or EMPTY_LINE for row in group) for group in groups]
    texts[0] = texts[0][len(EMPTY_LINE) * _leading_empty(groups[0]) :]
    texts[:-1] = [text[:-1] for text in texts[:-1]]
    return tuple(Document(text, tuple(group)) for text, group in zip(texts, groups, strict=True) if text)


def _is_title(row: str) -> bool:
    line = row.replace("= = =", "===").replace("= =", "==").strip()
    return line.startswith("= ") and line.endswith(" =")


def _leading_empty(rows: list[str]) -> int:
    return next((index for index, row in enumerate(rows) if row.strip()), len(rows))
