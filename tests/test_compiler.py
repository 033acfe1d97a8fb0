"""What `torch.compile` makes here is compiled, for this processor, or it is said why not."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchsuite.compiler import require_compiler
from benchsuite.errors import UnavailableError

ASK = "from benchsuite.compiler import require_compiler; require_compiler('cpu')"
HITS = f"""{ASK}; import torch
torch.compile(lambda x: x.sin() + 1, dynamic=False)(torch.ones(64))
print(torch._dynamo.utils.counters["inductor"]["fxgraph_cache_hit"])"""


def run(code: str, cache: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(cache), **settings}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)


@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++, which torch.compile wants")
@pytest.mark.skipif(platform.machine() != "x86_64", reason="ATEN_CPU_CAPABILITY=default is x86's without vectors")
def test_kernels_kept_for_vectors_of_one_width_are_not_taken_for_another(tmp_path: Path) -> None:
    hits = [run(HITS, tmp_path, **given).stdout for given in ({"ATEN_CPU_CAPABILITY": "default"}, {}, {})]
    assert [int(found) for found in hits] == [0, 0, 1]


def test_without_a_compiler_it_says_what_to_install(tmp_path: Path) -> None:
    finished = run(ASK, tmp_path, CXX=str(tmp_path / "no-compiler"))
    assert "UnavailableError: torch.compile finds no compiler: No working C++ compiler" in finished.stderr
    assert finished.stderr.strip().endswith("install g++")


@pytest.mark.parametrize("setting", ["disable", "suppress_errors"])
def test_a_compiler_that_would_leave_the_code_as_it_is_counts_as_none(setting: str) -> None:
    with (
        torch._dynamo.config.patch({setting: True}),
        pytest.raises(UnavailableError, match=r"run uncompiled: .*unset these"),
    ):
        require_compiler("cpu")
