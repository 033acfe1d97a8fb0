"""WikiText's pages (Merity et al. 2016) as lm-evaluation-harness `wikitext` 2.0 has them, from its rows."""

from __future__ import annotations

import re
from collections.abc import Iterable

from benchsuite.data.examples import Document

EMPTY_LINE = " \n"  # what a row without text is in the raw file


def pages(rows: Iterable[str]) -> tuple[Document, ...]:
    r"""The documents of EleutherAI/wikitext_document_level, whose lines are the rows of Salesforce/wikitext.

    A page begins at each row that reads as a heading of the first level and ends before the newline that the next
    heading stands behind. `rows` of all pages are all rows: those before the first heading belong to the first page,
    but not to its text. The page is `original`, `text` is the page detokenised.

    >>> [page.original for page in pages(["", " = One = \n", "", " Text . \n", " = Two = \n", " = = Part = = \n"])]
    [' = One = \n \n Text . ', ' = Two = \n = = Part = = \n']
    """
    groups: list[list[str]] = [[]]
    for row in rows:
        if _is_title(row) and any(row.strip() for row in groups[-1]):
            groups.append([])
        groups[-1].append(row)
    originals = ["".join(row or EMPTY_LINE for row in group) for group in groups]
    originals[0] = originals[0][len(EMPTY_LINE) * _leading_empty(groups[0]) :]
    originals[:-1] = [original[:-1] for original in originals[:-1]]
    return tuple(
        Document(detokenise(original), tuple(group), original)
        for original, group in zip(originals, groups, strict=True)
        if original
    )


# WikiText is tokenised by spaces; each step undoes one habit of that tokeniser, in lm-evaluation-harness's order and
# with its slips (the second step can match nothing that occurs in the text), because the numbers hang on both
_STEPS: tuple[tuple[str | re.Pattern[str], str], ...] = (
    ("s '", "s'"),
    (re.compile(r"/' [0-9]/"), "/'[0-9]/"),
    (" @-@ ", "-"),
    (" @,@ ", ","),
    (" @.@ ", "."),
    (" : ", ": "),
    (" ; ", "; "),
    (" . ", ". "),
    (" ! ", "! "),
    (" ? ", "? "),
    (" , ", ", "),
    (re.compile(r"\(\s*([^\)]*?)\s*\)"), r"(\1)"),
    (re.compile(r"\[\s*([^\]]*?)\s*\]"), r"[\1]"),
    (re.compile(r"{\s*([^}]*?)\s*}"), r"{\1}"),
    (re.compile(r"\"\s*([^\"]*?)\s*\""), r'"\1"'),
    (re.compile(r"'\s*([^']*?)\s*'"), r"'\1'"),
    ("= = = =", "===="),
    ("= = =", "==="),
    ("= =", "=="),
    (" ° ", "°"),
    (" \n", "\n"),
    ("\n ", "\n"),
    (" N ", " 1 "),
    (" 's", "'s"),
)


def detokenise(page: str) -> str:
    r"""The text of a page as people write it.

    >>> detokenise(" It cost 1 @,@ 000 ( one thousand ) ; he 's rich . \n")
    " It cost 1,000 (one thousand); he's rich.\n"
    """
    for old, new in _STEPS:
        page = page.replace(old, new) if isinstance(old, str) else old.sub(new, page)
    return page


def _is_title(row: str) -> bool:
    line = row.replace("= = =", "===").replace("= =", "==").strip()
    return line.startswith("= ") and line.endswith(" =")


def _leading_empty(rows: list[str]) -> int:
    return next((index for index, row in enumerate(rows) if row.strip()), len(rows))
