"""How fast does a model speak: prompt to first token, token by token, alone and in a batch of eight?"""

import pytest


@pytest.mark.benchsuite(batch_sizes=(1, 8), engines=True)
def test_generation(cell, model):
    cell.measure_generation(model)
