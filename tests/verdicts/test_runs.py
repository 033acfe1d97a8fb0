"""A run in a fresh process: its own records and no others."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchsuite.errors import FileFormatError
from benchsuite.verdicts.runs import Side, run_bench

ENDINGS = {
    "nothing is measured": ("def test_one(): pass", "status 0 and left no records"),
    "it is broken off": ("import os\ndef test_one(): os._exit(9)", "status 9 before all was measured"),
    "nothing is selected": ("", "status 5 and left no records"),
}


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
