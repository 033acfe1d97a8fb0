from __future__ import annotations

import re
from collections import Counter

from benchsuite.data.synthetic import lexicon
from benchsuite.data.synthetic.instructions import examples

EVERYTHING = (*examples("train"), *examples("validation"), *examples("test"))


def test_the_1100_examples_are_split_85_5_10() -> None:
    assert [len(examples(split)) for split in ("train", "validation", "test")] == [935, 55, 110]


def test_kinds_are_equally_common_as_far_as_their_facts_last() -> None:
    counts = Counter(example.kind for example in EVERYTHING)
    assert len(counts) == len(lexicon.KINDS) + 3
    assert max(counts.values()) <= 75
    assert min(counts.values()) >= 55


def test_what_is_tested_was_taught_in_another_wording() -> None:
    taught = {example.output for example in examples("train")}
    lexical = [example for example in examples("test") if example.kind in {kind.name for kind in lexicon.KINDS}]
    assert sum(example.output in taught for example in lexical) / len(lexical) > 0.9


def test_every_kind_is_tested() -> None:
    assert {example.kind for example in examples("test")} == {example.kind for example in EVERYTHING}


def test_conversions_are_right() -> None:
    factors = {
        ("kilometers", "meters"): 1_000, ("meters", "centimeters"): 100, ("kilograms", "grams"): 1_000,
        ("liters", "milliliters"): 1_000, ("hours", "minutes"): 60, ("minutes", "seconds"): 60, ("weeks", "days"): 7,
        ("days", "hours"): 24, ("years", "months"): 12, ("feet", "inches"): 12, ("centimeters", "millimeters"): 10,
        ("yards", "feet"): 3,
    }  # fmt: skip
    conversions = [example for example in EVERYTHING if example.kind == "unit conversion"]
    assert conversions
    for example in conversions:
        match = re.fullmatch(r"(\d+) (\w+) is (\d+) (\w+)\.", example.output)
        assert match
        assert int(match[1]) * factors[match[2], match[4]] == int(match[3])


def test_voices_are_each_others_inverse() -> None:
    voices = [example for example in EVERYTHING if example.kind in ("active voice", "passive voice")]
    assert voices
    for example in voices:
        passive = example.output if example.kind == "passive voice" else f"{example.instruction} {example.input}"
        active = example.output if example.kind == "active voice" else f"{example.instruction} {example.input}"
        thing, verb, doer = re.search(r"The (\w+) was (\w+) by the (\w+)\.", passive).groups()  # type: ignore[union-attr]
        assert f"The {doer} {verb} the {thing}." in active


def test_every_example_has_an_output_and_no_open_slot() -> None:
    for example in EVERYTHING:
        assert example.output.endswith(".")
        assert not set(example.instruction + example.input + example.output) & set("{}")


def test_a_question_has_one_right_output() -> None:
    outputs: dict[tuple[str, str], set[str]] = {}
    for kind in lexicon.KINDS:
        for fact in kind.facts:
            for instruction, given in kind.asks:
                key = instruction.format(*fact), given.format(*fact)
                outputs.setdefault(key, set()).add(kind.output.format(*fact))
    assert all(len(answers) == 1 for answers in outputs.values())
