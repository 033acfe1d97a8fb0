from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchsuite.data.synthetic import plots, words
from benchsuite.data.synthetic.prose import Story, stories, tell, with_article
from benchsuite.data.synthetic.splits import stream

NAMES = {*words.MEN, *words.WOMEN}
MONTHS_AND_DAYS = {*plots.POOLS["month"], *plots.POOLS["day"]}
VILLAGE = re.compile(rf"\b(?:{'|'.join(words.PLACE_HEADS)})(?:{'|'.join(words.PLACE_TAILS)})\b")
COLOURED_THING = re.compile(rf"\b({'|'.join(words.COLOURS)}) ({'|'.join(words.THINGS)})\b")


@pytest.fixture(scope="module")
def told() -> list[Story]:
    rng = stream("test", "prose")
    return [tell(rng) for _ in range(600)]


def test_nobody_turns_up_who_is_not_in_the_cast(told: list[Story]) -> None:
    for story in told:
        people = (set(re.findall(r"\b[A-Z][a-z]+\b", story.text)) & NAMES) - MONTHS_AND_DAYS
        assert people <= {story.cast[role] for role in ("hero", "friend", "other")}
        assert {story.cast["hero"], story.cast["friend"]} <= people | MONTHS_AND_DAYS


def test_the_places_stay_the_same(told: list[Story]) -> None:
    for story in told:
        assert story.cast["village"] in story.text
        assert set(VILLAGE.findall(story.text)) <= {story.cast["village"], story.cast["town"]}


def test_the_thing_keeps_its_colour_and_lies_at_its_place_in_the_end(told: list[Story]) -> None:
    for story in told:
        things = {" ".join(found) for found in COLOURED_THING.findall(story.text)}
        assert things == {story.cast["thing"]}
        assert story.text.count(story.cast["thing"]) >= 2


def test_no_slot_is_left_open_and_every_article_fits(told: list[Story]) -> None:
    for story in told:
        assert not set(story.text) & set("{}")
        for article, noun in re.findall(r"\b([Aa]n?) ([a-z]+)", story.text):
            assert with_article(noun).split()[0] == article.lower() or noun in {"hour", "once"}, (article, noun)


@given(st.integers(0, 10**9))
def test_a_story_has_the_length_of_a_page_and_ends_in_a_full_stop(seed: int) -> None:
    story = tell(stream("test", str(seed)))
    assert 100 <= len(story.text.split()) <= 300
    assert story.text[-1] in '."'
    assert story.text[0].isupper()


def test_people_keep_their_pronouns(told: list[Story]) -> None:
    for story in told:
        if {story.cast[role] for role in ("he", "fhe", "ohe")} == {"he"} and story.cast["him_elder"] == "him":
            assert not re.search(r"\b(she|her)\b", story.text, re.IGNORECASE)


def test_few_sentences_are_in_two_stories_of_the_test_split() -> None:
    sentences = [sentence for story in stories("test") for sentence in re.split(r"(?<=[.!?])\s", story.text)]
    assert len(set(sentences)) / len(sentences) > 0.9
