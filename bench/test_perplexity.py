"""What does a precision cost in perplexity?"""

import pytest


@pytest.mark.benchsuite(task="lm")
def test_perplexity(cell, model, dataset):
    cell.measure_dataset(model, dataset)
