"""The table of a recipe says what its records say, in units that a reader knows."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from benchsuite.evals.evaluation import share
from benchsuite.record import Cell, Metric, Record
from benchsuite.training.summary import write_summary


def record(precision: str, weight_bytes: int) -> Record:
    return Record(
        Cell("classification", "news", precision, "lights"),
        {
            "accuracy": share([True, True, True, False]),
            "macro_f1": Metric(0.7, "F1", "higher"),
            "weight_bytes": Metric(weight_bytes, "B", "lower"),
            "samples_per_s": Metric(1_234.0, "samples/s", "higher"),
        },
    )


def test_a_row_has_its_size_in_millions_of_bytes_and_how_much_smaller_it_is(tmp_path: Path) -> None:
    records = {"baseline": record("fp32", 496_000_000), "int8": record("absmax8-row", 124_000_000)}
    table = write_summary(records, "baseline", tmp_path)
    assert table.splitlines()[-2:] == [
        "| baseline | 75.00 % | 0.7000 |  | 496.0 MB | 1.00× | 1,234 |",
        "| int8 | 75.00 % | 0.7000 | +0.00 pt (-48.99 to +48.99) | 124.0 MB | 4.00× | 1,234 |",
    ]
    assert (tmp_path / "summary.md").read_text() == table


def test_what_was_trained_under_a_precision_has_neither_size_nor_speed_in_the_table(tmp_path: Path) -> None:
    whole = record("absmax4", 62_000_000)
    trained = replace(whole, metrics={name: whole.metrics[name] for name in ("accuracy", "macro_f1")})
    table = write_summary({"teacher": record("fp32", 496_000_000), "student": trained}, "teacher", tmp_path)
    assert table.splitlines()[-1] == "| student | 75.00 % | 0.7000 | +0.00 pt (-48.99 to +48.99) |  |  |  |"
    row = json.loads((tmp_path / "summary.json").read_text())["rows"]["student"]
    assert row.keys().isdisjoint({"weight_bytes", "compression", "samples_per_s"})
