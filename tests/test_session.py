"""What a run keeps between its cells."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import Any

import pytest

from benchsuite import session as session_module
from benchsuite.errors import UsageError
from benchsuite.measure.memory import Job, Peak, Work
from benchsuite.measure.resident import Resident
from benchsuite.record import KEY
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


def test_an_engine_is_not_loaded_for_a_generation_that_its_model_cannot_see(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "start_engine", lambda name, *_, **__: name)
    session: Any = object.__new__(Session)
    session.device, session.progress = "cpu", SimpleNamespace(showing=contextlib.nullcontext)
    session._resident = Resident()
    session._sources = {"tiny": SimpleNamespace(name="tiny", n_positions=94)}
    with pytest.raises(UsageError, match="tiny sees 94 tokens; 32 behind a prompt of 64 want 95"):
        session.engine("transformers", "tiny", "fp32")
    session._sources["tiny"].n_positions = 95
    assert session.engine("transformers", "tiny", "fp32") == "transformers:fp32"


def test_a_cell_that_was_run_again_is_in_the_file_once() -> None:
    """As by `--reruns` of pytest-rerunfailures, behind a verdict of `--baseline`."""
    session: Any = object.__new__(Session)
    session._records, session._items = {}, ()
    runs = [("test_a", 1), ("test_a", 2), ("test_b", 3)]
    document: dict[str, Any] = {
        "benchmarks": [{"fullname": name, "extra_info": {KEY: run}} for name, run in runs],
    }
    session.finish_json(document)
    assert [benchmark["extra_info"][KEY] for benchmark in document["benchmarks"]] == [2, 3]
