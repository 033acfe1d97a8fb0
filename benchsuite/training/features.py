"""Examples as token ids with their labels, and as the batches of a training loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchsuite.data.examples import Document, Examples, Instruction, LabelledText
from benchsuite.data.prompts import instruction_prompt
from benchsuite.errors import DataError
from benchsuite.evals.evaluation import counted

IGNORED = -100  # the label of a token that no loss is computed on
Encode = Callable[[Sequence[str]], list[list[int]]]
Feature = dict[str, Any]  # "input_ids": list of int; "labels": one for each token, or the class


@dataclass(frozen=True)
class Features:
    """Tokenised examples, and how many of them were cut to the context or left out, by reason."""

    rows: list[Feature]
    excluded: Mapping[str, int]


def excluded_of(**splits: Features) -> dict[str, int]:
    """What was cut or left out, by the name of its split and the reason."""
    return {f"{name}: {reason}": n for name, held in splits.items() for reason, n in held.excluded.items()}


def causal_features(examples: Examples, encode: Encode, *, end: int, context: int, answer_only: bool) -> Features:
    """Documents, each opened by the token `end`, and instructions, each closed by it, for next-token training.

    Documents are packed into rows of `context` tokens; an instruction is a row. With `answer_only` no loss is computed
    on the prompt. What does not fit `context` is cut at its end and counted; an instruction whose answer has no room at
    all is left out and counted.
    """
    if examples.task == "lm":
        stream = [
            token
            for ids in encode([item.text for item in examples.items if isinstance(item, Document)])
            for token in [end, *ids]
        ]
        rows = [stream[start : start + context] for start in range(0, len(stream), context)]
        return Features([{"input_ids": row, "labels": row} for row in rows if len(row) > 1], {})
    asked = [item for item in examples.items if isinstance(item, Instruction)]
    prompts = encode([instruction_prompt(item) for item in asked])
    texts = encode([instruction_prompt(item) + item.output for item in asked])
    rows_of_text, cut, dropped = [], 0, 0
    for prompt, text in zip(prompts, texts, strict=True):
        ids = [*text, end]
        if len(prompt) >= context:
            dropped += 1
            continue
        cut += len(ids) > context
        first = len(prompt) if answer_only else 0
        labels = [IGNORED] * first + ids[first:]
        rows_of_text.append({"input_ids": ids[:context], "labels": labels[:context]})
    return Features(rows_of_text, counted(cut_to_the_context=cut, without_room_for_an_answer=dropped))


def class_features(examples: Examples, encode: Encode, *, context: int) -> Features:
    """Texts with the index of their class, cut at their end to `context` tokens (counted)."""
    texts = [item for item in examples.items if isinstance(item, LabelledText)]
    ids = encode([item.text for item in texts])
    for row, tokens in enumerate(ids):
        if not tokens:
            raise DataError(f"{examples.where}, row {row}: an empty text")
    rows = [{"input_ids": t[:context], "labels": item.label} for t, item in zip(ids, texts, strict=True)]
    return Features(rows, counted(cut_to_the_context=sum(len(tokens) > context for tokens in ids)))


def collate(rows: Sequence[Feature], pad: int) -> dict[str, Tensor]:
    """A batch: `input_ids` and `attention_mask` (B, T) padded on the right, `labels` (B, T) or, of classes, (B,)."""
    width = max(len(row["input_ids"]) for row in rows)

    def padded(values: list[list[int]], filler: int) -> Tensor:
        return torch.tensor([[*row, *[filler] * (width - len(row))] for row in values], dtype=torch.int64)

    ids = [row["input_ids"] for row in rows]
    labels = [row["labels"] for row in rows]
    return {
        "input_ids": padded(ids, pad),  # (B, T)
        "attention_mask": padded([[1] * len(row) for row in ids], 0),  # (B, T)
        "labels": padded(labels, IGNORED) if isinstance(labels[0], list) else torch.tensor(labels),
    }
