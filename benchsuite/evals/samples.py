"""Every prompt, answer and score of a cell as JSON lines, for eyes and for other tools."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchsuite import files
from benchsuite.record import Cell


def write_samples(directory: Path, cell: Cell, items: Iterable[Mapping[str, Any]]) -> Path:
    """Write the items of a cell's evaluation, one JSON object a line, in the order of the dataset; returns the file."""
    lines = (json.dumps(item, ensure_ascii=False, allow_nan=False) + "\n" for item in items)
    return files.atomic_write(directory / file_name(cell), "".join(lines))


def file_name(cell: Cell) -> str:
    """A name that no other cell of a run has, whatever its model is called.

    >>> file_name(Cell("perplexity", "openai-community/gpt2", "fp32", "prose", batch_size=8))
    'perplexity-openai-community%2Fgpt2-fp32-prose-sdpa-batch8.jsonl'
    """
    parts = [cell.question, cell.model, cell.precision, cell.dataset, cell.attention, f"batch{cell.batch_size}"]
    return files.file_name("-".join(parts)) + ".jsonl"
