"""What a dataset holds, by task: plain frozen dataclasses, no heavy import.

A dataset is a `Source`: it has a name and a task and loads one split as the examples of that task.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Literal, get_args

from benchsuite.errors import UnknownNameError

Task = Literal["lm", "exact-match", "classification", "instructions"]
Split = Literal["train", "validation", "test"]
TASKS: tuple[Task, ...] = get_args(Task)


@dataclass(frozen=True)
class Document:
    """One text for language modelling.

    `text` is what is scored as a document; `rows` are the raw rows that it was put together from and `original` the
    page whose words and bytes are counted, where these differ from the text. Where there is an `ending`, it is the end
    of the text and alone is scored (lambada's last word).
    """

    text: str
    rows: tuple[str, ...] = ()
    original: str = ""
    ending: str = ""


@dataclass(frozen=True)
class Problem:
    """A question and its worked answer, which ends in `#### N`."""

    question: str
    answer: str


@dataclass(frozen=True)
class LabelledText:
    """A text and the index of its class in the dataset's `labels`."""

    text: str
    label: int


@dataclass(frozen=True)
class Instruction:
    """An instruction, its optional input (empty where there is none) and the right output."""

    instruction: str
    input: str
    output: str
    kind: str = ""  # what is exercised (plural, antonym, …), where the source says so


Example = Document | Problem | LabelledText | Instruction


@dataclass(frozen=True)
class Examples:
    """One split of a dataset, in the order of the source.

    `shots` are the few-shot examples of exact match (from the train split); `labels` the class names of classification;
    `limited` is the number of examples asked for where fewer than all are held, `excluded` counts what was left out and
    why. `items` all have the type of `task`: Document, Problem, LabelledText, Instruction.
    """

    dataset: str
    task: Task
    split: Split
    items: tuple[Example, ...]
    labels: tuple[str, ...] = ()
    shots: tuple[Problem, ...] = ()
    limited: int | None = None
    excluded: dict[str, int] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """What an error about an item begins with."""
        return f"{self.dataset} ({self.split})"

    def fingerprint(self) -> str:
        """SHA-256 (hexadecimal) of everything that is scored: items, labels and shots."""
        held = [self.task, self.labels, [asdict(shot) for shot in self.shots], [asdict(item) for item in self.items]]
        return hashlib.sha256(json.dumps(held, ensure_ascii=False).encode()).hexdigest()


@dataclass(frozen=True)
class Source:
    """A named dataset: `load(split, limit)` gives the first `limit` examples of a split, or all of them."""

    name: str
    task: Task
    load: Callable[[Split, int | None], Examples]

    def __post_init__(self) -> None:
        if self.task not in TASKS:  # no question would ask it, and nothing would say so
            raise UnknownNameError("task", str(self.task), TASKS)


def take(items: Iterable[Example], limit: int | None) -> tuple[tuple[Example, ...], int | None]:
    """The first `limit` items and the limit that really bites (None where all are held)."""
    left = iter(items)
    taken = tuple(islice(left, limit))
    return taken, limit if next(left, None) is not None else None
