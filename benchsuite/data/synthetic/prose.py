"""`prose`: short stories whose people, places and things stay the same from the first sentence to the last."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache

from benchsuite.data.examples import Document, Split
from benchsuite.data.synthetic import plots, words
from benchsuite.data.synthetic.splits import draw_split

SIZES: dict[Split, int] = {"train": 20_000, "validation": 80, "test": 80}

_REGIONS = (
    "at the foot of the mountains",
    "on the edge of a great forest",
    "beside a slow green river",
    "on an island in the north",
    "near the salt marshes",
    "high above the sea",
    "where two roads cross",
    "in a valley full of orchards",
    "at the end of the railway",
    "on the shore of a long lake",
    "among the vineyards",
    "behind the old castle",
    "between two windy hills",
    "at the mouth of the river",
    "in the flat country by the canal",
)
_SPOTS = (
    "on the kitchen shelf",
    "above the fireplace",
    "under the bed",
    "by the front door",
    "in the top drawer",
    "beside the window",
    "in the garden shed",
    "on a nail in the hall",
    "behind the stove",
    "at the foot of the stairs",
    "on the piano",
    "in a wooden box",
    "next to the clock",
    "in the cellar",
)
_KIN = ("brother", "cousin", "nephew", "uncle"), ("sister", "cousin", "niece", "aunt")
_ELDERS = {"grandfather": "him", "grandmother": "her", "godmother": "her", "godfather": "him"}
_PRONOUNS = ("he", "him", "his"), ("she", "her", "her")


@dataclass(frozen=True)
class Story:
    """A story and the cast that it must keep to: slot name -> words, for example `hero` -> `Ada`."""

    text: str
    cast: dict[str, str]


class _Slots(dict[str, str]):
    """The cast; a slot that is not cast is drawn from its pool each time it is asked for.

    `{Slot}` is the slot with a capital, `{a_slot}` and `{an_slot}` put the article before it.
    """

    def __init__(self, rng: random.Random, cast: dict[str, str]) -> None:
        super().__init__(cast)
        self._rng = rng

    def __missing__(self, slot: str) -> str:
        if slot in plots.POOLS:
            return self._rng.choice(plots.POOLS[slot]).format_map(self)
        if slot[0].isupper():
            return capitalised(self[slot[0].lower() + slot[1:]])
        article, _, rest = slot.partition("_")
        if article not in ("a", "an"):
            raise KeyError(slot)
        return with_article(self[rest])


def capitalised(text: str) -> str:
    """The text with its first letter in upper case.

    >>> capitalised("the red kite")
    'The red kite'
    """
    return text[:1].upper() + text[1:]


def with_article(noun: str) -> str:
    """The noun behind `a` or `an`.

    >>> with_article("amber ring"), with_article("kite")
    ('an amber ring', 'a kite')
    """
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _places(rng: random.Random) -> tuple[str, str]:
    """Two places with different beginnings, for example Ashford and Larkmouth."""
    here = rng.choice(words.PLACE_HEADS)
    there = rng.choice([head for head in words.PLACE_HEADS if head != here])
    return here + rng.choice(words.PLACE_TAILS), there + rng.choice(words.PLACE_TAILS)


def _cast(rng: random.Random) -> dict[str, str]:
    people: dict[str, int] = {}  # name -> 0 for a man, 1 for a woman
    while len(people) < 3:
        sex = rng.randrange(2)
        people[rng.choice(words.WOMEN if sex else words.MEN)] = sex
    (hero, hero_sex), (friend, friend_sex), (other, other_sex) = people.items()
    village, town = _places(rng)
    thing = f"{rng.choice(words.COLOURS)} {rng.choice(words.THINGS)}"
    elder = rng.choice(tuple(_ELDERS))
    region = rng.choice(_REGIONS)
    (he, him, his), (fhe, _, _), (ohe, ohim, oher) = (_PRONOUNS[sex] for sex in (hero_sex, friend_sex, other_sex))
    return {
        "hero": hero, "he": he, "him": him, "his": his, "craft": rng.choice(words.CRAFTS),
        "friend": friend, "fhe": fhe, "kin": rng.choice(_KIN[friend_sex]),
        "other": other, "ohe": ohe, "ohim": ohim, "oher": oher, "other_craft": rng.choice(words.CRAFTS),
        "village": village, "town": town, "region": region, "region_cap": capitalised(region),
        "thing": thing, "the_thing": f"the {thing}", "spot": rng.choice(_SPOTS), "colour2": rng.choice(words.COLOURS),
        "elder": elder, "him_elder": _ELDERS[elder], "animal": rng.choice(words.ANIMALS),
    }  # fmt: skip


def tell(rng: random.Random) -> Story:
    """One story of about 150 to 250 words in three to five paragraphs."""
    cast = _cast(rng)
    slots = _Slots(rng, cast)
    beats = (plots.OPENING, plots.WEATHER, *rng.choice(plots.PLOTS), plots.ENDING)
    sentences = [rng.choice(beat).format_map(slots) for beat in beats]
    text = sentences[0]
    for place, sentence in enumerate(sentences[1:], start=1):
        text += ("\n" if place % 3 == 0 else " ") + sentence
    return Story(text, cast)


@cache
def stories(split: Split, limit: int | None = None) -> tuple[Document, ...]:
    """The first `limit` stories of a split, all of them for None."""
    size = SIZES[split] if limit is None else min(limit, SIZES[split])
    return tuple(Document(story.text) for story in draw_split("prose", split, size, tell, lambda story: story.text))
