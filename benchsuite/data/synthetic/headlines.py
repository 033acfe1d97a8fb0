"""`headlines`: news of four topics, one in nine of which fits two of them, so that no model is perfect."""

from __future__ import annotations

import random
from collections.abc import Mapping
from functools import cache

from benchsuite.data.examples import LabelledText, Split
from benchsuite.data.synthetic import newsroom
from benchsuite.data.synthetic.splits import draw_split

LABELS = ("World", "Sports", "Business", "Technology")
SIZES: dict[Split, int] = {"train": 24_000, "validation": 500, "test": 1_000}
AMBIGUOUS_SHARE = 0.11  # fit two topics equally well: the best possible classifier gets half of them, 5.5 %, wrong


class _Slots(dict[str, str]):
    """Draws a slot from its pool whenever it is asked for; pools may contain slots."""

    def __init__(self, rng: random.Random, pools: Mapping[str, tuple[str, ...]]) -> None:
        super().__init__()
        self._rng, self._pools = rng, pools

    def __missing__(self, slot: str) -> str:
        if slot == "few":
            return str(self._rng.randrange(2, 10))
        if slot == "many":
            return str(self._rng.randrange(11, 99))
        return self._rng.choice(self._pools[slot]).format_map(self)


def draw(rng: random.Random) -> LabelledText:
    """One headline, topics equally likely."""
    slots = _Slots(rng, newsroom.POOLS)
    if rng.random() < AMBIGUOUS_SHARE:
        topics, templates = rng.choice(newsroom.SHARED)
        label = LABELS.index(rng.choice(topics))
    else:
        label = rng.randrange(len(LABELS))
        templates = newsroom.TEMPLATES[LABELS[label]]
    text = rng.choice(templates).format_map(slots)
    if rng.random() < 0.3:
        text = rng.choice(newsroom.FRAMES).format_map({"text": text, "source": slots["agency"]})
    return LabelledText(text[:1].upper() + text[1:], label)


@cache
def headlines(split: Split, limit: int | None = None) -> tuple[LabelledText, ...]:
    """The first `limit` headlines of a split, all of them for None."""
    size = SIZES[split] if limit is None else min(limit, SIZES[split])
    return draw_split("headlines", split, size, draw, lambda headline: headline.text)
