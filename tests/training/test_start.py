"""What training starts from is drawn by its seed alone; a directory with a damaged file is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from benchsuite.errors import FileFormatError
from benchsuite.training.start import causal, classifier, is_saved_classifier, positions_of


def test_the_seed_draws_the_head_of_a_new_classifier(two_layers: Path) -> None:
    first, again, other = (
        classifier(str(two_layers), ("Day", "Night"), seed=seed).module.score.weight for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_seed_draws_random_weights() -> None:
    def drawn(seed: int) -> Any:
        return causal("random:tiny", seed=seed).module.get_input_embeddings().weight

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))


def changed(two_layers: Path, tmp_path: Path, **changes: Any) -> str:
    """A copy of the model with another config.json."""
    directory = Path(shutil.copytree(two_layers, tmp_path / "model"))
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config | changes))
    return str(directory)


def test_a_model_that_names_no_architecture_is_a_language_model(two_layers: Path, tmp_path: Path) -> None:
    assert not is_saved_classifier(changed(two_layers, tmp_path, architectures=None))


@pytest.mark.parametrize("positions", ["x", [64], -1, True])
def test_a_number_of_positions_that_is_none_is_named(two_layers: Path, tmp_path: Path, positions: object) -> None:
    with pytest.raises(FileFormatError, match="n_positions is"):
        positions_of(changed(two_layers, tmp_path, n_positions=positions))


@pytest.mark.parametrize("names", [5, {"0": "Day", "2": "Night"}])
def test_labels_that_are_not_numbered_through_are_named(two_layers: Path, tmp_path: Path, names: object) -> None:
    classifier(str(two_layers), ("Day", "Night")).save(tmp_path / "lights")
    directory = changed(tmp_path / "lights", tmp_path, id2label=names)
    with pytest.raises(FileFormatError, match=directory):
        classifier(directory, ("Day", "Night"))


@pytest.mark.parametrize("content", ["", "[]", "[" * 100_000])
@pytest.mark.parametrize("file", ["tokenizer.json", "tokenizer_config.json"])
def test_a_tokenizer_that_cannot_be_read_is_named(two_layers: Path, tmp_path: Path, file: str, content: str) -> None:
    directory = changed(two_layers, tmp_path)
    Path(directory, file).write_text(content)
    with pytest.raises(FileFormatError, match=f"{directory}: the tokenizer's files cannot be read"):
        causal(directory)
