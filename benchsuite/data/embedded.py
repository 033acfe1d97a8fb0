"""The four datasets that need no network: this project's own generators behind the names of the registry."""

from __future__ import annotations

from benchsuite.data import datasets
from benchsuite.data.examples import Examples, Source, Split

EMBEDDED = ("prose", "arithmetic", "headlines", "instructions")


def _limited(limit: int | None, size: int) -> int | None:
    """The limit where it really leaves something out."""
    return limit if limit is not None and limit < size else None


def _prose(split: Split, limit: int | None) -> Examples:
    from benchsuite.data.synthetic.prose import SIZES, stories

    return Examples("prose", "lm", split, stories(split, limit), limited=_limited(limit, SIZES[split]))


def _arithmetic(split: Split, limit: int | None) -> Examples:
    from benchsuite.data.synthetic.arithmetic import SHOTS, SIZES, problems

    shots = problems("train", SHOTS)
    limited = _limited(limit, SIZES[split])
    return Examples("arithmetic", "exact-match", split, problems(split, limit), shots=shots, limited=limited)


def _headlines(split: Split, limit: int | None) -> Examples:
    from benchsuite.data.synthetic.headlines import LABELS, SIZES, headlines

    limited = _limited(limit, SIZES[split])
    return Examples("headlines", "classification", split, headlines(split, limit), labels=LABELS, limited=limited)


def _instructions(split: Split, limit: int | None) -> Examples:
    from benchsuite.data.synthetic.instructions import SIZES, examples

    return Examples(
        "instructions", "instructions", split, examples(split, limit), limited=_limited(limit, SIZES[split])
    )


for _source in (
    Source("prose", "lm", _prose),  # short stories that keep their people, places and things
    Source("arithmetic", "exact-match", _arithmetic),  # word problems of two to four steps in GSM8K's form
    Source("headlines", "classification", _headlines),  # of four topics, some of them ambiguous
    Source("instructions", "instructions", _instructions),  # 1,100 small tasks with one right output each
):
    datasets.register(_source.name, _source)
