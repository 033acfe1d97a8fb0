"""Samples are whole, valid JSON lines in files that no two cells share."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from benchsuite.evals.samples import file_name, write_samples
from benchsuite.record import Cell

CELL = Cell("perplexity", "tiny", "fp32", "prose")


def test_a_line_is_an_item_in_the_order_of_the_dataset(tmp_path: Path) -> None:
    items = [{"prompt": "a\nb", "answer": "é", "log_likelihood": -0.1}, {"prompt": "\u2028", "right": True}]
    path = write_samples(tmp_path, CELL, items)
    assert [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]] == items
    assert list(tmp_path.iterdir()) == [path]


@given(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20))
def test_whatever_a_model_or_dataset_is_called_its_file_is_in_the_directory(model: str, dataset: str) -> None:
    name = file_name(replace(CELL, model=model, dataset=dataset))
    assert Path(name).name == name
    assert name.isascii()


def test_cells_that_differ_have_different_files() -> None:
    cells = [CELL, replace(CELL, model="a/b"), replace(CELL, model="a_b"), replace(CELL, model="a%2Fb")]
    cells += [replace(CELL, batch_size=2), replace(CELL, attention="eager"), replace(CELL, question="divergence")]
    assert len({file_name(cell) for cell in cells}) == len(cells)
