"""What a run keeps between its cells."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import Any

import pytest

from benchsuite import session as session_module
from benchsuite.measure.memory import Job, Peak, Work
from benchsuite.session import Session


def test_each_cell_gets_the_peak_of_its_own_work_from_one_process_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs: list[Job] = []

    def peaks(job: Job) -> dict[Work, Peak]:
        jobs.append(job)
        return {work: Peak(100, place, job.works) for place, work in enumerate(job.works)}

    monkeypatch.setattr(session_module, "peaks_of_fresh_process", peaks)
    model = {"model": "tiny", "precision": "fp32", "attention": "sdpa", "engine": "native"}
    points = [
        {**model, "dataset": dataset, "batch_size": size} for dataset, size in (("prose", 8), (None, 8), (None, 1))
    ]
    session: Any = object.__new__(Session)
    session.matrix, session.progress = SimpleNamespace(limit=4), SimpleNamespace(showing=contextlib.nullcontext)
    session._gauged, session._conftests, session._peaks = points, (), {}
    assert [session.peak(point).working_bytes for point in points] == [0, 1, 2]
    assert [job.works for job in jobs] == [(("prose", 8), (None, 8), (None, 1))]
