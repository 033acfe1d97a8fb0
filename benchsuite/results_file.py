"""The file of `--benchmark-json` while a run goes on: a run that is killed keeps the cells that had finished."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from pytest_benchmark.utils import safe_dumps

from benchsuite.errors import OutputError, UsageError
from benchsuite.files import atomic_write, require_writable

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
        self._next_s = 0.0  # of the monotonic clock, before which nothing is written
        if self.path and benchmarks.disabled:
            raise UsageError("--benchmark-json: a run without a clock (--benchmark-disable) writes no file; drop one")
        if self.path:
            require_writable(self.path, "--benchmark-json")
            benchmarks.json = None

    def update(self, *, is_last: bool = False) -> None:
        """Write what was found so far, unless the last time was too short ago for what it took."""
        start = time.monotonic()
        if self.path is None or (start < self._next_s and not is_last):
            return
        try:
            text = safe_dumps(self._content(), ensure_ascii=True, indent=4)  # type: ignore[no-untyped-call]
            atomic_write(self.path, text)
            self.failure = ""
        except OutputError as error:
            self.failure = str(error)
        end = time.monotonic()
        self._next_s = end + (end - start) / _SHARE_OF_RUN

    def _content(self) -> dict[str, Any]:
        hook, config = self._config.hook, self._config
        if not self._about:
            commit_info = hook.pytest_benchmark_generate_commit_info(config=config)
            hook.pytest_benchmark_update_commit_info(config=config, commit_info=commit_info)
            self._about = {"machine_info": self._benchmarks.get_machine_info(), "commit_info": commit_info}
        benchmarks = self._benchmarks.benchmarks
        content: dict[str, Any] = hook.pytest_benchmark_generate_json(
            config=config, benchmarks=benchmarks, include_data=True, **self._about
        )
        hook.pytest_benchmark_update_json(config=config, benchmarks=benchmarks, output_json=content)
        return content
