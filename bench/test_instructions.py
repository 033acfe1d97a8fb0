"""How many instructions are still followed?"""

import pytest


@pytest.mark.benchsuite(task="instructions")
def test_instructions(cell, model, dataset):
    cell.measure_dataset(model, dataset)
