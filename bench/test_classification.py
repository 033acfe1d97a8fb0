"""How many texts still get the right label, by the likelihood of each label?"""

import pytest


@pytest.mark.benchsuite(task="classification")
def test_classification(cell, model, dataset):
    cell.measure_dataset(model, dataset)
