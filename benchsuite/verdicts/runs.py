"""One `pytest bench` in a fresh process: of a revision, or in an environment."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchsuite.errors import FileFormatError, UsageError, last_line
from benchsuite.files import writable_directory
from benchsuite.record import Record
from benchsuite.verdicts import worktrees
from benchsuite.verdicts.compare import Key, read_side
from benchsuite.verdicts.storage import STORAGE

LAST_LINES = 15  # of a run that wrote no file
NEEDED = ("pytest", "benchsuite")  # of every side
FINISHED = (0, 1, 5)  # statuses of pytest: all passed, some failed, nothing was selected
WHERE_FROM = """
import importlib.util, json, sys
found = {name: importlib.util.find_spec(name) for name in sys.argv[1:]}
print(json.dumps({name: spec.origin for name, spec in found.items() if spec and spec.origin}))
"""


@dataclass(frozen=True)
class Side:
    """What is measured: files in `folder` by the interpreter `python`; `name` is what the user calls it."""

    name: str
    folder: Path
    python: str

    def environment(self) -> dict[str, str]:
        """Variables by which the packages in `folder` go before any that are installed."""
        paths = [str(path) for path in (self.folder, self.folder / "src") if path.is_dir()]
        inherited = os.environ.get("PYTHONPATH")
        return {**worktrees.environment(), "PYTHONPATH": os.pathsep.join([*paths, *([inherited] if inherited else [])])}

    def check_imports(self) -> None:
        """Raise UsageError where a package of `folder` would be imported from elsewhere, and other code be measured."""
        roots = (self.folder, self.folder / "src")
        packages = [path.parent.name for root in roots for path in root.glob("*/__init__.py")]
        origins = self._origins({*packages, *NEEDED})
        if missing := [name for name in NEEDED if name not in origins]:  # a run of the other side would be for nothing
            raise UsageError(f"{self.python} has no {' and no '.join(missing)}; install benchsuite there")
        for name, origin in origins.items():
            if name in packages and self.folder.resolve() not in Path(origin).resolve().parents:
                raise UsageError(
                    f"{self.name}: the package {name} is imported from {origin}, not from the revision's own files; "
                    "install it editable, or uninstall it, so that the revision is what is measured"
                )

    def _origins(self, packages: Iterable[str]) -> Mapping[str, str]:
        command = [self.python, "-c", WHERE_FROM, *packages]
        try:
            done = subprocess.run(
                command, cwd=self.folder, env=self.environment(), capture_output=True, text=True, check=False
            )
        except OSError as error:
            raise UsageError(f"{self.python} cannot be run: {error.strerror}; name a Python interpreter") from error
        if done.returncode:
            last = last_line(done.stderr)
            raise UsageError(f"{self.python} is no Python that works: {last}")
        try:
            origins: dict[str, str] = json.loads(last_line(done.stdout))  # a sitecustomize may have said something
        except ValueError as error:
            raise UsageError(f"{self.python} is no Python: it answered {last_line(done.stdout)!r}") from error
        return origins


def folder_of_runs(command: str, keep: Path | None = None) -> Path:
    """A directory for the files of a command's runs: `keep`, which has none yet, or a new one under `.benchmarks`.

    UsageError where nothing can be written, or where the runs of another time would be mixed with these.
    """
    if keep is not None:
        folder = writable_directory(str(keep), "--keep")
        if any(folder.glob("*.json")):
            raise UsageError(f"--keep {folder}: has runs of another time in it; name another directory")
        return folder
    parent = writable_directory(str(STORAGE / command), "results in")
    now = time.strftime("%Y%m%d-%H%M%S")
    for name in itertools.chain([now], (f"{now}-{count}" for count in itertools.count(2))):
        with contextlib.suppress(FileExistsError):  # of a command that began in the same second
            (parent / name).mkdir()
            break
    return parent / name


def run_bench(side: Side, arguments: Sequence[str], json_file: Path) -> tuple[dict[Key, Record], float]:
    """Run pytest with `arguments` on one side; its records, kept in `json_file`, and the seconds that it took.

    The output goes to a log beside it. A failed cell is a record that says so; FileFormatError, with the last lines of
    the log, where the run was broken off or left no records: then there is no `json_file` either.
    """
    log, partial = json_file.with_suffix(".log"), json_file.with_suffix(".partial")
    writable_directory(str(log.parent), "results in")
    for stale in (json_file, partial):  # of an earlier run that was kept here
        stale.unlink(missing_ok=True)
    command = [side.python, "-m", "pytest", *arguments, f"--benchmark-json={partial.resolve()}"]
    start = time.monotonic()
    with log.open("w", encoding="utf-8") as stream:
        process = subprocess.Popen(
            command, cwd=side.folder, env=side.environment(), stdout=stream, stderr=subprocess.STDOUT
        )
        try:
            status = process.wait()
        finally:  # interrupted: no run is left behind
            if process.poll() is None:
                process.terminate()
                process.wait()
                partial.unlink(missing_ok=True)
    seconds, fault = time.monotonic() - start, ""
    try:
        if status in FINISHED:
            records = read_side([partial])
            partial.replace(json_file)
            return records, seconds
    except FileFormatError as error:
        fault = f": {error}" if partial.exists() else ""
    partial.unlink(missing_ok=True)
    last = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:])
    left = "and left no records" if status in FINISHED else "before all was measured"
    raise FileFormatError(f"{side.name}: pytest ended with status {status} {left}{fault}; {log} ends with\n{last}")
