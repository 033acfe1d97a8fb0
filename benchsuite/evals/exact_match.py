"""Exact match of a worked answer's number: lm-evaluation-harness `gsm8k` 3.0 (Cobbe et al. 2021).

The prompt with its shots, the stop strings, both extractions and the normalisation of numbers are the task's own. The
first examples of the train split are the shots of every prompt, so that their keys and values are computed once.
Beside it stands the log-likelihood of the right answer, which still moves where a small model gets nothing right.
"""

from __future__ import annotations

import re
from typing import Any

from benchsuite.data.examples import Examples, Problem
from benchsuite.data.prompts import exact_match_prompt
from benchsuite.errors import DataError
from benchsuite.evals import evaluation
from benchsuite.evals.answers import Prompts, answered, room_for, tokenized, work_of_answers
from benchsuite.evals.evaluation import Evaluation, Progress, Work, quiet
from benchsuite.models.language_model import LanguageModel

UNTIL = ("Question:", "</s>", "<|im_end|>")
STRICT = re.compile(r"#### (\-?[0-9\.\,]+)")
FLEXIBLE = re.compile(r"(-?[$0-9.,]{2,})|(-?[0-9]+)")
IGNORED = (",", r"\$", r"(?s).*#### ", r"\.$")
NO_ANSWER = "[invalid]"
LONGEST_ANSWER = 256


def evaluate(
    model: LanguageModel,
    examples: Examples,
    *,
    batch_size: int,
    progress: Progress = quiet,
    max_new_tokens: int | None = None,
) -> Evaluation:
    """The share of problems whose generated number is right, strictly and flexibly extracted, and bits per byte.

    An answer may take 256 tokens, or a quarter of a shorter context, unless `max_new_tokens` says otherwise. A prompt
    that leaves no room for that loses its beginning (counted). Raises DataError for an empty answer.
    """
    problems = _problems(examples)
    room = room_for(model, LONGEST_ANSWER, max_new_tokens)
    right = [f" {problem.answer}" for problem in problems]
    found = answered(
        model,
        _prompts(model, examples, problems, room),
        [exact_match_prompt(problem) for problem in problems],
        right,
        until=UNTIL,
        room=room,
        where=examples.where,
        batch_size=batch_size,
        progress=progress,
    )
    wanted = [normalised(problem.answer) for problem in problems]
    strict = [normalised(extracted(text, STRICT, 0)) for text in found.texts]
    flexible = [normalised(extracted(text, FLEXIBLE, -1)) for text in found.texts]
    log_likelihoods = [gold.total for gold in found.expected]
    windows = evaluation.windows(log_likelihoods, [len(answer.encode()) for answer in right])
    return Evaluation(
        {
            "exact_match": evaluation.share([one == want for one, want in zip(strict, wanted, strict=True)]),
            "exact_match_flexible": evaluation.share([one == want for one, want in zip(flexible, wanted, strict=True)]),
            "answer_bits_per_byte": evaluation.bits_per_byte(windows),
            "batch_invariance": found.batch_invariance,
        },
        protocol={
            "shots": len(examples.shots),
            "prompt": "Question: …\nAnswer:",
            "until": list(UNTIL),
            "max_new_tokens": room,
            "strict": STRICT.pattern,
            "flexible": FLEXIBLE.pattern,
            "ignored": list(IGNORED),
        },
        items=tuple(
            _item(*row) for row in zip(problems, found.texts, strict, flexible, wanted, log_likelihoods, strict=True)
        ),
        excluded={**examples.excluded, **found.excluded},
    )


def work(model: LanguageModel, examples: Examples, *, batch_size: int, max_new_tokens: int | None = None) -> Work:
    """Answers to the first batch of problems; `tokens` are those generated."""
    room = room_for(model, LONGEST_ANSWER, max_new_tokens)
    prompts = _prompts(model, examples, _problems(examples)[:batch_size], room)
    return work_of_answers(model, prompts, until=UNTIL, room=room)


def extracted(text: str, pattern: re.Pattern[str], which: int) -> str:
    """The match of `pattern` at index `which` of all matches in `text`; of several groups the first that matched.

    >>> extracted("2 + 2 = 4 #### 4.", STRICT, 0), extracted("so $1,200 it is", FLEXIBLE, -1), extracted("", STRICT, 0)
    ('4.', '$1,200', '[invalid]')
    """
    matches = pattern.findall(text)
    if not matches:
        return NO_ANSWER
    match = matches[which]
    if isinstance(match, tuple):
        match = next((group for group in match if group), NO_ANSWER)
    return str(match).strip()


def normalised(answer: str) -> str:
    """An answer as it is compared: its number alone, without separators, currency, final full stop or case.

    >>> normalised("She has 1,200.\\n#### 1,200."), normalised("$3.50")
    ('1200', '3.50')
    """
    for ignored in IGNORED:
        answer = re.sub(ignored, "", answer)
    return answer.lower()


def _problems(examples: Examples) -> list[Problem]:
    problems = [item for item in examples.items if isinstance(item, Problem)]
    if not problems:
        raise DataError(f"{examples.where}: no problems to answer")
    for row, problem in enumerate(problems):
        if not problem.answer.strip() or not problem.question.strip():
            raise DataError(f"{examples.where}, row {row}: an empty question or answer")
    return problems


def _prompts(model: LanguageModel, examples: Examples, problems: list[Problem], room: int) -> Prompts:
    common = exact_match_prompt(Problem("", ""), examples.shots) if examples.shots else ""
    return tokenized(
        model, [exact_match_prompt(problem, examples.shots) for problem in problems], common=common, room=room
    )


def _item(
    problem: Problem, text: str, strict: str, flexible: str, wanted: str, log_likelihood: float
) -> dict[str, Any]:
    return {
        "prompt": problem.question,
        "answer": text,
        "expected": problem.answer,
        "wanted": wanted,
        "strict": strict,
        "flexible": flexible,
        "right": strict == wanted,
        "log_likelihood": log_likelihood,
    }
