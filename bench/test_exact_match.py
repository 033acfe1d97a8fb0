"""How many worked problems still end in the right number?"""

import pytest


@pytest.mark.benchsuite(task="exact-match")
def test_exact_match(cell, model, dataset):
    cell.measure_dataset(model, dataset)
