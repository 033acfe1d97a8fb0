"""What is asked of a model, by the task of a dataset. Importing this imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from benchsuite.data.examples import Examples, Task

if TYPE_CHECKING:
    from benchsuite.evals.evaluation import Evaluation, Progress, Work
    from benchsuite.models.language_model import LanguageModel


class Evaluator(Protocol):
    """What the module of a task offers."""

    def evaluate(
        self, model: LanguageModel, examples: Examples, *, batch_size: int, progress: Progress = ...
    ) -> Evaluation:
        """Quality over all examples."""

    def work(self, model: LanguageModel, examples: Examples, *, batch_size: int) -> Work:
        """One representative batch for the clock."""


def evaluation_for(task: Task) -> Evaluator:
    """The module that evaluates a task."""
    from benchsuite.evals import classification, exact_match, instructions, perplexity

    modules: dict[Task, Evaluator] = {
        "lm": perplexity,
        "exact-match": exact_match,
        "classification": classification,
        "instructions": instructions,
    }
    return modules[task]
