"""The file of `--benchmark-json` while a run goes on: a run that is killed keeps the cells that had finished."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_benchmark.utils import safe_dumps

from benchsuite.errors import OutputError, UsageError
from benchsuite.files import atomic_write, require_writable, writable_directory

if TYPE_CHECKING:
    import pytest

_SHARE_OF_RUN = 0.02  # of a run's time that may go into writing what it has found so far


class ResultsFile:
    """What pytest-benchmark writes once, in place, at the end and where something was measured: here after each cell,
    atomically, and of a run in which every cell failed as well."""

    def __init__(self, config: pytest.Config) -> None:
        benchmarks = config._benchmarksession  # type: ignore[attr-defined]
        self.path = benchmarks.json
        self.failure = ""  # why the file of last time is older than the run
        self._config, self._benchmarks = config, benchmarks
        self._about: dict[str, Any] = {}  # machine and commit, found once
        self._began_s, self._spent_s = time.monotonic(), 0.0  # on writing
        if self.path and benchmarks.disabled:
            raise UsageError("--benchmark-json: a run without a clock (--benchmark-disable) writes no file; drop one")
        if self.path:
            require_writable(self.path, "--benchmark-json")
            benchmarks.json = None
        if benchmarks.save or benchmarks.autosave:
            writable_directory(benchmarks.storage.path, "--benchmark-storage")

    def update(self, *, is_last: bool = False) -> None:
        """Write what was found so far, unless too much of the run went into that; a pipe takes it once, at the end."""
        if self.path is None:
            return
        self._find_about()
        start, path = time.monotonic(), Path(self.path)
        too_much = self._spent_s > _SHARE_OF_RUN * (start - self._began_s)
        if not is_last and (too_much or (path.exists() and not path.is_file())):
            return
        try:
            text = safe_dumps(self._content(), ensure_ascii=True, indent=4)  # type: ignore[no-untyped-call]
            atomic_write(path, text)
            self.failure = ""
        except OutputError as error:
            self.failure = str(error)
        self._spent_s += time.monotonic() - start

    def _find_about(self) -> None:
        if not self._about:
            hook, config = self._config.hook, self._config
            commit_info = hook.pytest_benchmark_generate_commit_info(config=config)
            hook.pytest_benchmark_update_commit_info(config=config, commit_info=commit_info)
            self._about = {"machine_info": self._benchmarks.get_machine_info(), "commit_info": commit_info}

    def _content(self) -> dict[str, Any]:
        hook, config = self._config.hook, self._config
        benchmarks = self._benchmarks.benchmarks
        content: dict[str, Any] = hook.pytest_benchmark_generate_json(
            config=config, benchmarks=benchmarks, include_data=True, **self._about
        )
        hook.pytest_benchmark_update_json(config=config, benchmarks=benchmarks, output_json=content)
        return content
