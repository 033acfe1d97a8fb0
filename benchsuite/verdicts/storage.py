"""Finding benchmark files: by path, by directory of shards, by name or number in pytest-benchmark's storage."""

from __future__ import annotations

import fnmatch
import glob
import os
import re
from pathlib import Path

from benchsuite.errors import UsageError

STORAGE = Path(".benchmarks")
SAVED = re.compile(r"(?P<number>\d+)_(?P<name>.*)")


def find_runs(names: str, storage: Path = STORAGE) -> list[list[Path]]:
    """The files of each run that `names` stands for: names as of `find_files`, comma lists and globs of them.

    Raises UsageError where one of them fits nothing, or a file is named twice.
    """
    found = []
    for name in [names] if _exists(names) else filter(None, map(str.strip, names.split(","))):
        is_glob = bool(set("*?[") & set(name)) and not _exists(name)
        fitting = _fitting(name, storage) if is_glob else [name]
        if not fitting:
            raise UsageError(f"{name}: fits no file, and no run in {storage}")
        found += [find_files(one, storage) for one in fitting]
    if not found:
        raise UsageError(f"{names!r} names no run")
    files = [file.resolve() for run in found for file in run]
    if twice := next((file for file in files if files.count(file) > 1), None):
        raise UsageError(f"{twice} is named twice; a run counts once")
    return found


def find_files(name: str, storage: Path = STORAGE) -> list[Path]:
    """The files that `name` stands for.

    A path to a file; a directory, for every JSON file in it (the shards of one run); else what pytest-benchmark saved
    in `storage`: a number (`3`, `0003`), the whole stem (`0003_main`), or the name given to `--benchmark-save` (the
    newest of that name), each also behind a machine's folder (`Linux-CPython-3.11-64bit/3`).

    Raises UsageError where nothing or more than one run fits.
    """
    if _exists(name):
        path = Path(name)
        shards = sorted(path.glob("*.json")) if path.is_dir() else [path]  # a pipe too
        if not shards:
            raise UsageError(f"{path}: no JSON file in this directory; name a file or a directory of shards")
        return shards
    folder, _, wanted = name.rpartition("/")
    runs = [file for file in saved_runs(storage) if file.parent.name == folder or not folder]
    found = [file for file in runs if _answers_to(file, wanted)]
    newest = [file for file in found if _number(file) == _number(found[-1])]
    if not newest:
        known = f"; it holds {', '.join(file.stem for file in runs[-5:])}" if runs else ""
        raise UsageError(f"{name}: no such file, directory, or run in {storage}{known}")
    if len(newest) > 1:
        raise UsageError(f"{name} is ambiguous: {' or '.join(f'{file.parent.name}/{file.stem}' for file in newest)}")
    return newest


def saved_runs(storage: Path) -> list[Path]:
    """All runs in pytest-benchmark's storage, the oldest first."""
    files = [file for file in storage.glob("**/*.json") if SAVED.fullmatch(file.stem)]
    return sorted(files, key=lambda file: (_number(file), file.parent.name, file.stem))


def next_path(folder: Path, name: str) -> Path:
    """The file that the next run of a machine's folder goes to, numbered as pytest-benchmark numbers them."""
    numbers = [_number(file) for file in folder.glob("*.json") if SAVED.fullmatch(file.stem)]
    return folder / f"{max(numbers, default=0) + 1:04d}_{name}.json"


def _exists(name: str) -> bool:
    """Whether `name` is a path to something; one that is too long for a path is none."""
    return os.path.exists(name)  # noqa: PTH110  Path.exists raises there


def _fitting(pattern: str, storage: Path) -> list[str]:
    """The paths that a glob fits; else the saved runs whose stem it fits, alone or behind the machine's folder."""
    paths = sorted(glob.glob(pattern))  # noqa: PTH207  Path.glob takes neither an absolute pattern nor every other
    stems = ((file, (file.stem, f"{file.parent.name}/{file.stem}")) for file in saved_runs(storage))
    return paths or [str(file) for file, names in stems if any(fnmatch.fnmatchcase(name, pattern) for name in names)]


def _answers_to(file: Path, wanted: str) -> bool:
    match = SAVED.fullmatch(file.stem)
    assert match is not None
    return wanted in (file.stem, match["name"]) or (wanted.isdecimal() and int(wanted) == int(match["number"]))


def _number(file: Path) -> int:
    return int(file.stem.partition("_")[0])
