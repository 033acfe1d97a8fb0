"""The fresh process counts what the work needs, and nothing of the process that asked."""

from __future__ import annotations

import os

import pytest
import torch

from benchsuite.errors import UnavailableError
from benchsuite.measure import memory
from benchsuite.measure.memory import Job, peaks_of_fresh_process

pytestmark = pytest.mark.skipif(not os.access(memory._RESET, os.W_OK), reason="needs Linux's /proc/self/clear_refs")


def test_a_larger_batch_needs_more_and_the_asking_process_is_not_counted() -> None:
    ballast = torch.ones(2**28, dtype=torch.uint8)  # 256 MiB here must not show there
    works = ((None, 1), (None, 64))
    peaks = peaks_of_fresh_process(Job("random:tiny", "fp32", "sdpa", None, works))
    assert list(peaks) == list(works)
    assert peaks[None, 1].working_bytes < peaks[None, 64].working_bytes <= peaks[None, 64].process_bytes
    assert 2**26 < peaks[None, 1].process_bytes < 2**30
    assert ballast.any()


def test_a_process_that_dies_is_a_reason_and_not_a_number() -> None:
    with pytest.raises(UnavailableError, match=r"the process that measures memory ended with 1: .*unknown model"):
        peaks_of_fresh_process(Job("nothing", "fp32", "sdpa", None, ((None, 1),)))
