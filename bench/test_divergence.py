"""How far does a precision stray from the reference precision, token by token?"""

import pytest


@pytest.mark.benchsuite(task="lm", reference=False, memory=False)
def test_divergence(cell, model, dataset):
    cell.measure_divergence(model, dataset)
