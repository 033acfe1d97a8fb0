"""What training starts from is drawn by its seed alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from benchsuite.training.start import causal, classifier


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
