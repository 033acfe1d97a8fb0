"""GPT-2 with a classification head: transformers' `GPT2ForSequenceClassification`, computed by our own GPT-2.

What another library quantized is computed by transformers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from benchsuite.errors import DataError, FileFormatError, UnavailableError
from benchsuite.models.language_model import LanguageModel
from benchsuite.models.tokenizer import TextTokenizer

HEAD = "score.weight"


@runtime_checkable
class Classifier(LanguageModel, Protocol):
    """A model whose last hidden state says the class; it does not speak: `head` raises UnavailableError.

    `classes` are the names of its classes by index, as `id2label` of its configuration has them; the answer is read at
    the last token other than `pad_token_id`.
    """

    classes: tuple[str, ...]
    pad_token_id: int | None

    def class_logits(self, hidden: Tensor) -> Tensor:
        """Logits (..., K) of the classes from the hidden states (..., C) of last tokens."""


class ClassHead:
    """A head over classes, `score` of the model's module, in place of the one over the vocabulary.

    `model` is what makes the same model without it.
    """

    def __init__(self, *model: Any, classes: tuple[str, ...], pad_token_id: int | None) -> None:
        super().__init__(*model)
        self.classes, self.pad_token_id = classes, pad_token_id

    def head(self: LanguageModel, hidden: Tensor) -> Tensor:  # noqa: ARG002  the protocol's name
        """Refuse: UnavailableError, since there is no head over the vocabulary."""
        raise UnavailableError(f"{self.name} is a classifier: it has no language-model head; ask it for classes only")

    def class_logits(self: LanguageModel, hidden: Tensor) -> Tensor:
        """Logits (..., K) of the classes from the hidden states (..., C) of last tokens."""
        score: nn.Module = self.module.get_submodule("score")
        return score(hidden)  # type: ignore[no-any-return]


def take_head(tensors: dict[str, Tensor], classes: Sequence[str], n_embd: int, path: Path) -> nn.Linear:
    """The head over `classes`, taken out of the `tensors` of a directory; FileFormatError where it is not for them."""
    weight = tensors.pop(HEAD, None)
    if weight is None or weight.shape != (len(classes), n_embd):
        found = "nothing" if weight is None else f"{tuple(weight.shape)}"
        raise FileFormatError(f"{path}: {HEAD} is {found}; wanted ({len(classes)}, {n_embd})")
    with torch.device("meta"):
        score = nn.Linear(n_embd, len(classes), bias=False)
    score.load_state_dict({"weight": weight.float()}, assign=True)
    return score.requires_grad_(False).eval()


def context_of(name: str, tokenizer: TextTokenizer, positions: int) -> int:
    """Tokens that a classifier's texts are cut to: those that it was trained with, where its tokenizer says so."""
    limit = tokenizer.max_tokens
    if limit is None:
        return positions
    if not isinstance(limit, int | float) or not limit >= 1:
        raise DataError(f"{name}: model_max_length of its tokenizer is {limit!r}; wanted a positive number")
    return int(min(positions, limit))


def classes_of(config: Mapping[str, Any], path: Path) -> tuple[str, ...]:
    """The names of the classes by index."""
    names = config.get("id2label") or {"0": "LABEL_0", "1": "LABEL_1"}  # transformers writes none where there are two
    if not isinstance(names, dict) or names.keys() != {str(index) for index in range(len(names))}:
        raise FileFormatError(f"{path}: id2label is {names!r}; wanted the names of the classes 0, 1 and so on")
    return tuple(str(names[str(index)]) for index in range(len(names)))
