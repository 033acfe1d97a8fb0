"""Loops in C are compiled once, and where that fails nothing is lost."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchsuite.c_code import call, is_compiled
from benchsuite.quant.packing import LOOPS

CALL = """import torch
from pathlib import Path
from benchsuite.c_code import call
y = torch.ones(3)
print(call(Path({source!r}), "twice", 3, y, 0.5), y.tolist())"""
SOURCE = """#include <stdint.h>
void twice(int64_t threads, int64_t n, float *y, float more) {
    #pragma omp parallel for num_threads((int)threads)
    for (int64_t i = 0; i < n; i++) y[i] = 2 * y[i] + more;
}
"""
CALLED, NOT_CALLED = "True [2.5, 2.5, 2.5]", "False [1.0, 1.0, 1.0]"

needs_compiler = pytest.mark.skipif(not is_compiled(LOOPS), reason="no C compiler with OpenMP")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    file = tmp_path / "loops.c"
    file.write_text(SOURCE)
    return file


def run(source: Path, **settings: str) -> str:
    environment = {**os.environ, "XDG_CACHE_HOME": str(source.parent / "cache"), **settings}
    command = [sys.executable, "-c", CALL.format(source=str(source))]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout.strip()


def kept(source: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (source.parent / "cache").rglob("*") if path.is_file()}


@needs_compiler
def test_it_is_compiled_once_and_again_when_it_says_something_else(source: Path) -> None:
    assert run(source) == CALLED
    (first,) = before = kept(source)
    assert run(source) == CALLED
    assert kept(source) == before
    source.write_text(SOURCE.replace("2 *", "3 *"))
    assert run(source) == "True [3.5, 3.5, 3.5]"
    assert len(kept(source)) == 2
    assert first in kept(source)


@needs_compiler
def test_a_profiler_shows_what_was_called(source: Path) -> None:
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        assert call(source, "twice", 3, torch.ones(3), 0.5)
    assert "benchsuite::twice" in {event.key for event in profile.key_averages()}


@needs_compiler
def test_it_is_compiled_again_when_a_header_beside_it_says_something_else(source: Path) -> None:
    header = source.with_name("times.h")
    header.write_text("#define TIMES 2\n")
    source.write_text('#include "times.h"\n' + SOURCE.replace("2 *", "TIMES *"))
    assert run(source) == CALLED
    header.write_text("#define TIMES 3\n")
    assert run(source) == "True [3.5, 3.5, 3.5]"


@pytest.mark.parametrize("compiler", ["no-such-compiler", "false", "'", "cc -no-such-option"])
def test_without_a_compiler_nothing_is_called(source: Path, compiler: str) -> None:
    assert run(source, CC=compiler) == NOT_CALLED


@needs_compiler
def test_a_text_that_does_not_compile_leaves_nothing(source: Path) -> None:
    source.write_text(SOURCE + "no C")
    assert run(source) == NOT_CALLED
    assert kept(source) == {}


@needs_compiler
def test_what_cannot_be_kept_is_not_called(source: Path) -> None:
    (source.parent / "cache").write_text("a file where the directory should be")
    assert run(source) == NOT_CALLED


@needs_compiler
def test_a_damaged_file_is_not_called(source: Path) -> None:
    assert run(source) == CALLED
    (name,) = kept(source)
    (source.parent / "cache" / "benchsuite" / "c" / name).write_bytes(b"no library")
    assert run(source) == NOT_CALLED
