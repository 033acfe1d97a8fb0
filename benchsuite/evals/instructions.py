"""Instructions answered in one's own words: exact match, token F1 and the loss on the right answer alone.

The answers are normalised as in SQuAD's evaluation (Rajpurkar et al. 2016): no case, punctuation or articles.
"""

from __future__ import annotations

import re
import string
from collections import Counter

from benchsuite.data.examples import Examples, Instruction
from benchsuite.data.prompts import instruction_prompt
from benchsuite.errors import DataError
from benchsuite.evals import evaluation
from benchsuite.evals.answers import answered, room_for, tokenized, work_of_answers
from benchsuite.evals.evaluation import Evaluation, Progress, Work, quiet
from benchsuite.models.language_model import LanguageModel

UNTIL = ("\n\n###",)
MAX_NEW_TOKENS = 64
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def evaluate(
    model: LanguageModel,
    examples: Examples,
    *,
    batch_size: int,
    progress: Progress = quiet,
    max_new_tokens: int | None = None,
) -> Evaluation:
    """Exact match and token F1 of the generated answers, and the perplexity of the right ones.

    A prompt that leaves no room for `max_new_tokens` (64 unless said, or a quarter of a short context) loses its
    beginning (counted). Raises DataError for an empty answer.
    """
    asked = _instructions(examples)
    room = room_for(model, MAX_NEW_TOKENS, max_new_tokens)
    texts = [instruction_prompt(item) for item in asked]
    found = answered(
        model,
        tokenized(model, texts, common="", room=room),
        texts,
        [item.output for item in asked],
        until=UNTIL,
        room=room,
        where=examples.where,
        batch_size=batch_size,
        progress=progress,
    )
    right = [normalised(answer) == normalised(item.output) for answer, item in zip(found.texts, asked, strict=True)]
    overlap = [token_f1(answer, item.output) for answer, item in zip(found.texts, asked, strict=True)]
    windows = evaluation.windows(
        [gold.total for gold in found.expected], [len(gold.log_likelihood) for gold in found.expected]
    )
    return Evaluation(
        {
            "exact_match": evaluation.share(right),
            "token_f1": evaluation.mean(overlap, "F1", "higher"),
            "answer_perplexity": evaluation.perplexity(windows),
            "batch_invariance": found.batch_invariance,
        },
        protocol={
            "prompt": "Stanford Alpaca",
            "until": list(UNTIL),
            "max_new_tokens": room,
            "normalisation": "SQuAD",
        },
        items=tuple(
            {
                "prompt": text,
                "answer": answer,
                "expected": item.output,
                "kind": item.kind,
                "right": match,
                "token_f1": f1,
                "log_likelihood": gold.total,
            }
            for text, answer, item, match, f1, gold in zip(
                texts, found.texts, asked, right, overlap, found.expected, strict=True
            )
        ),
        excluded={**examples.excluded, **found.excluded},
    )


def work(model: LanguageModel, examples: Examples, *, batch_size: int, max_new_tokens: int | None = None) -> Work:
    """Answers to the first batch of instructions; `tokens` are those generated."""
    room = room_for(model, MAX_NEW_TOKENS, max_new_tokens)
    texts = [instruction_prompt(item) for item in _instructions(examples)[:batch_size]]
    return work_of_answers(model, tokenized(model, texts, common="", room=room), until=UNTIL, room=room)


def normalised(answer: str) -> str:
    """Lower case, without punctuation and articles, white space made single.

    >>> normalised("  The plural of 'ox' is 'oxen'. ")
    'plural of ox is oxen'
    """
    return " ".join(_ARTICLES.sub(" ", answer.lower().translate(_PUNCTUATION)).split())


def token_f1(answer: str, expected: str) -> float:
    """The harmonic mean of precision and recall of the normalised words; 1 where both have none.

    >>> token_f1("the oxen", "two oxen")
    0.6666666666666666
    """
    found, wanted = normalised(answer).split(), normalised(expected).split()
    if not found or not wanted:
        return float(found == wanted)
    common = (Counter(found) & Counter(wanted)).total()
    return 2 * common / (len(found) + len(wanted))


def _instructions(examples: Examples) -> list[Instruction]:
    asked = [item for item in examples.items if isinstance(item, Instruction)]
    if not asked:
        raise DataError(f"{examples.where}: no instructions to answer")
    for row, item in enumerate(asked):
        if not item.instruction.strip() or not item.output.strip():
            raise DataError(f"{examples.where}, row {row}: an empty instruction or output")
    return asked
