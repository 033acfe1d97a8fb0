"""Classification: by the likelihood of each class's name behind the text, or by the head of a classifier.

By likelihood, a prompt is computed once and all labels are continued from its keys and values; labels of one token cost
nothing more. The sum of a label's token log-likelihoods decides, as in lm-evaluation-harness's `acc` of a
multiple-choice task. By the head, the hidden state of the text's last token decides, without any prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchsuite.data.examples import Examples, LabelledText
from benchsuite.data.prompts import classification_prompt
from benchsuite.errors import DataError
from benchsuite.evals import evaluation
from benchsuite.evals.answers import continuations, tokenized
from benchsuite.evals.evaluation import Evaluation, Progress, Work, quiet
from benchsuite.models.classifier import Classifier, context_of
from benchsuite.models.language_model import (
    LanguageModel,
    batches,
    lay_out,
    log_probabilities,
    pad,
    require_finite,
    score_hidden,
)
from benchsuite.record import Metric


@dataclass(frozen=True)
class _Asked:
    """Tokenized texts and how their classes are scored: `scores` maps a batch (B, T) to log-likelihoods (B, K)."""

    rows: list[list[int]]
    cut: Mapping[str, int]  # texts that lost a part, by which
    scores: Callable[[list[list[int]]], NDArray[np.float64]]
    protocol: dict[str, Any]


def evaluate(model: LanguageModel, examples: Examples, *, batch_size: int, progress: Progress = quiet) -> Evaluation:
    """Accuracy, macro F1, the report of each class and the confusion matrix.

    A text that does not fit the context (with its longest label) loses its beginning; to a classifier, as in training,
    its end (counted). Raises DataError for a label outside the classes, or a classifier whose classes are others than
    the dataset's.
    """
    texts = _texts(examples)
    asked = _asked(model, examples, texts)
    found = _all_scores(asked, asked.rows, batch_size, progress)  # (N, K)
    alone = _all_scores(asked, asked.rows[:batch_size], 1, quiet)
    predicted = found.argmax(axis=1)
    true = np.array([item.label for item in texts])
    f1, details = report(true, predicted, examples.labels)
    return Evaluation(
        {
            "accuracy": evaluation.share(predicted == true),
            "macro_f1": Metric(f1, "F1", "higher", n=len(texts)),
            "batch_invariance": evaluation.batch_invariance(found[:batch_size].ravel(), alone.ravel()),
        },
        protocol={**asked.protocol, "labels": list(examples.labels)},
        items=tuple(_item(item, scores, examples.labels) for item, scores in zip(texts, found, strict=True)),
        excluded={**examples.excluded, **asked.cut},
        details=details,
    )


def work(model: LanguageModel, examples: Examples, *, batch_size: int) -> Work:
    """The classes of the first batch of texts; `tokens` are those of the prompts."""
    asked = _asked(model, examples, _texts(examples)[:batch_size])
    rows = asked.rows

    def run() -> None:
        _all_scores(asked, rows, batch_size, quiet)

    return Work(run, sum(map(len, rows)), len(rows))


def report(true: NDArray[Any], predicted: NDArray[Any], labels: Sequence[str]) -> tuple[float, dict[str, Any]]:
    """Macro F1, and scikit-learn's report of each class with the confusion matrix (rows are the true ones).

    The mean is over the classes that are true or predicted of some text: a class that is neither, as in a few rows of a
    dataset, has no F1, and the report's own mean counts it as 0.
    """
    from sklearn.metrics import classification_report, confusion_matrix, f1_score

    known = list(range(len(labels)))
    by_class = classification_report(
        true, predicted, labels=known, target_names=labels, output_dict=True, zero_division=0.0
    )
    return float(f1_score(true, predicted, average="macro", zero_division=0.0)), {
        "report": by_class,
        "confusion": confusion_matrix(true, predicted, labels=known).tolist(),
    }


def _asked(model: LanguageModel, examples: Examples, texts: Sequence[LabelledText]) -> _Asked:
    if isinstance(model, Classifier):
        classifier, order = model, _order(model, examples)
        context = context_of(classifier.name, classifier.tokenizer, classifier.n_positions)
        encoded = model.tokenizer.encode_batch([item.text for item in texts])
        return _Asked(
            [ids[:context] for ids in encoded],
            evaluation.counted(cut_to_the_context=sum(len(ids) > context for ids in encoded)),
            lambda rows: _by_head(classifier, order, rows),
            {"prompt": "{text}", "score": "the classifier's head", "context": context},
        )
    if len(examples.labels) < 2:
        raise DataError(f"{examples.dataset} has one label only, {examples.labels[0]!r}; every answer would be right")
    # the end of a prompt is the same for every text, and with it the tokens of a label behind it
    end = classification_prompt("")
    labels = continuations(model, [end] * len(examples.labels), [f" {label}" for label in examples.labels])
    asked = [classification_prompt(item.text) for item in texts]
    prompts = tokenized(model, asked, common="", room=max(map(len, labels)) - 1)
    return _Asked(
        prompts.rows,
        evaluation.counted(texts_truncated_from_the_left=len(prompts.truncated)),
        lambda rows: _by_likelihood(model, labels, rows),
        {"prompt": classification_prompt("{text}"), "score": "the sum of the label's tokens"},
    )


def _all_scores(asked: _Asked, rows: Sequence[list[int]], batch_size: int, progress: Progress) -> NDArray[np.float64]:
    """The log-likelihoods (N, K) of the classes of all rows."""
    found: list[NDArray[np.float64]] = [np.zeros(0)] * len(rows)
    done = 0
    for batch in batches([len(row) for row in rows], batch_size):
        for row, scores in zip(batch, asked.scores([rows[row] for row in batch]), strict=True):
            found[row] = scores
        done += len(batch)
        progress(done, len(rows))
    return np.stack(found)


@torch.inference_mode()
def _by_likelihood(model: LanguageModel, labels: Sequence[Sequence[int]], rows: list[list[int]]) -> NDArray[np.float64]:
    """The log-likelihoods (B, K) of labels behind prompts."""
    lay_out(model, one_token=False)
    longest = max(map(len, labels))
    lengths = [len(row) for row in rows]
    cache = model.new_cache(len(rows), max(lengths) + longest - 1) if longest > 1 else None
    last = _last(model.hidden(pad(rows, model.device), cache), lengths)  # (B, C)
    first = log_probabilities(model, last)[:, [label[0] for label in labels]]  # (B, K)
    scores: NDArray[np.float64] = first.double().cpu().numpy()
    for column, label in enumerate(labels):
        if cache is not None and len(label) > 1:
            cache.lengths = list(lengths)  # forget the label before
            ids = torch.tensor([label] * len(rows), device=model.device)  # (B, L)
            states = model.hidden(ids[:, :-1], cache).flatten(0, 1)  # (B * (L - 1), C)
            found, _ = score_hidden(model, states, ids[:, 1:].flatten())
            scores[:, column] += found.reshape(len(rows), -1).sum(axis=1)
    return scores


@torch.inference_mode()
def _by_head(model: Classifier, order: list[int], rows: list[list[int]]) -> NDArray[np.float64]:
    """The log-probabilities (B, K) of the classes, in the dataset's order."""
    lay_out(model, one_token=False)
    answered = [_without_padding(row, model.pad_token_id) for row in rows]
    last = _last(model.hidden(pad(rows, model.device)), answered)  # (B, C)
    logits = model.class_logits(last).double()  # (B, K)
    require_finite(model, logits)
    scores: NDArray[np.float64] = logits.log_softmax(dim=-1)[:, order].cpu().numpy()
    return scores


def _without_padding(row: Sequence[int], pad_id: int | None) -> int:
    """The length of a text up to its last token that is none of padding, where transformers reads the answer."""
    return next((length for length in range(len(row), 0, -1) if row[length - 1] != pad_id), 1)


def _last(hidden: Tensor, lengths: Sequence[int]) -> Tensor:
    """The hidden states (B, C) of the last tokens of padded rows (B, T, C)."""
    return hidden[torch.arange(len(lengths)), torch.tensor(lengths) - 1]


def _order(model: Classifier, examples: Examples) -> list[int]:
    """The classifier's index of each label: by name, or as they stand where the classifier's have no names."""
    if all(name == f"LABEL_{index}" for index, name in enumerate(model.classes)):
        if len(model.classes) == len(examples.labels):
            return list(range(len(model.classes)))
    elif sorted(model.classes) == sorted(examples.labels):
        return [model.classes.index(label) for label in examples.labels]
    raise DataError(
        f"{model.name} tells apart {', '.join(model.classes)}; {examples.dataset} has {', '.join(examples.labels)}"
    )


def _texts(examples: Examples) -> list[LabelledText]:
    texts = [item for item in examples.items if isinstance(item, LabelledText)]
    if not texts:
        raise DataError(f"{examples.where}: no texts to classify")
    for row, item in enumerate(texts):
        if not 0 <= item.label < len(examples.labels):
            raise DataError(
                f"{examples.where}, row {row}: label {item.label}; the classes are 0 to {len(examples.labels) - 1}"
            )
        if not item.text.strip():
            raise DataError(f"{examples.where}, row {row}: an empty text")
    return texts


def _item(item: LabelledText, scores: NDArray[np.float64], labels: Sequence[str]) -> dict[str, Any]:
    best = int(scores.argmax())
    return {
        "prompt": item.text,
        "answer": labels[best],
        "expected": labels[item.label],
        "right": best == item.label,
        "log_likelihood": dict(zip(labels, map(float, scores), strict=True)),
    }
