"""A model in a precision is what the measurements run."""

from __future__ import annotations

from unittest import mock

from benchsuite.models.gpt2 import GPT2
from benchsuite.models.in_precision import load


def test_our_gpt2_is_loaded_with_the_layers_that_run_fastest_on_its_device() -> None:
    with mock.patch.object(GPT2, "prepare", autospec=True) as prepare:
        model, coverage = load("random:tiny", "absmax8", "cpu", "sdpa")
    prepare.assert_called_once_with(model.module, "cpu")
    assert coverage.share == 1
