"""A user's own file as a dataset: `source(Path("notes.jsonl"), "lm")`.

| task | columns of a `.jsonl`, `.json` (a list of objects) or `.parquet` file |
| --- | --- |
| `lm` | `text`: one document a row. A `.txt` file is one document |
| `exact-match` | `question`, `answer` (ends in `#### N`); the first five rows are the shots and are not scored |
| `classification` | `text`, `label` (the name of the class) |
| `instructions` | `instruction`, `output`, and `input` where there is one |

Other columns are ignored. A file is one split, `test`. Its name in the registry says the task: `lm:notes.jsonl`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from benchsuite.data import datasets
from benchsuite.data.examples import (
    TASKS,
    Document,
    Example,
    Examples,
    Instruction,
    LabelledText,
    Problem,
    Source,
    Split,
    Task,
    take,
)
from benchsuite.errors import DataError, FileFormatError, UnavailableError, UnknownNameError, UsageError
from benchsuite.files import at_home, is_file

SHOTS = 5
SUFFIXES = (".txt", ".jsonl", ".json", ".parquet")
COLUMNS: dict[Task, tuple[str, ...]] = {
    "lm": ("text",),
    "exact-match": ("question", "answer"),
    "classification": ("text", "label"),
    "instructions": ("instruction", "output"),
}
_QUALIFIED = re.compile(rf"({'|'.join(TASKS)}):(.+)")
_SURROGATE = re.compile("[\ud800-\udfff]")
_FINAL_NUMBER = re.compile(r"#### \S+\s*\Z")


def names_file(name: str) -> bool:
    """Whether a dataset's name means a file: it ends as one of those that can be read, or is there."""
    return name.endswith(SUFFIXES) or is_file(name)


def named_by_task(names: Sequence[str], task: str | None) -> list[str]:
    """Names of datasets, files among them as the registry knows them; a .txt file can only be for lm.

    Raises UsageError for a file whose task is not said, or a task that no file is there for.
    """
    qualified = [match for name in names if (match := _QUALIFIED.fullmatch(name))]
    files = {name for name in names if not _QUALIFIED.fullmatch(name) and names_file(name)}
    if task and not files and not any(match[1] == task for match in qualified):
        raise UsageError(f"--task {task} says what the rows of a file are, but no file is named; add --dataset PATH")
    if task and task not in TASKS:
        raise UnknownNameError("task", task, TASKS)
    return [f"{_task_of(name, task)}:{name}" if name in files else name for name in names]


def _task_of(name: str, task: str | None) -> str:
    if task or name.endswith(".txt"):
        return task or "lm"
    known = "; ".join(f"{each} ({_named(each)})" for each in TASKS)
    raise UsageError(f"dataset {name}: say with --task what its rows are: {known}")


@datasets.family(_QUALIFIED.pattern)
def _own(match: re.Match[str]) -> Source:
    return source(at_home(match[2]), cast("Task", match[1]))


def task_of_rows(path: Path, tasks: Sequence[Task]) -> Task:
    """The one of `tasks` whose columns the first row of a file has; the first of them where none fits."""
    if len(tasks) == 1 or not is_file(path):
        return tasks[0]
    _, row = next(_rows(path), ("", {}))
    fitting = [task for task in tasks if isinstance(row, Mapping) and all(column in row for column in COLUMNS[task])]
    return max(fitting, key=lambda task: len(COLUMNS[task]), default=tasks[0])


def source(path: Path, task: Task) -> Source:
    """A file as a dataset, read when it is loaded.

    Raises UsageError for a file that is not there or of another kind; its `load` raises DataError naming file and row
    for a missing, empty or wrong column, FileFormatError for a damaged file.
    """
    found = Source(path.name, task, lambda split, limit: _load(path, task, split, limit))  # refuses an unknown task
    if path.suffix not in SUFFIXES:
        raise UsageError(f"dataset {path}: wanted a file that ends in {', '.join(SUFFIXES)}")
    if path.suffix == ".txt" and task != "lm":
        raise UsageError(f"dataset {path}: a .txt file is text for lm; {task} needs columns {_named(task)} (.jsonl)")
    if not is_file(path):
        raise UsageError(f"dataset {path}: no such file")
    return found


def _load(path: Path, task: Task, split: Split, limit: int | None) -> Examples:
    if split != "test":
        raise UnavailableError(f"{path} is one split, test; there is no {split} split in it")
    rows = [(where, row) for where, row in _rows(path) if _checked(where, row, task)]
    labels = tuple(sorted({row["label"] for _, row in rows})) if task == "classification" else ()
    examples = [_example(row, task, labels) for _, row in rows]
    shots = examples[:SHOTS] if task == "exact-match" else []
    if len(examples) == len(shots):
        behind = f" behind the {SHOTS} shots" if task == "exact-match" else ""
        raise DataError(f"{path}: {len(examples)} rows; wanted at least one{behind}, with {_named(task)}")
    items, limited = take(examples[len(shots) :], limit)
    return Examples(
        path.name,
        task,
        split,
        items,
        labels,
        tuple(shot for shot in shots if isinstance(shot, Problem)),
        limited,
        {"rows used as shots": len(shots)} if shots else {},
    )


def _checked(where: str, row: Any, task: Task) -> bool:
    """True, or a DataError that says what the row lacks."""
    if not isinstance(row, Mapping):
        raise DataError(f"{where}: wanted an object with {_named(task)}, found {type(row).__name__}")
    for column in COLUMNS[task]:
        if column not in row:
            raise DataError(
                f"{where}: no column {column!r}; {task} needs {_named(task)}, found {', '.join(map(str, row))}"
            )
        if not isinstance(row[column], str):
            raise DataError(f"{where}: {column!r} is {row[column]!r}; wanted text")
        if not row[column].strip():
            raise DataError(f"{where}: {column!r} is empty; fill it or leave the row out")
        if not row[column].isascii() and _SURROGATE.search(row[column]):
            raise DataError(f"{where}: {column!r} holds half of a surrogate pair, which is no character; leave it out")
    if task == "exact-match" and not _FINAL_NUMBER.search(row["answer"]):
        raise DataError(f"{where}: 'answer' does not end in '#### N', which is what is compared")
    if not isinstance(row.get("input") or "", str):
        raise DataError(f"{where}: 'input' is {row['input']!r}; wanted text")
    return True


def _example(row: Mapping[str, Any], task: Task, labels: Sequence[str]) -> Example:
    if task == "lm":
        return Document(row["text"])
    if task == "exact-match":
        return Problem(row["question"], row["answer"].rstrip())
    if task == "classification":
        return LabelledText(row["text"], labels.index(row["label"]))
    return Instruction(row["instruction"], row.get("input") or "", row["output"])


def _rows(path: Path) -> Iterator[tuple[str, Any]]:
    """Every row and where it stands."""
    if path.suffix == ".parquet":
        yield from ((f"{path}, row {index}", row) for index, row in enumerate(_parquet(path)))
    elif path.suffix == ".jsonl":
        for number, line in enumerate(_text(path).split("\n"), 1):
            if line.strip():
                yield f"{path}, line {number}", _json(line, f"{path}, line {number}")
    elif path.suffix == ".json":
        content = _json(_text(path), str(path))
        if not isinstance(content, list):
            raise DataError(f"{path}: wanted a list of objects, found {type(content).__name__}")
        yield from ((f"{path}, item {index}", row) for index, row in enumerate(content))
    else:
        yield str(path), {"text": _text(path)}


def _text(path: Path) -> str:
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}, line {line}: not UTF-8 (byte 0x{content[error.start]:02x} at offset {error.start}); "
            "convert it first, for example with iconv"
        ) from error


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not JSON: {error}") from error


def _parquet(path: Path) -> list[Any]:
    import pyarrow
    from pyarrow import parquet

    try:
        rows: list[Any] = parquet.read_table(path).to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise FileFormatError(f"{path}: truncated or not a Parquet file: {error}") from error
    return rows


def _named(task: Task) -> str:
    return ", ".join(map(repr, COLUMNS[task]))
