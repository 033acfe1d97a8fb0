"""The fresh process counts what the work needs, and nothing of the process that asked."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from benchsuite.errors import UnavailableError
from benchsuite.measure import memory
from benchsuite.measure.memory import Job, peaks_of_fresh_process

pytestmark = pytest.mark.skipif(not os.access(memory._RESET, os.W_OK), reason="needs Linux's /proc/self/clear_refs")


def test_a_larger_batch_needs_more_and_the_asking_process_is_not_counted() -> None:
    ballast = torch.ones(2**28, dtype=torch.uint8)  # 256 MiB here must not show there
    works = ((None, 1), (None, 64), (None, 2))  # what came before does not count
    peaks = peaks_of_fresh_process(Job("random:tiny", "fp32", "sdpa", None, works))
    assert list(peaks) == list(works)
    first, largest, last = (peaks[work].working_bytes for work in works)
    assert max(first, last) < largest <= peaks[None, 64].process_bytes
    assert 2**26 < peaks[None, 1].process_bytes < 2**30
    assert ballast.any()


def test_a_process_that_dies_is_a_reason_and_not_a_number() -> None:
    with pytest.raises(UnavailableError, match=r"the process that measures memory ended with 1: .*unknown model"):
        peaks_of_fresh_process(Job("nothing", "fp32", "sdpa", None, ((None, 1),)))


def test_a_damaged_file_costs_no_other_work_its_peak(tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text('{"text": 1}\n')
    works = ((f"lm:{tmp_path}/bad.jsonl", 8), (None, 1))
    damaged, whole = peaks_of_fresh_process(Job("random:tiny", "fp32", "sdpa", 2, works)).values()
    assert isinstance(damaged, str)
    assert "bad.jsonl, line 1" in damaged
    assert isinstance(whole, memory.Peak)


def test_a_dataset_whose_own_code_is_wrong_costs_no_other_work_its_peak(tmp_path: Path) -> None:
    conftest = tmp_path / "conftest.py"
    conftest.write_text(
        "from benchsuite.data import datasets\n"
        "from benchsuite.data.examples import Source\n"
        "datasets.register('mine', Source('mine', 'lm', lambda split, limit: {}['text']))\n"
    )
    job = Job("random:tiny", "fp32", "sdpa", 2, (("mine", 8), (None, 1)), (str(conftest),))
    wrong, whole = peaks_of_fresh_process(job).values()
    assert wrong == "KeyError: 'text'"
    assert isinstance(whole, memory.Peak)


def test_the_peak_of_one_work_is_the_same_each_time() -> None:
    job = Job("random:tiny", "absmax8", "sdpa", None, ((None, 8),))
    peaks = [peak.process_bytes for _ in range(3) for peak in peaks_of_fresh_process(job).values()]  # type: ignore[union-attr]
    assert max(peaks) < 1.005 * min(peaks)


def test_a_peak_that_was_reset_is_what_is_resident_in_bytes() -> None:
    memory.reset_peak()
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    assert memory.peak_bytes() == pytest.approx(resident, rel=0.01)
