"""The picture of a confusion matrix shows each count in its own place."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchsuite.report import confusion


def test_a_count_stands_in_the_row_of_its_true_label_and_the_column_of_the_predicted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    drawn = []
    monkeypatch.setattr(confusion, "save_figure", lambda figure, _: drawn.append(figure))
    confusion.plot_confusion([[9, 1], [2, 1_000]], ["World", "Sports"], tmp_path / "confusion")
    axes, shades = drawn[0].axes
    assert shades.get_ylabel() == "share of the true class"
    assert {text.get_position(): text.get_text() for text in axes.texts} == {
        (0, 0): "9", (1, 0): "1", (0, 1): "2", (1, 1): "1,000",
    }  # fmt: skip
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "true")
    for axis in (axes.xaxis, axes.yaxis):
        assert [label.get_text() for label in axis.get_ticklabels()] == ["World", "Sports"]
