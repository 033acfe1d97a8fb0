"""An engine in a process of its own does what it does here, and says so when it cannot."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchsuite.engines import ENGINES, load_engine, start_engine
from benchsuite.engines.process import EngineProcess
from benchsuite.engines.source import Source, open_source
from benchsuite.errors import UnavailableError, UsageError
from benchsuite.measure.resident import Resident
from benchsuite.models import TINY

PROMPTS = [[1, 2, 3, 4], [5, 6, 7, 8]]


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return open_source("random:tiny")


@pytest.fixture
def engine(source: Source) -> Iterator[EngineProcess]:
    found = EngineProcess("native:fp32", source, threads=1, device="cpu")
    yield found
    found.close()


def test_what_was_converted_for_other_settings_of_the_same_weights_is_not_taken(source: Source, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(TINY, other)
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"n_head": 2 * config["n_head"]}))
    same, changed = open_source("tiny"), open_source(f"{other}/")
    assert same.weights == changed.weights
    assert len({found.folder for found in (source, same, changed)}) == 3


def test_it_gives_the_same_tokens_and_a_mark_for_each(engine: EngineProcess, source: Source) -> None:
    marks: list[None] = []
    engine.prefill(PROMPTS[0])
    found = engine.generate(PROMPTS, 5, lambda: marks.append(None))
    assert found == load_engine("native:fp32", source, threads=1).generate(PROMPTS, 5)
    assert len(marks) == 5


def test_a_process_that_died_is_named_with_its_last_words_and_a_resident_one_is_loaded_anew(source: Source) -> None:
    resident = Resident()

    def engine() -> EngineProcess:
        return resident.get(("native",), lambda: EngineProcess("native:fp32", source, threads=1, device="cpu"))

    first = engine()
    assert engine() is first
    assert first._process.stdin is not None
    first._process.stdin.write("no JSON\n")
    with pytest.raises(UnavailableError, match=r"native:fp32 ended with 1: json.decoder.JSONDecodeError"):
        first.prefill(PROMPTS[0])
    with pytest.raises(UnavailableError, match=r"native:fp32 ended with 1"):
        first.prefill(PROMPTS[0])
    engine().prefill(PROMPTS[0])
    resident.drop()


def test_what_goes_wrong_there_is_raised_here_and_the_process_works_on(engine: EngineProcess) -> None:
    with pytest.raises(RuntimeError, match="IndexError: index out of range"):
        engine.prefill([10**6])
    with pytest.raises(UsageError, match="do not fit the model's context"):
        engine.generate(PROMPTS, 10_000)
    assert len(engine.generate(PROMPTS, 3)) == 2


def test_what_cannot_be_loaded_there_is_said_here(source: Source) -> None:
    with pytest.raises(UnavailableError, match="measured on cpu only"):
        EngineProcess("ctranslate2:int8", source, threads=1, device="cuda")


def test_the_process_ends_with_its_engine(source: Source) -> None:
    engine = EngineProcess("native:fp32", source, threads=1, device="cpu")
    process = engine._process
    del engine
    assert process.poll() == -signal.SIGKILL


@pytest.mark.parametrize("name", ["native:fp32", "transformers:fp32"])
def test_engines_on_pytorchs_threads_stay_in_this_process(name: str, source: Source) -> None:
    assert not isinstance(start_engine(name, source, threads=1), EngineProcess)


def test_an_engine_with_a_thread_pool_of_its_own_gets_a_process(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENGINES, "native", replace(ENGINES["native"], pool="torch"))
    engine = start_engine("native:fp32", source, threads=1)
    assert isinstance(engine, EngineProcess)
    engine.close()
