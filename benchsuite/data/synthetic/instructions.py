"""`instructions`: 1,100 small tasks of language and knowledge, each with one right output."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import cache

from benchsuite.data.examples import Instruction, Split
from benchsuite.data.synthetic import lexicon
from benchsuite.data.synthetic.splits import content, stream

SIZES: dict[Split, int] = {"train": 935, "validation": 55, "test": 110}  # 85, 5 and 10 % of 1,100


def _lexical(kind: lexicon.Kind) -> Iterator[Instruction]:
    for fact in kind.facts:
        for instruction, given in kind.asks:
            yield Instruction(instruction.format(*fact), given.format(*fact), kind.output.format(*fact), kind.name)


def _asked(asks: tuple[lexicon.Ask, ...], sentence: str, output: str, kind: str) -> Iterator[Instruction]:
    for instruction, given in asks:
        yield Instruction(instruction.format(sentence), given.format(sentence), output, kind)


def _voices() -> Iterator[Instruction]:
    for doer in lexicon.DOERS:
        for verb, things in lexicon.DEEDS:
            for thing in things:
                active, passive = f"The {doer} {verb} the {thing}.", f"The {thing} was {verb} by the {doer}."
                yield from _asked(lexicon.PASSIVE_ASKS, active, passive, "passive voice")
                yield from _asked(lexicon.ACTIVE_ASKS, passive, active, "active voice")


def _sentence_types() -> Iterator[Instruction]:
    for kind, templates in lexicon.SENTENCES.items():
        output = f"The sentence is {kind}."
        # ordered without repeats: not every template has every slot.
        sentences = dict.fromkeys(
            template.format(doer, verb, thing)
            for template in templates
            for doer in lexicon.DOERS
            for verb, things in lexicon.DEEDS
            for thing in things
        )
        per_template: dict[str, list[str]] = {}
        for sentence in sentences:
            per_template.setdefault(sentence.split()[0], []).append(sentence)
        for group in per_template.values():
            for sentence in group[:: max(1, len(group) // 24)]:
                yield from _asked(lexicon.SENTENCE_ASKS, sentence, output, "sentence type")


def _candidates(rng: random.Random) -> list[list[Instruction]]:
    """All examples that there could be, one shuffled list per kind."""
    kinds: dict[str, list[Instruction]] = {}
    for example in (
        *(example for kind in lexicon.KINDS for example in _lexical(kind)),
        *_voices(),
        *_sentence_types(),
    ):
        kinds.setdefault(example.kind, []).append(example)
    for examples_of_kind in kinds.values():
        rng.shuffle(examples_of_kind)
    return list(kinds.values())


@cache
def _all() -> tuple[Instruction, ...]:
    """The 1,100 in shuffled order: as many of each kind as of any other."""
    rng = stream("instructions")
    chosen: dict[str, Instruction] = {}
    total = sum(SIZES.values())
    rounds = zip(*_candidates(rng), strict=False)
    for example in (example for round_of_kinds in rounds for example in round_of_kinds):
        chosen.setdefault(content(f"{example.instruction} {example.input}"), example)
        if len(chosen) == total:
            break
    shuffled = list(chosen.values())
    rng.shuffle(shuffled)
    return tuple(shuffled)


def examples(split: Split, limit: int | None = None) -> tuple[Instruction, ...]:
    """The first `limit` examples of a split, all of them for None."""
    starts: dict[Split, int] = {"train": 0, "validation": SIZES["train"], "test": SIZES["train"] + SIZES["validation"]}
    split_examples = _all()[starts[split] : starts[split] + SIZES[split]]
    return split_examples if limit is None else split_examples[:limit]
