"""Real datasets by name come from the cache as they are, or the error says what was tried."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchsuite.data import datasets
from benchsuite.data.examples import Document
from benchsuite.data.hub import last_word
from benchsuite.errors import UnavailableError


def test_wikitext2_is_62_pages_of_4358_rows(hub_cache: Path) -> None:
    examples = datasets["wikitext2"].load("test", None)
    pages = [item for item in examples.items if isinstance(item, Document)]
    assert len(pages) == 62
    assert sum(len(page.rows) for page in pages) == 4_358
    assert pages[0].original.startswith(" = Robert Boulter = \n \n Robert Boulter is")
    assert examples.limited is None


def test_gsm8k_takes_its_shots_from_the_train_split(hub_cache: Path) -> None:
    examples = datasets["gsm8k"].load("test", 3)
    assert (len(examples.items), examples.limited, len(examples.shots)) == (3, 3, 5)
    assert examples.shots[0].question.startswith("Natalia sold clips")


def test_ag_news_has_four_classes(hub_cache: Path) -> None:
    examples = datasets["ag_news"].load("test", None)
    assert examples.labels == ("World", "Sports", "Business", "Sci/Tech")
    assert len(examples.items) == 7_600


@pytest.mark.parametrize(("name", "split"), [("lambada", "test"), ("wikitext103", "test"), ("ag_news", "validation")])
def test_what_is_not_in_reach_says_what_was_tried_and_what_to_do(hub_cache: Path, name: str, split: str) -> None:
    with pytest.raises(UnavailableError, match=f"the {split} split of .* the cache only .* --dataset PATH"):
        datasets[name].load(split, None)  # type: ignore[arg-type]


@pytest.mark.parametrize(("text", "word"), [("He said no", " no"), ("He said  no", "  no"), ("No", "No")])
def test_the_last_word_begins_with_the_white_space_before_it(text: str, word: str) -> None:
    assert last_word(text) == word
