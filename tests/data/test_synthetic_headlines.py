from __future__ import annotations

from collections import Counter

import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.naive_bayes import MultinomialNB

from benchsuite.data.synthetic import newsroom
from benchsuite.data.synthetic.headlines import AMBIGUOUS_SHARE, LABELS, draw, headlines
from benchsuite.data.synthetic.splits import stream


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_the_topics_are_equally_common(split: str) -> None:
    items = headlines(split)
    counts = Counter(item.label for item in items)
    assert sorted(counts) == [0, 1, 2, 3]
    for count in counts.values():
        # 4.5 standard deviations of a binomial share, so that a fixed seed would have to be very unlucky
        assert abs(count / len(items) - 0.25) < 4.5 * (0.25 * 0.75 / len(items)) ** 0.5


def test_every_slot_of_every_template_can_be_filled() -> None:
    rng = stream("test", "slots")
    for _ in range(20_000):
        text = draw(rng).text
        assert not set(text) & set("{}")
        assert text == text.strip()
        assert text[0] == text[0].upper()


def test_ambiguous_headlines_come_with_either_topic() -> None:
    pairs = [topics for topics, _ in newsroom.SHARED]
    assert len(set(map(frozenset, pairs))) == 6
    assert Counter(topic for pair in pairs for topic in pair) == dict.fromkeys(LABELS, 3)


def test_no_template_is_in_two_topics_so_that_only_the_shared_ones_are_ambiguous() -> None:
    templates = [*(t for ts in newsroom.TEMPLATES.values() for t in ts), *(t for _, ts in newsroom.SHARED for t in ts)]
    assert len(set(templates)) == len(templates)


def test_a_classical_classifier_is_good_and_the_best_possible_one_not_perfect() -> None:
    train, test = headlines("train", 8_000), headlines("test")
    vectorizer = CountVectorizer(ngram_range=(1, 2))
    classifier = MultinomialNB().fit(vectorizer.fit_transform([h.text for h in train]), [h.label for h in train])
    accuracy = classifier.score(vectorizer.transform([h.text for h in test]), [h.label for h in test])
    assert 0.88 < accuracy < 1 - AMBIGUOUS_SHARE / 2 + 0.02


def test_draws_follow_their_stream() -> None:
    assert draw(stream("test", "x")) == draw(stream("test", "x"))
