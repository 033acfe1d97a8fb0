"""What is asked of a model, by the task of a dataset. Importing this imports no torch."""

from __future__ import annotations

from typing import Any

from benchsuite.data.examples import Task


def evaluation_for(task: Task) -> Any:
    """The module that evaluates a task: `evaluate(model, examples, …)` and `work(model, examples, …)`."""
    from benchsuite.evals import classification, exact_match, instructions, perplexity

    modules: dict[Task, Any] = {
        "lm": perplexity,
        "exact-match": exact_match,
        "classification": classification,
        "instructions": instructions,
    }
    return modules[task]
