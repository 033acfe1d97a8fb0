from __future__ import annotations

from pathlib import Path

import pytest

from benchsuite.errors import UsageError
from benchsuite.verdicts.storage import find_files, find_runs, next_path, saved_runs


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    for name in ("Linux-3.11/0001_main", "Linux-3.11/0002_main", "Linux-3.11/0010_try", "Darwin-3.11/0010_mac"):
        file = tmp_path / f"{name}.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text("{}")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "stem"),
    [("1", "0001_main"), ("0001", "0001_main"), ("0002_main", "0002_main"), ("main", "0002_main"), ("try", "0010_try")],
)
def test_a_saved_run_is_found_by_number_stem_or_name(storage: Path, name: str, stem: str) -> None:
    assert [file.stem for file in find_files(name, storage)] == [stem]


def test_a_number_on_two_machines_is_ambiguous_until_the_folder_is_named(storage: Path) -> None:
    with pytest.raises(UsageError, match=r"ambiguous: Darwin-3\.11/0010_mac or Linux-3\.11/0010_try"):
        find_files("10", storage)
    assert find_files("Darwin-3.11/10", storage) == [storage / "Darwin-3.11/0010_mac.json"]


def test_a_path_goes_before_a_name_and_a_directory_is_its_shards(tmp_path: Path, storage: Path) -> None:
    for name in ("b.json", "a.json", "notes.txt"):
        (tmp_path / "shards").mkdir(exist_ok=True)
        (tmp_path / "shards" / name).write_text("{}")
    assert [file.name for file in find_files(str(tmp_path / "shards"), storage)] == ["a.json", "b.json"]
    assert find_files(str(tmp_path / "shards" / "a.json"), storage) == [tmp_path / "shards" / "a.json"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no JSON file"):
        find_files(str(tmp_path / "empty"), storage)


def test_a_name_that_is_nothing_is_a_usage_error_that_says_what_there_is(storage: Path) -> None:
    with pytest.raises(UsageError, match=r"9999: no such file, directory, or run.*0010_try"):
        find_files("9999", storage)


def test_a_name_that_is_too_long_for_a_path_is_one_that_is_nothing(storage: Path) -> None:
    for find in (find_files, find_runs):
        with pytest.raises(UsageError, match="aaa: no such file, directory, or run"):
            find("a" * 300, storage)
    with pytest.raises(UsageError, match=r"aaa\*: fits no file"):
        find_runs("a" * 300 + "*", storage)


def test_saved_runs_come_oldest_first(storage: Path) -> None:
    assert [file.stem for file in saved_runs(storage)] == ["0001_main", "0002_main", "0010_mac", "0010_try"]


def test_the_next_run_has_the_number_after_the_largest_of_its_machine(storage: Path) -> None:
    (storage / "Linux-3.11" / "notes.json").write_text("{}")
    assert next_path(storage / "Linux-3.11", "new") == storage / "Linux-3.11" / "0011_new.json"
    assert next_path(storage / "Windows", "new").name == "0001_new.json"


def test_comma_lists_and_globs_are_several_runs(tmp_path: Path, storage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("A-1.json", "A-2.json", "A,3.json"):
        (tmp_path / name).write_text("{}")
    named = {
        "A-*.json": ["A-1.json", "A-2.json"],
        "A-2.json, A-1.json": ["A-2.json", "A-1.json"],
        "A,3.json": ["A,3.json"],
    }
    for given, wanted in named.items():
        assert [[file.name for file in run] for run in find_runs(given, storage)] == [[name] for name in wanted]
    assert [run[0].stem for run in find_runs("1,try", storage)] == ["0001_main", "0010_try"]
    assert [run[0].stem for run in find_runs("*_main", storage)] == ["0001_main", "0002_main"]
    assert [run[0].stem for run in find_runs("Linux-*/*_try", storage / ".")] == ["0010_try"]
    assert [run[0].name for run in find_runs(f"{tmp_path}/A-?.js*", storage)] == ["A-1.json", "A-2.json"]
    assert [run[0].stem for run in find_runs("Linux*/0001*.json", storage)] == ["0001_main"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("A-1.json,A-*.json", "A-1.json is named twice"),
        ("B-*.json", "fits no file"),
        (",", "names no run"),
        ("", "names no run"),
        ("a**b/*", "fits no file"),
    ],
)
def test_a_run_that_counts_twice_or_not_at_all_is_refused(
    given: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "A-1.json").write_text("{}")
    with pytest.raises(UsageError, match=told):
        find_runs(given)
