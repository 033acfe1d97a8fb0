"""A user's own file is read whole, or the error names file and row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from benchsuite.data.examples import Document, Instruction, LabelledText, Problem, Source
from benchsuite.data.files import names_file, source
from benchsuite.errors import DataError, FileFormatError, UnavailableError, UnknownNameError, UsageError

ROWS: dict[str, list[dict[str, Any]]] = {
    "lm": [{"text": "One."}, {"text": "Twö."}],
    "exact-match": [{"question": f"{n}?", "answer": f"So\n#### {n}"} for n in range(7)],
    "classification": [{"text": "a", "label": "sea"}, {"text": "b", "label": "air"}, {"text": "c", "label": "sea"}],
    "instructions": [{"instruction": "Do", "output": "Done"}, {"instruction": "Do", "input": "it", "output": "Yes"}],
}
WANTED: dict[str, tuple[Any, ...]] = {
    "lm": (Document("One."), Document("Twö.")),
    "exact-match": (Problem("5?", "So\n#### 5"), Problem("6?", "So\n#### 6")),
    "classification": (LabelledText("a", 1), LabelledText("b", 0), LabelledText("c", 1)),
    "instructions": (Instruction("Do", "", "Done"), Instruction("Do", "it", "Yes")),
}


def write(path: Path, rows: list[Any]) -> Path:
    if path.suffix == ".parquet":
        pd.DataFrame(rows).to_parquet(path)
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows), encoding="utf-8")
    else:
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".parquet"])
@pytest.mark.parametrize("task", list(ROWS))
def test_every_kind_of_file_holds_every_task(tmp_path: Path, suffix: str, task: Any) -> None:
    examples = source(write(tmp_path / f"mine{suffix}", ROWS[task]), task).load("test", None)
    assert examples.items == WANTED[task]
    assert examples.dataset == f"mine{suffix}"
    assert examples.labels == (("air", "sea") if task == "classification" else ())


def test_a_text_file_is_one_document(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("One.\n\nTwo.\n", encoding="utf-8-sig")
    assert source(tmp_path / "mine.txt", "lm").load("test", None).items == (Document("One.\n\nTwo.\n"),)


def test_the_first_five_problems_are_the_shots_and_counted(tmp_path: Path) -> None:
    examples = source(write(tmp_path / "mine.jsonl", ROWS["exact-match"]), "exact-match").load("test", 1)
    assert [shot.question for shot in examples.shots] == ["0?", "1?", "2?", "3?", "4?"]
    assert examples.excluded == {"rows used as shots": 5}
    assert (len(examples.items), examples.limited) == (1, 1)


@pytest.mark.parametrize(
    ("task", "row", "message"),
    [
        ("lm", {"body": "x"}, "no column 'text'"),
        ("lm", {"text": " \n"}, "'text' is empty"),
        ("lm", {"text": 5}, "wanted text"),
        ("lm", ["text"], "wanted an object"),
        ("exact-match", {"question": "1?", "answer": "one"}, "#### N"),
        ("exact-match", {"question": "", "answer": "#### 1"}, "'question' is empty"),
        ("classification", {"text": "x", "label": 3}, "wanted text"),
        ("instructions", {"instruction": "Do", "output": ""}, "'output' is empty"),
        ("instructions", {"instruction": "Do", "input": 5, "output": "x"}, "'input' is 5"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(tmp_path: Path, task: Any, row: Any, message: str) -> None:
    path = write(tmp_path / "mine.jsonl", [*ROWS[task], row])
    with pytest.raises(DataError, match=f"mine.jsonl, line {len(ROWS[task]) + 1}: ") as error:
        source(path, task).load("test", None)
    assert message in str(error.value)


def test_text_that_is_not_utf8_is_named_by_line(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_bytes("café\nna".encode() + b"\xefve\n")
    with pytest.raises(DataError, match=r"mine.txt, line 2: not UTF-8 \(byte 0xef at offset 8\)"):
        source(tmp_path / "mine.txt", "lm").load("test", None)


def test_what_is_not_json_is_named_by_line(tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text('{"text": "a"}\n\n{"text": \n')
    with pytest.raises(DataError, match=r"mine\.jsonl, line 3: not JSON"):
        source(tmp_path / "mine.jsonl", "lm").load("test", None)


def test_a_damaged_parquet_file_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.parquet", ROWS["lm"])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(FileFormatError, match=r"mine.parquet: truncated"):
        source(path, "lm").load("test", None)


@pytest.mark.parametrize(("task", "rows"), [("lm", []), ("exact-match", ROWS["exact-match"][:5])])
def test_a_file_without_examples_is_an_error(tmp_path: Path, task: Any, rows: list[Any]) -> None:
    with pytest.raises(DataError, match="wanted at least one"):
        source(write(tmp_path / "mine.jsonl", rows), task).load("test", None)


@pytest.mark.parametrize(("name", "task"), [("mine.csv", "lm"), ("absent.jsonl", "lm"), ("mine.txt", "classification")])
def test_a_file_that_cannot_serve_is_a_usage_error(tmp_path: Path, name: str, task: Any) -> None:
    (tmp_path / "mine.csv").write_text("a")
    (tmp_path / "mine.txt").write_text("a")
    with pytest.raises(UsageError, match=name):
        source(tmp_path / name, task)


def test_an_unknown_task_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'lm'"):
        source(tmp_path / "mine.jsonl", "lmm")  # type: ignore[arg-type]


def test_a_dataset_of_an_unknown_task_is_refused_where_it_is_made() -> None:
    """No question would ask it, and the run would pass without it."""
    with pytest.raises(UnknownNameError, match="known: lm, exact-match"):
        Source("mine", "translation", lambda *_: None)  # type: ignore[arg-type]


def test_a_file_has_no_train_split(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="no train split"):
        source(write(tmp_path / "mine.jsonl", ROWS["lm"]), "lm").load("train", None)


def test_names_of_files_are_told_from_names_of_datasets() -> None:
    assert [names_file(name) for name in ("a/b.txt", "c.parquet", "wikitext2", "ag_news")] == [True, True, False, False]
