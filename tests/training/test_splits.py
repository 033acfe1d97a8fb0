from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchsuite.data.examples import Examples, Source
from benchsuite.data.files import task_of_rows
from benchsuite.data.synthetic import headlines
from benchsuite.errors import DataError, UnavailableError, UnknownNameError, UsageError
from benchsuite.registry import Registry
from benchsuite.training import splits as module
from benchsuite.training.splits import load_splits

ROWS = [{"instruction": f"Count to {i}.", "input": "", "output": str(i)} for i in range(100)]


@pytest.fixture
def instructions(tmp_path):
    def write(rows, name="rows.json"):
        (tmp_path / name).write_text(json.dumps(rows))
        return str(tmp_path / name)

    return write


def outputs(examples):
    return [item.output for item in examples.items]


def test_a_file_is_dealt_out_85_5_10_and_every_example_is_in_one_split(instructions):
    found = load_splits(instructions(ROWS), ("instructions",), seed=1)
    assert [len(part.items) for part in (found.train, found.validation, found.test)] == [85, 5, 10]
    everything = outputs(found.train) + outputs(found.validation) + outputs(found.test)
    assert sorted(everything, key=int) == [row["output"] for row in ROWS]


def test_the_seed_decides_who_is_where_and_nothing_else_does(instructions):
    file = instructions(ROWS)
    first, again, other = (load_splits(file, ("instructions",), seed=seed) for seed in (1, 1, 2))
    assert first.fingerprint() == again.fingerprint() != other.fingerprint()


def test_given_files_leave_the_rest_to_the_train_split(instructions):
    given = instructions(ROWS[:7], "test.json")
    found = load_splits(instructions(ROWS[7:]), ("instructions",), seed=0, test=given)
    assert outputs(found.test) == [row["output"] for row in ROWS[:7]]
    assert len(found.train.items) + len(found.validation.items) == 93


def test_an_empty_split_is_named(instructions):
    with pytest.raises(DataError, match=r"the validation split of .* is empty"):
        load_splits(instructions(ROWS[:3]), ("instructions",), seed=0)


def test_an_example_without_output_is_named(instructions):
    with pytest.raises(DataError, match=r"rows\.json.*output"):
        load_splits(instructions([*ROWS, {"instruction": "Say nothing."}]), ("instructions",), seed=0)


@pytest.mark.parametrize("label", [None, 1.5, True, ["World"]])
def test_a_label_of_another_type_is_named(tmp_path, label):
    rows = [{"text": f"News {i}", "label": "World"} for i in range(50)] + [{"text": "News", "label": label}]
    (tmp_path / "news.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(DataError, match=r"news\.jsonl, line 51.*label"):
        load_splits(str(tmp_path / "news.jsonl"), ("classification",), seed=0)


def test_labels_of_a_test_file_mean_the_same_as_those_of_the_train_file(tmp_path):
    train = [{"text": f"News {i}", "label": "ABC"[i % 3]} for i in range(60)]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, train)))
    (tmp_path / "test.jsonl").write_text(json.dumps({"text": "Late news", "label": "C"}))
    found = load_splits(str(tmp_path / "train.jsonl"), ("classification",), seed=0, test=str(tmp_path / "test.jsonl"))
    assert found.test.labels == ("A", "B", "C")
    assert [item.label for item in found.test.items] == [2]


@pytest.fixture
def register(monkeypatch):
    """Register a dataset of headlines under a name, in a registry of its own."""
    registry = Registry("dataset")
    monkeypatch.setattr(module, "datasets", registry)

    def load(split, _):
        if split == "validation":
            raise UnavailableError("it has none")
        return Examples("news", "classification", split, headlines.headlines(split, 100), headlines.LABELS)

    return lambda name: registry.register(name, Source(name, "classification", load))


def test_a_dataset_without_a_validation_split_gives_a_part_of_its_train_split(register):
    register("news")
    found = load_splits("news", ("classification",), seed=0)
    assert (len(found.train.items), len(found.validation.items), len(found.test.items)) == (95, 5, 100)
    assert not set(found.train.items) & set(found.validation.items)


@pytest.mark.parametrize("name", ["world-news", "world_news"])
def test_a_dash_in_a_name_is_a_dash_or_an_underscore(register, name):
    register(name)
    assert len(load_splits("world-news", ("classification",), seed=0).test.items) == 100


def test_a_dataset_for_another_task_is_a_usage_error():
    with pytest.raises(UsageError, match="prose is a dataset for lm; one for classification was wanted"):
        load_splits("prose", ("classification",), seed=0)


def test_an_unknown_dataset_is_named_with_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'headlines'"):
        load_splits("headline", ("classification",), seed=0)


def test_files_for_splits_do_not_go_with_a_named_dataset():
    with pytest.raises(UsageError, match="has splits of its own"):
        load_splits("headlines", ("classification",), seed=0, test="test.jsonl")


def test_the_columns_of_a_file_say_its_task(tmp_path):
    rows = {"lm": {"text": "a"}, "instructions": {"instruction": "a", "output": "b", "text": "c"}}
    for task, row in rows.items():
        path = tmp_path / f"{task}.jsonl"
        path.write_text(json.dumps(row) + "\n")
        assert task_of_rows(path, ("lm", "instructions")) == task


def test_one_class_is_none(tmp_path):
    path = tmp_path / "one.json"
    path.write_text(json.dumps([{"text": f"text {index}", "label": "cat"} for index in range(40)]))
    with pytest.raises(DataError, match="one label only, 'cat'"):
        load_splits(str(path), ("classification",), seed=0)


def test_a_file_of_another_kind_is_named_as_one(tmp_path: Path) -> None:
    file = tmp_path / "reviews.csv"
    file.write_text("text,label\n")
    with pytest.raises(UsageError, match="wanted a file that ends in"):
        load_splits(str(file), ["classification"], seed=0)
