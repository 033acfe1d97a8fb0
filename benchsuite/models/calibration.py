"""What GPTQ sees of real text: token windows from a train split, never from a split that is scored."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from benchsuite.data import datasets
from benchsuite.data.embedded import EMBEDDED
from benchsuite.data.examples import Document, Example, Instruction, LabelledText
from benchsuite.data.prompts import classification_prompt, exact_match_prompt, instruction_prompt
from benchsuite.errors import MissingError, QuantizationError, UnavailableError

if TYPE_CHECKING:
    from benchsuite.models.language_model import LanguageModel

WINDOWS = 64
LONGEST_WINDOW = 2_048  # tokens, as in the paper
_EXAMPLES = 4_096  # of a train split that are read at most
_AT_ONCE = 64  # texts that are tokenized together


def calibration_windows(model: LanguageModel, dataset: str | None = None) -> torch.Tensor:
    """Up to 64 token windows int64 (N, T) from the train split of `dataset`, or of the four embedded ones by turns.

    T is the model's context, but not more than 2,048. Each text follows an end-of-text token. Raises QuantizationError
    where the text does not fill one window, MissingError where the split cannot be had.
    """
    length = min(model.n_positions, LONGEST_WINDOW)
    texts = _texts((dataset,) if dataset else EMBEDDED)
    tokens: list[int] = []
    while len(tokens) < WINDOWS * length and (some := list(itertools.islice(texts, _AT_ONCE))):
        for ids in model.tokenizer.encode_batch(some):
            tokens += [model.tokenizer.end_of_text_id, *ids]
    count = min(WINDOWS, len(tokens) // length)
    if not count:
        raise QuantizationError(
            f"calibration needs a window of {length} tokens; the train split of {dataset or 'the embedded datasets'} "
            f"has {len(tokens)}; name a larger dataset behind the precision, such as gptq4-g128@wikitext2"
        )
    return torch.tensor(tokens[: count * length], device=model.device).view(count, length)


def _texts(names: tuple[str, ...]) -> Iterator[str]:
    """The texts of the train splits, one of each in turn."""
    try:
        splits = [datasets[name].load("train", _EXAMPLES).items for name in names]
    except UnavailableError as error:
        raise MissingError(f"calibration: {error}") from error
    for group in itertools.zip_longest(*splits):
        yield from (_text(example) for example in group if example is not None)


def _text(example: Example) -> str:
    """An example as the text that a model is trained on and asked for."""
    if isinstance(example, Document):
        return "\n\n".join(example.rows) or example.text
    if isinstance(example, LabelledText):
        return classification_prompt(example.text)
    if isinstance(example, Instruction):
        return instruction_prompt(example) + example.output
    return f"{exact_match_prompt(example)} {example.answer}"
