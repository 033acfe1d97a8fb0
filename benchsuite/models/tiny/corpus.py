"""What `tiny` reads: the four train splits, each example written as the evaluations prompt for it, packed into rows."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from benchsuite.data import prompts
from benchsuite.data.synthetic import arithmetic, headlines, instructions, prose
from benchsuite.data.synthetic.splits import stream
from benchsuite.models.tokenizer import END_OF_TEXT

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# five shots and the problem itself: the few-shot prompt of the evaluation is the beginning of such a document
PROBLEMS_A_DOCUMENT = 6
# share of the rows that each dataset fills
MIX: Mapping[str, float] = {"prose": 0.22, "arithmetic": 0.40, "headlines": 0.12, "instructions": 0.26}


def documents() -> dict[str, list[str]]:
    """The train splits as texts, by dataset, without the end-of-text token."""
    problems = [f"{prompts.exact_match_prompt(problem)} {problem.answer}" for problem in arithmetic.problems("train")]
    return {
        "prose": [story.text for story in prose.stories("train")],
        "arithmetic": [
            prompts.SHOT_DELIMITER.join(problems[start : start + PROBLEMS_A_DOCUMENT])
            for start in range(0, len(problems), PROBLEMS_A_DOCUMENT)
        ],
        "headlines": [
            f"{prompts.classification_prompt(headline.text)} {headlines.LABELS[headline.label]}"
            for headline in headlines.headlines("train")
        ],
        "instructions": [
            prompts.instruction_prompt(example) + example.output for example in instructions.examples("train")
        ],
    }


def rows(texts: Mapping[str, Sequence[str]], tokenizer: Tokenizer, count: int, width: int) -> NDArray[np.int16]:
    """`count` rows of `width` token ids (int16) in shuffled order, mixed as `MIX` says.

    A row begins with a document and holds documents of one dataset, each closed by the end-of-text token; what does
    not fit is cut. A dataset that runs out is read again in another order.
    """
    [end] = tokenizer.encode(END_OF_TEXT).ids
    packed = np.empty((count, width), dtype=np.int16)
    filled = 0
    for name, share in MIX.items():
        encodings = tokenizer.encode_batch_fast(list(texts[name]), add_special_tokens=False)
        ids = [[*encoding.ids, end] for encoding in encodings]
        supply = _endless(ids, stream("tiny", name))
        last = name == list(MIX)[-1]
        until = count if last else filled + round(share * count)
        for row in range(filled, until):
            tokens: list[int] = []
            while len(tokens) < width:
                tokens.extend(next(supply))
            packed[row] = tokens[:width]
        filled = until
    order = list(range(count))
    stream("tiny", "rows").shuffle(order)
    return packed[order]


def _endless(ids: list[list[int]], rng: random.Random) -> Iterator[list[int]]:
    order = list(range(len(ids)))
    while True:
        rng.shuffle(order)
        yield from (ids[index] for index in order)
