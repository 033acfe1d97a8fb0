"""What is asked of a model, by the task of a dataset. Importing this imports no torch."""

from __future__ import annotations

import importlib
from typing import Any

from benchsuite.data.examples import Task

EVALUATIONS: dict[Task, str] = {
    "lm": "benchsuite.evals.perplexity",
    "exact-match": "benchsuite.evals.exact_match",
    "classification": "benchsuite.evals.classification",
    "instructions": "benchsuite.evals.instructions",
}


def evaluation_for(task: Task) -> Any:
    """The module that evaluates a task: `evaluate(model, examples, …)` and `work(model, examples, …)`."""
    return importlib.import_module(EVALUATIONS[task])
