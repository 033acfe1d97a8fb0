from __future__ import annotations

import re
from dataclasses import replace

from benchsuite.record import Cell, Metric, Record
from benchsuite.report import tradeoff
from benchsuite.report.tradeoff import plot_tradeoffs


def record(question, precision, size, **metrics):
    sizes = {"weight_bytes": Metric(size, "B", "lower")}
    return Record(Cell(question, "tiny", precision, "prose"), metrics={**sizes, **metrics})


def test_every_cell_with_a_quality_is_a_point_with_its_precision_in_the_panel_of_its_question(tmp_path):
    records = [
        record("perplexity", "fp32", 4e6, perplexity=Metric(3.0, "ppl", "lower", interval=(2.9, 3.1))),
        record("perplexity", "nf4-g64", 1e6, perplexity=Metric(3.1, "ppl", "lower")),
        record("classification", "absmax4", 1e6, accuracy=Metric(0.9, "share", "higher")),
        record("generation", "fp16", 1e6, decode_tokens_per_s=Metric(9.0, "tok/s", "higher")),
    ]
    written = plot_tradeoffs(records, tmp_path / "quality")
    assert [path.suffix for path in written] == [".svg", ".png"]
    drawn = written[0].read_text()  # matplotlib leaves each text as a comment beside its outlines
    for text in ("fp32", "nf4-g64", "absmax4", "perplexity, prose", "classification, prose", "weights (MiB)"):
        assert f"<!-- {text} -->" in drawn, text
    assert "fp16" not in drawn


def test_two_models_have_two_markers_in_the_legend(tmp_path):
    records = [record("perplexity", "fp32", 4e6, perplexity=Metric(3.0, "ppl", "lower"))]
    other = Record(replace(records[0].cell, model="large"), metrics=records[0].metrics)
    [drawn, _] = plot_tradeoffs([*records, other], tmp_path / "quality")
    assert {"tiny", "large", "fp32"} <= set(re.findall("<!-- (.+) -->", drawn.read_text()))


def test_without_any_quality_there_is_no_picture(tmp_path):
    assert plot_tradeoffs([record("generation", "fp16", 1e6)], tmp_path / "quality") == []
    assert list(tmp_path.iterdir()) == []


def test_a_point_lies_at_its_mebibytes_and_its_interval_reaches_as_far_as_each_side_does(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(tradeoff, "save_figure", lambda figure, _: drawn.append(figure))
    perplexity = Metric(3.0, "ppl", "lower", interval=(2.5, 4.0))
    plot_tradeoffs([record("perplexity", "fp32", 2**22, perplexity=perplexity)], tmp_path / "quality")
    [axes] = drawn[0].axes
    [(points, _, [bars])] = axes.containers
    assert points.get_xydata().tolist() == [[4.0, 3.0]]
    assert [bar.tolist() for bar in bars.get_segments()] == [[[4.0, 2.5], [4.0, 4.0]]]
