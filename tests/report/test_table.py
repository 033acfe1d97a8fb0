"""The table says what was measured beside what it is compared with, and names what was not measured."""

from __future__ import annotations

import io
from dataclasses import replace

from rich.console import Console

from benchsuite.record import Cell, Metric, Record
from benchsuite.report.table import print_summary


def printed(*records: Record) -> str:
    text = io.StringIO()
    print_summary(records, Console(file=text, width=200))
    return text.getvalue()


def measured(precision: str, perplexity: float, tokens_per_s: float, weight_bytes: int) -> Record:
    metrics = {
        "perplexity": Metric(perplexity, "ppl", "lower", (perplexity - 1, perplexity + 1)),
        "tokens_per_s": Metric(tokens_per_s, "tok/s", "higher"),
        "weight_bytes": Metric(weight_bytes, "B", "lower"),
        "peak_memory_bytes": Metric(3 * weight_bytes, "B", "lower"),
    }
    return Record(
        Cell("perplexity", "tiny", precision, "prose"), metrics, machine={"processor": "a chip", "threads": 2}
    )


def test_each_figure_stands_beside_its_change_against_the_reference() -> None:
    text = printed(measured("fp32", 10.0, 1000, 2**22), measured("absmax8", 10.5, 1500, 2**20))
    row = next(line for line in text.splitlines() if "absmax8" in line)
    for part in ("10.5", "+5.00 %", "1,500", "1.50×", "1.0", "0.25×", "3.0"):
        assert part in row, part
    assert "a chip, 2 threads" in text


def test_large_figures_have_no_point_and_one_cell_is_no_cells() -> None:
    text = printed(measured("fp32", 12_384.4, 1000, 2**22))
    assert " 12,384 " in text
    assert "benchsuite: 1 cell on" in text


def test_without_the_reference_there_is_no_change_to_show() -> None:
    text = printed(measured("absmax8", 10.5, 1500, 2**20))
    assert "1.50×" not in text
    assert "10.5" in text


def test_shares_change_by_points_with_their_interval() -> None:
    def share(precision: str, value: float) -> Record:
        metric = Metric(value, "share", "higher", (value - 0.04, value + 0.04))
        return Record(Cell("classification", "tiny", precision, "headlines"), {"accuracy": metric})

    text = printed(share("fp32", 0.9), share("absmax4", 0.85))
    assert "90.0 ± 4.0" in text
    assert "headlines: accuracy in %" in text
    assert "-5.0 pt" in text


def test_a_model_that_came_quantized_is_said_to_be_no_fp32() -> None:
    record = measured("fp32", 10.0, 1000, 2**20)
    assert "quantized before" not in printed(replace(record, coverage={"share": 0.0, "bits_per_weight": 32.0}))
    text = printed(replace(record, coverage={"share": 1.0, "bits_per_weight": 4.5}))
    assert text.count("tiny was quantized before: its fp32 is weights of 4.5 bits as they are.") == 1
    for odd in ({"share": 1.0}, {"share": 1.0, "bits_per_weight": "few"}):  # a file of another hand
        assert "1,000" in printed(replace(record, coverage=odd))


def test_what_was_skipped_or_failed_is_named_with_its_reason_once() -> None:
    cells = [Cell("perplexity", "tiny", "fp8", data) for data in ("prose", "wikitext2")]
    skipped = [Record(cell, status="skipped", reason="fp8 needs a GPU") for cell in cells]
    failed = Record(Cell("generation", "tiny", "fp16"), status="failed", reason="the logits are NaN")
    text = printed(*skipped, failed)
    assert "skipped: perplexity tiny-fp8-prose and 1 more cell: fp8 needs a GPU" in text
    assert "failed: generation tiny-fp16: the logits are NaN" in text


def test_the_limits_of_all_shards_are_named_and_all_rules_are_as_long() -> None:
    def shard(limit: int, dataset: str) -> Record:
        cell = Cell("perplexity", "tiny", "fp32", dataset, limit=limit)
        return replace(measured("fp32", 10.0, 1000, 2**20), cell=cell, protocol={"limit": limit})

    text = printed(shard(16, "prose"), shard(2, "wikitext2"), replace(shard(3, "lambada"), protocol={"limit": None}))
    assert "Limited to 2 or 16 examples a dataset" in text
    assert len({len(line) for line in text.splitlines() if line.startswith("──")}) == 1


def test_a_change_for_the_worse_is_red_and_one_for_the_better_green() -> None:
    def coloured(base: Record, head: Record) -> str:
        text = io.StringIO()
        console = Console(file=text, width=200, force_terminal=True, color_system="standard", no_color=False)
        print_summary([base, replace(head, cell=replace(head.cell, precision="other"))], console)
        return text.getvalue()

    small, large = measured("fp32", 10.0, 1000, 2**20), measured("fp32", 12.5, 1500, 2**22)
    red, green = "\x1b[31m{}\x1b[0m".format, "\x1b[32m{}\x1b[0m".format
    for row, shown in (
        (coloured(small, large), (red("+25.00 %"), green("1.50×"), red("4.00×"))),
        (coloured(large, small), (green("-20.00 %"), red("0.67×"), green("0.25×"))),
    ):
        for part in shown:
            assert part in row, part


def test_the_longer_side_of_an_interval_is_what_is_left_open() -> None:
    metric = Metric(0.98, "share", "higher", (0.9, 1.0))
    assert "98.0 ± 8.0" in printed(Record(Cell("classification", "tiny", "fp32", "headlines"), {"accuracy": metric}))
