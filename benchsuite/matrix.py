"""The matrix: options become one frozen `Matrix`, which expands into ordered, named points. No heavy import."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchsuite.data import datasets
from benchsuite.data.embedded import EMBEDDED
from benchsuite.data.examples import TASKS, Task
from benchsuite.data.files import named_by_task
from benchsuite.engines import ENGINES
from benchsuite.errors import UnknownNameError, UsageError
from benchsuite.models import ATTENTIONS, models
from benchsuite.quant.precision import precisions

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

REFERENCE = "fp32"


@dataclass(frozen=True)
class Profile:
    """How much to measure where nothing is said: names, a limit of examples, and rounds of the clock."""

    precisions: tuple[str, ...]
    datasets: tuple[str, ...]
    limit: int | None
    rounds: int  # at least 8: fewer cannot tell two runs apart


SAID_BY_PROFILES = ("precision", "dataset", "limit", "task")  # a profile on the command line goes before the settings
PROFILES = {
    "quick": Profile(("fp32", "absmax8-row", "absmax4-g32"), EMBEDDED, limit=16, rounds=8),
    "default": Profile(
        ("fp32", "bf16", "fp16", "absmax8", "absmax8-row", "zeropoint8", "absmax4", "nf4-g64", "bnb-int8", "bnb-nf4"),
        EMBEDDED,
        limit=100,
        rounds=8,
    ),
    "full": Profile(("*",), EMBEDDED, limit=None, rounds=20),
}


@dataclass(frozen=True)
class Question:
    """What a bench test's marker says: the task whose datasets it runs over (None: no dataset), its batch sizes,
    whether the reference precision is one of its cells, the only precisions that it knows (None: all), whether other
    engines than ours are asked too, and whether the fresh process that gauges memory does its work."""

    task: Task | None = None
    batch_sizes: tuple[int, ...] = (8,)
    reference: bool = True
    precisions: tuple[str, ...] | None = None
    engines: bool = False
    memory: bool = True

    def __post_init__(self) -> None:
        if self.task is not None and self.task not in TASKS:
            raise UnknownNameError("task", str(self.task), TASKS)


@dataclass(frozen=True)
class Point:
    """One combination of the matrix, as names; fields that a question does not vary are left at None."""

    model: str
    precision: str
    dataset: str | None
    attention: str
    batch_size: int
    engine: str


@dataclass(frozen=True)
class Matrix:
    """Everything that the command line and `[tool.benchsuite]` say about what is measured."""

    models: tuple[str, ...]
    precisions: tuple[str, ...]
    datasets: tuple[str, ...]
    attentions: tuple[str, ...]
    engines: tuple[str, ...]
    batch_sizes: tuple[int, ...] | None  # None: each question's own
    device: str
    limit: int | None
    rounds: int

    def points(self, question: Question) -> Iterator[Point]:
        """The points of a question, at its own batch sizes unless told otherwise."""
        chosen = [name for name in self.datasets if datasets[name].task == question.task] if question.task else [None]
        engines = [name for name in self.engines if question.engines or name == "native"]
        for model, attention, precision, engine, dataset, batch_size in itertools.product(
            self.models, self.attentions, self.precisions, engines, chosen, self.batch_sizes or question.batch_sizes
        ):
            wanted = precision in (question.precisions or (precision,)) and (
                question.reference or precision != REFERENCE
            )
            if wanted and engine == "native":
                yield Point(model, precision, dataset, attention, batch_size, engine)
            elif wanted and attention == self.attentions[0]:  # other engines choose theirs: one cell, always called so
                yield Point(model, precision, dataset, "sdpa", batch_size, engine)

    def identify(self, point: Point, question: Question) -> str:
        """`model-precision-dataset`, then what else varies; stable whatever the order of options."""
        parts = [models[point.model].name, point.precision, datasets[point.dataset].name if point.dataset else None]
        if self.attentions != ("sdpa",):
            parts.append(point.attention)
        if len(self.batch_sizes or question.batch_sizes) > 1:
            parts.append(f"batch{point.batch_size}")
        if point.engine != "native":
            parts.append(point.engine)
        return "-".join(filter(None, parts))

    def order(self, params: Mapping[str, Any]) -> tuple[int, int, int, int]:
        """Where a cell's model stands in the run: one quantized model after the other, the reference first."""
        return (
            self.models.index(params["model"]),
            self.attentions.index(params["attention"]) if params["attention"] in self.attentions else 0,
            self.precisions.index(params["precision"]),
            self.engines.index(params["engine"]),
        )


def read_settings(root: Path) -> dict[str, Any]:
    """The table `[tool.benchsuite]` of `root`'s pyproject.toml, or nothing where there is none."""
    path = root / "pyproject.toml"
    if not path.is_file():
        return {}
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not TOML: {error}") from error
    tool = table.get("tool", {})
    settings = tool.get("benchsuite", {}) if isinstance(tool, dict) else tool
    if not isinstance(settings, dict):
        raise UsageError(f"{path}: [tool.benchsuite] is to be a table, not {settings!r}")
    return settings


def settings_here() -> dict[str, Any]:
    """The settings of the project that the working directory is in: of the nearest pyproject.toml above it."""
    try:
        here = Path.cwd()
    except FileNotFoundError as error:
        raise UsageError("the working directory is gone; change to one that is there") from error
    return read_settings(next((root for root in (here, *here.parents) if (root / "pyproject.toml").is_file()), here))


def make_matrix(options: Mapping[str, Any], settings: Mapping[str, Any]) -> Matrix:
    """The matrix of the command line's `options` (None or empty: not given), then `settings`, then the profile.

    Raises UsageError for a value that cannot be, naming the nearest known names.
    """
    known = ("profile", "model", "precision", "dataset", "task", "attention", "engine", "batch-size", "device", "limit")
    for key in settings.keys() - {*known, "budgets"}:
        raise UnknownNameError("setting in [tool.benchsuite]", key, known)
    asked = {key: value for key, value in options.items() if value not in (None, [])}
    if "profile" in asked:  # said here and now: what it says of itself goes before the settings
        settings = {key: value for key, value in settings.items() if key not in SAID_BY_PROFILES}
    if "dataset" in asked:  # the task of the settings is that of their own file
        settings = {key: value for key, value in settings.items() if key != "task"}
    given = {**settings, **asked}
    for key in ("profile", "task", "device"):
        if not isinstance(given.get(key, ""), str):
            raise UsageError(f"{key} is {given[key]!r}; a name was wanted")
    name = given.get("profile", "default")
    if name not in PROFILES:
        raise UnknownNameError("profile", str(name), PROFILES)
    profile = PROFILES[name]
    matrix = Matrix(
        models=models.select(_texts(given, "model") or ["tiny"]),
        precisions=_reference_first(precisions.select(_texts(given, "precision") or profile.precisions)),
        datasets=datasets.select(named_by_task(_texts(given, "dataset"), given.get("task")) or profile.datasets),
        attentions=tuple(_texts(given, "attention")) or ("sdpa",),
        engines=tuple(_texts(given, "engine")) or ("native",),
        batch_sizes=tuple(_count(size, "batch-size") for size in _texts(given, "batch-size")) or None,
        device=str(given.get("device", "auto")),
        limit=_count(given["limit"], "limit") if "limit" in given else profile.limit,
        rounds=profile.rounds,
    )
    for attention in matrix.attentions:
        if attention not in ATTENTIONS:
            raise UnknownNameError("attention", attention, ATTENTIONS)
    for engine in matrix.engines:
        if engine not in ENGINES:
            raise UnknownNameError("engine", engine, ENGINES)
    for kind, labels in (
        ("models", [models[name].name for name in matrix.models]),
        ("datasets", [datasets[name].name for name in matrix.datasets]),
    ):
        if repeated := sorted({label for label in labels if labels.count(label) > 1}):
            raise UsageError(f"two {kind} are both called {repeated[0]!r}; rename a directory or measure them apart")
    return matrix


def _reference_first(names: tuple[str, ...]) -> tuple[str, ...]:
    """What the others are compared with is measured before them."""
    return tuple(sorted(names, key=lambda name: name != REFERENCE))


def _texts(given: Mapping[str, Any], key: str) -> list[str]:
    value = given.get(key, [])
    parts = value if isinstance(value, list) else [value]
    names = (part.strip() for entry in parts for part in str(entry).split(","))
    chosen = list(dict.fromkeys(name for name in names if name))
    if parts and not chosen:
        raise UsageError(f"{key} is empty; leave it out for all that the profile says, or name one")
    return chosen


def _count(value: Any, key: str) -> int:
    try:
        count = int(value)
    except (TypeError, ValueError, OverflowError):
        count = 0
    if count < 1 or isinstance(value, bool) or (isinstance(value, float) and value != count):
        raise UsageError(f"{key} is {value!r}; a whole number of at least 1 was wanted")
    return count
