"""How fast does a model learn: one optimizer step, by precision, attention, batch size, length and compiling?"""

import itertools

import pytest


def pytest_generate_tests(metafunc):
    option = metafunc.config.option
    variants = itertools.product(option.sequence_length or [128], [False, True] if option.compile else [False])
    options = [
        {"sequence_length": length, "compiled": compiled, "gradient_checkpointing": option.gradient_checkpointing}
        for length, compiled in variants
    ]
    names = [f"length{each['sequence_length']}" + "-compiled" * each["compiled"] for each in options]
    metafunc.parametrize("options", options, ids=names)


@pytest.fixture
def model(request, precision, attention):  # noqa: ARG001  axes
    return request.param  # its name: training has weights of its own, in fp32


@pytest.mark.benchsuite(precisions=("fp32", "bf16", "fp16"), memory=False)
def test_training(cell, model, options):
    cell.measure_training(model, options)
