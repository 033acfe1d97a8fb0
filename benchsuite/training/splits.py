"""What is trained on, validated with and tested on: a named dataset's splits, or a file's rows dealt out by seed."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchsuite.data import datasets
from benchsuite.data.examples import Example, Examples, LabelledText, Split, Task, take
from benchsuite.data.files import names_file, source, task_of_rows
from benchsuite.errors import DataError, UnavailableError, UsageError

TRAIN_SHARE, TEST_SHARE = 0.85, 0.10  # of a file; what is left validates
HELD_OUT_SHARE = 0.05  # of a train split, where a dataset has none to validate with


@dataclass(frozen=True)
class Splits:
    """The examples to train on, to validate with after each epoch, and to test on once."""

    train: Examples
    validation: Examples
    test: Examples

    def fingerprint(self) -> str:
        """SHA-256 (hexadecimal) of everything that the three splits hold."""
        parts = "".join(examples.fingerprint() for examples in (self.train, self.validation, self.test))
        return hashlib.sha256(parts.encode()).hexdigest()

    def limited(self, train: int | None, test: int | None) -> Splits:
        """The first examples of the train split and of the test split only."""
        return replace(self, train=_first(self.train, train), test=_first(self.test, test))


def load_splits(
    data: str, tasks: Sequence[Task], *, seed: int, validation: str | None = None, test: str | None = None
) -> Splits:
    """The three splits of a named dataset, or of a file (see `benchsuite.data.files`), for one of the `tasks`.

    A file is dealt out by `seed`, 85/10/5 to train, test and validation, less what `validation` and `test` (files too)
    give. A named dataset without a validation split gives 5 % of its train split, by `seed`. Raises DataError where a
    split is empty, UsageError where the dataset is for another task.
    """
    if names_file(data):
        splits = _dealt(data, task_of_rows(Path(data), tasks), seed, validation, test)
    elif validation or test:
        raise UsageError(f"{data} has splits of its own; --validation and --test go with a file")
    else:
        splits = _named(data, tasks, seed)
    for examples in (splits.train, splits.validation, splits.test):
        if not examples.items:
            raise DataError(
                f"the {examples.split} split of {data} is empty; give more examples, or a file for that split"
            )
    if splits.train.task == "classification" and len(splits.train.labels) < 2:
        raise DataError(f"{data} has one label only, {splits.train.labels[0]!r}; a classifier tells at least two apart")
    return splits


def _named(name: str, tasks: Sequence[Task], seed: int) -> Splits:
    found = datasets[name if name in datasets.names() else name.replace("-", "_")]  # ag-news
    if found.task not in tasks:
        raise UsageError(f"{name} is a dataset for {found.task}; one for {' or '.join(tasks)} was wanted")
    train, test = found.load("train", None), found.load("test", None)
    try:
        return Splits(train, found.load("validation", None), test)
    except UnavailableError:  # its train split is here, so it has none
        items = _shuffled(train.items, seed)
        held_out = round(HELD_OUT_SHARE * len(items))
        validation = replace(train, split="validation", items=tuple(items[:held_out]))
        return Splits(replace(train, items=tuple(items[held_out:])), validation, test)


def _dealt(data: str, task: Task, seed: int, validation: str | None, test: str | None) -> Splits:
    whole = source(Path(data), task).load("test", None)
    items = _shuffled(whole.items, seed)
    train, tested = round(TRAIN_SHARE * len(items)), round(TEST_SHARE * len(items))
    train += (tested if test else 0) + (len(items) - train - tested if validation else 0)
    tested = 0 if test else tested

    def split(name: Split, start: int, stop: int | None, file: str | None) -> Examples:
        if file is None:
            return replace(whole, split=name, items=tuple(items[start:stop]))
        given = source(Path(file), task).load("test", None)
        return replace(given, split=name, items=_relabelled(given, whole.labels, file), labels=whole.labels)

    return Splits(
        split("train", 0, train, None),
        split("validation", train + tested, None, validation),
        split("test", train, train + tested, test),
    )


def _relabelled(examples: Examples, labels: tuple[str, ...], file: str) -> tuple[Example, ...]:
    """The same examples with their labels as indices of `labels`."""
    unknown = [label for label in examples.labels if label not in labels]
    if unknown:
        raise DataError(f"{file}: the label {unknown[0]!r} is not one of the training file's, {', '.join(labels)}")
    return tuple(
        replace(item, label=labels.index(examples.labels[item.label])) if isinstance(item, LabelledText) else item
        for item in examples.items
    )


def _shuffled(items: Sequence[Example], seed: int) -> list[Example]:
    shuffled = list(items)
    random.Random(seed).shuffle(shuffled)  # noqa: S311  (no secret)
    return shuffled


def _first(examples: Examples, limit: int | None) -> Examples:
    items, limited = take(examples.items, limit)
    return replace(examples, items=items, limited=limited)
