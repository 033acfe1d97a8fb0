"""Classification by likelihood: the class whose name the model finds likeliest behind the text.

A prompt is computed once and all labels are continued from its keys and values; labels of one token cost nothing more.
The sum of a label's token log-likelihoods decides, as in lm-evaluation-harness's `acc` of a multiple-choice task.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchsuite.data.examples import Examples, LabelledText
from benchsuite.data.prompts import classification_prompt
from benchsuite.errors import DataError
from benchsuite.evals import evaluation
from benchsuite.evals.answers import Prompts, continuations, tokenized
from benchsuite.evals.evaluation import Evaluation, Progress, Work, quiet
from benchsuite.models.language_model import LanguageModel, batches, log_probabilities, pad, score_hidden
from benchsuite.record import Metric


def evaluate(model: LanguageModel, examples: Examples, *, batch_size: int, progress: Progress = quiet) -> Evaluation:
    """Accuracy, macro F1, the report of each class and the confusion matrix.

    A text that does not fit the context with its longest label loses its beginning (counted). Raises DataError for a
    label outside the classes.
    """
    texts = _texts(examples)
    labels = _labels(model, examples)
    prompts = _prompts(model, texts, labels)
    found = _scores(model, prompts, labels, batch_size, progress)  # (N, K)
    alone = _scores(model, prompts.head(batch_size), labels, 1)
    predicted = found.argmax(axis=1)
    true = np.array([item.label for item in texts])
    f1, details = report(true, predicted, examples.labels)
    return Evaluation(
        {
            "accuracy": evaluation.share(predicted == true),
            "macro_f1": Metric(f1, "F1", "higher", n=len(texts)),
            "batch_invariance": evaluation.batch_invariance(found[:batch_size].ravel(), alone.ravel()),
        },
        protocol={"prompt": "{text}\nTopic:", "labels": list(examples.labels), "score": "sum of the label's tokens"},
        items=tuple(_item(item, scores, examples.labels) for item, scores in zip(texts, found, strict=True)),
        excluded=dict(examples.excluded) | evaluation.counted(texts_truncated_from_the_left=len(prompts.truncated)),
        details=details,
    )


def work(model: LanguageModel, examples: Examples, *, batch_size: int) -> Work:
    """The labels of the first batch of texts; `tokens` are those of the prompts."""
    labels = _labels(model, examples)
    prompts = _prompts(model, _texts(examples)[:batch_size], labels)

    def run() -> None:
        _scores(model, prompts, labels, batch_size)

    return Work(run, sum(map(len, prompts.rows)), len(prompts.rows))


def report(true: NDArray[Any], predicted: NDArray[Any], labels: Sequence[str]) -> tuple[float, dict[str, Any]]:
    """Macro F1, and scikit-learn's report of each class with the confusion matrix (rows are the true ones)."""
    from sklearn.metrics import classification_report, confusion_matrix

    known = list(range(len(labels)))
    by_class = classification_report(
        true, predicted, labels=known, target_names=labels, output_dict=True, zero_division=0.0
    )
    return float(by_class["macro avg"]["f1-score"]), {
        "report": by_class,
        "confusion": confusion_matrix(true, predicted, labels=known).tolist(),
    }


@torch.inference_mode()
def _scores(
    model: LanguageModel,
    prompts: Prompts,
    labels: Sequence[Sequence[int]],
    batch_size: int,
    progress: Progress = quiet,
) -> NDArray[np.float64]:
    """The log-likelihoods (N, K) of the labels behind each prompt."""
    scores = np.zeros((len(prompts.rows), len(labels)))  # (N, K)
    first = [label[0] for label in labels]
    longest = max(map(len, labels))
    done = 0
    for rows in batches([len(row) for row in prompts.rows], batch_size):
        batch = [prompts.rows[row] for row in rows]
        lengths = [len(row) for row in batch]
        cache = model.new_cache(len(rows), max(lengths) + longest - 1) if longest > 1 else None
        hidden = model.hidden(pad(batch, model.device), cache)  # (B, T, C)
        last = hidden[torch.arange(len(rows)), torch.tensor(lengths) - 1]  # (B, C)
        scores[rows] = log_probabilities(model, last)[:, first].double().cpu().numpy()
        for column, label in enumerate(labels):
            if cache is not None and len(label) > 1:
                cache.lengths = list(lengths)  # forget the label before
                ids = torch.tensor([label] * len(rows), device=model.device)  # (B, L)
                states = model.hidden(ids[:, :-1], cache).flatten(0, 1)  # (B * (L - 1), C)
                found, _ = score_hidden(model, states, ids[:, 1:].flatten())
                scores[rows, column] += found.reshape(len(rows), -1).sum(axis=1)
        done += len(rows)
        progress(done, len(prompts.rows))
    return scores


def _texts(examples: Examples) -> list[LabelledText]:
    texts = [item for item in examples.items if isinstance(item, LabelledText)]
    where = f"{examples.dataset} ({examples.split})"
    if not texts:
        raise DataError(f"{where}: no texts to classify")
    for row, item in enumerate(texts):
        if not 0 <= item.label < len(examples.labels):
            raise DataError(f"{where}, row {row}: label {item.label}; the classes are 0 to {len(examples.labels) - 1}")
    return texts


def _labels(model: LanguageModel, examples: Examples) -> list[list[int]]:
    """The tokens of each label as they follow a prompt, whose end is the same for every text."""
    end = classification_prompt("")
    return continuations(model, [end] * len(examples.labels), [f" {label}" for label in examples.labels])


def _prompts(model: LanguageModel, texts: Sequence[LabelledText], labels: Sequence[Sequence[int]]) -> Prompts:
    prompts = [classification_prompt(item.text) for item in texts]
    return tokenized(model, prompts, common="", room=max(map(len, labels)) - 1)


def _item(item: LabelledText, scores: NDArray[np.float64], labels: Sequence[str]) -> dict[str, Any]:
    best = int(scores.argmax())
    return {
        "prompt": item.text,
        "answer": labels[best],
        "expected": labels[item.label],
        "right": best == item.label,
        "log_likelihood": dict(zip(labels, map(float, scores), strict=True)),
    }
