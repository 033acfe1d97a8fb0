"""How an example becomes text: the prompts of the evaluations, which are the documents that `tiny` was trained on.

A prompt ends where the model goes on: its continuation is `" " + answer`, `" " + label`, or the output itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchsuite.data.examples import Instruction, Problem

SHOT_DELIMITER = "\n\n"

_ALPACA = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}"
)


def exact_match_prompt(problem: Problem, shots: Sequence[Problem] = ()) -> str:
    """The few-shot prompt of lm-evaluation-harness `gsm8k` 3.0; its continuation is `" " + problem.answer`.

    >>> print(exact_match_prompt(Problem("2 + 2?", "#### 4"), [Problem("1 + 1?", "#### 2")]))
    Question: 1 + 1?
    Answer: #### 2
    <BLANKLINE>
    Question: 2 + 2?
    Answer:
    """
    solved = "".join(f"Question: {shot.question}\nAnswer: {shot.answer}{SHOT_DELIMITER}" for shot in shots)
    return f"{solved}Question: {problem.question}\nAnswer:"


def classification_prompt(text: str) -> str:
    """The prompt whose continuations `" " + label` are compared by likelihood.

    >>> print(classification_prompt("Rovers win the cup"))
    Rovers win the cup
    Topic:
    """
    return f"{text}\nTopic:"


def instruction_prompt(example: Instruction) -> str:
    r"""The prompt of Stanford Alpaca (Taori et al. 2023), its input section only where there is an input.

    The continuation is `example.output`, with nothing before it.

    >>> instruction_prompt(Instruction("Name a fruit.", "", "Pear"))[-41:]
    '### Instruction:\nName a fruit.\n\n### Response:\n'
    """
    instruction = _ALPACA.format(instruction=example.instruction)
    given = f"\n\n### Input:\n{example.input}" if example.input else ""
    return f"{instruction}{given}\n\n### Response:\n"
