"""A run in a fresh process: its own records and no others."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchsuite.errors import FileFormatError, UsageError
from benchsuite.verdicts import runs
from benchsuite.verdicts.runs import Side, folder_of_runs, run_bench

ENDINGS = {
    "nothing is measured": ("def test_one(): pass", "status 0 and left no records"),
    "it is broken off": ("import os\ndef test_one(): os._exit(9)", "status 9 before all was measured"),
    "nothing is selected": ("", "status 5 and left no records"),
}


def test_runs_of_two_commands_or_of_two_times_are_never_mixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runs.time, "strftime", lambda _: "now")
    assert [folder_of_runs("ab").name for _ in range(3)] == ["now", "now-2", "now-3"]
    kept = folder_of_runs("ab", tmp_path / "kept")
    (kept / "A-1.log").touch()
    assert folder_of_runs("ab", kept) == kept
    (kept / "A-1.json").touch()
    with pytest.raises(UsageError, match="runs of another time"):
        folder_of_runs("ab", kept)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="name a directory that you may write"):
        folder_of_runs("calibrate", tmp_path / "file")


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_an_earlier_run_left_is_no_result_of_this_one(tmp_path: Path, ending: str) -> None:
    code, says = ENDINGS[ending]
    (tmp_path / "test_mine.py").write_text(code)
    kept = tmp_path / "kept" / "A-1.json"
    kept.parent.mkdir()
    kept.write_text("the records of an earlier run")
    with pytest.raises(FileFormatError, match=says):
        run_bench(Side("mine", tmp_path, sys.executable), ["test_mine.py", "-p", "no:cacheprovider"], kept)
    assert [path.name for path in kept.parent.iterdir()] == ["A-1.log"]


@pytest.mark.parametrize(("status", "whole"), [(0, True), (1, True), (2, False), (3, False), (4, False)])
def test_the_records_of_a_run_that_was_broken_off_are_not_kept(
    status: int,
    whole: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make_run: Callable[..., Any],
    write_run: Callable[..., Path],
) -> None:
    def pytest_process(command: list[str], **_: Any) -> Any:
        write_run(Path(command[-1].partition("=")[2]), make_run(cells=1))
        return SimpleNamespace(wait=lambda: status, poll=lambda: status)

    monkeypatch.setattr(runs, "subprocess", SimpleNamespace(Popen=pytest_process, STDOUT=None))
    kept, side = tmp_path / "kept" / "A-1.json", Side("mine", tmp_path, sys.executable)
    if whole:
        assert len(run_bench(side, [], kept)[0]) == 1
    else:
        with pytest.raises(FileFormatError, match=f"status {status} before all was measured"):
            run_bench(side, [], kept)
    assert kept.exists() == whole


@pytest.mark.parametrize(
    ("script", "says"),
    [
        (f'exec {sys.executable} -I -S "$@"', "has no pytest"),
        ("echo something else", "is no Python: it answered 'something else'"),
        ("true", "is no Python: it answered 'no message'"),
        (f'echo hello; exec {sys.executable} "$@"', ""),
    ],
)
def test_an_interpreter_that_cannot_run_the_bench_is_found_before_the_other_side_has_run(
    script: str, says: str, tmp_path: Path
) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    side = Side("mine", tmp_path, str(python))
    if says:
        with pytest.raises(UsageError, match=says):
            side.check_imports()
    else:
        side.check_imports()
