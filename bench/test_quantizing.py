"""How long does it take to quantize a model, and how small does it become?"""

import pytest


@pytest.mark.benchsuite(batch_sizes=(1,), reference=False, memory=False)
def test_quantizing(cell, model):
    cell.measure_quantizing(model)
