"""One run of the matrix: the resident model, the cell that is being measured, and every record that came of it."""

from __future__ import annotations

import io
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from benchsuite.data import datasets
from benchsuite.data.examples import Examples
from benchsuite.device import resolve_device
from benchsuite.engines import Engine, format_of, start_engine
from benchsuite.engines.source import Source, open_source
from benchsuite.errors import FileFormatError, MissingError, OutputError, UnavailableError, UsageError
from benchsuite.files import writable_directory
from benchsuite.matrix import Matrix, Question, read_settings
from benchsuite.measure.generation import NEW_TOKENS, PROMPT_TOKENS, require_context
from benchsuite.measure.limits import Limits, read_limits
from benchsuite.measure.machine import describe_machine
from benchsuite.measure.memory import Job, Peak, Work, peaks_of_fresh_process
from benchsuite.measure.resident import Loaded, Resident
from benchsuite.models import models
from benchsuite.models.in_precision import load
from benchsuite.record import KEY, Cell, Record, Status, to_json
from benchsuite.report.progress import Progress
from benchsuite.report.table import print_summary
from benchsuite.report.track import track_matrix
from benchsuite.report.verdicts import message
from benchsuite.results_file import ResultsFile
from benchsuite.verdicts.budgets import make_budgets
from benchsuite.verdicts.compare import Policy, gate, read_side
from benchsuite.verdicts.storage import find_files

MODEL_AXES = ("model", "precision", "attention", "engine")


class Session:
    """Everything that one `pytest bench` holds between its cells."""

    def __init__(self, matrix: Matrix, config: pytest.Config, items: Sequence[pytest.Item]) -> None:
        self.matrix = matrix
        self._config = config
        self._items = items
        markers = [(item, item.get_closest_marker("benchsuite")) for item in items]
        self._gauged = [params_of(item) for item, marker in markers if marker and Question(**marker.kwargs).memory]
        plugins = (str(getattr(plugin, "__file__", "")) for plugin in config.pluginmanager.get_plugins())
        self._conftests = tuple(sorted(file for file in plugins if file.endswith("conftest.py")))
        self.device = resolve_device(matrix.device)
        self.progress = Progress(config)
        self._resident = Resident()
        self._sources: dict[str, Source] = {}
        self._examples: dict[str, Examples] = {}
        self._peaks: dict[Job, dict[Work, Peak | str]] = {}
        self._records: dict[str, Record] = {}
        self._baseline, self._policy = _read_baseline(config)
        samples, profiles = config.option.samples, config.option.profile_cells
        self.samples = writable_directory(samples, "--samples") if samples else None
        self.profiles = writable_directory(profiles, "--profile-cells") if profiles else None
        self.limits = _read_limits(self.device) if profiles else None
        self.results = ResultsFile(config)

    def loaded(self, model: str, precision: str, attention: str) -> Loaded:
        """The model in that precision, loaded now unless it is resident."""
        with self.progress.showing(f"loading {models[model].name} in {precision}"):
            key = (model, precision, attention)
            return self._resident.get(key, lambda: Loaded(*load(model, precision, self.device, attention)))

    def engine(self, name: str, model: str, precision: str) -> Engine:
        """Another engine with the weights of a model, held the way that is nearest to a precision."""
        form = format_of(name, precision)
        with self.progress.showing(f"loading {models[model].name} into {name} as {form}"):
            source = self.source(model)
            require_context(source.name, source.n_positions, PROMPT_TOKENS, NEW_TOKENS)
            threads = torch.get_num_threads()
            return self._resident.get(
                (name, model, form), lambda: start_engine(f"{name}:{form}", source, threads=threads, device=self.device)
            )

    def source(self, model: str) -> Source:
        """The weights that every other engine gets."""
        if model not in self._sources:
            self._sources[model] = open_source(model)
        return self._sources[model]

    def examples(self, dataset: str) -> Examples:
        """The test split of a dataset, at most the matrix's limit of examples."""
        if dataset not in self._examples:
            with self.progress.showing(f"reading {dataset}"):
                try:
                    self._examples[dataset] = datasets[dataset].load("test", self.matrix.limit)
                except UnavailableError as error:
                    raise MissingError(str(error)) from error
        return self._examples[dataset]

    def peak(self, point: Mapping[str, Any]) -> Peak:
        """The peak of one point's work; one fresh process does all work of the run for a model in a precision."""
        alike = [other for other in self._gauged if all(other[axis] == point[axis] for axis in MODEL_AXES)]
        works = dict.fromkeys((other.get("dataset"), other["batch_size"]) for other in alike)
        engine = point["engine"]
        job = Job(
            point["model"], point["precision"], point["attention"], self.matrix.limit, tuple(works), self._conftests,
            engine, None if engine == "native" else self.source(point["model"]),
        )  # fmt: skip
        if job not in self._peaks:
            with self.progress.showing(f"measuring the memory of {job.precision} in a fresh process"):
                try:
                    self._peaks[job] = peaks_of_fresh_process(job)
                except UnavailableError as error:  # tried once
                    self._peaks[job] = dict.fromkeys(job.works, str(error))
        found = self._peaks[job][point.get("dataset"), point["batch_size"]]
        if isinstance(found, str):
            raise UnavailableError(found)
        return found

    def drop(self) -> None:
        """Give back the resident model's memory."""
        self._resident.drop()

    def keep(self, item: pytest.Item, record: Record) -> None:
        """Keep a finished record."""
        self._records[item.nodeid] = record

    def judge(self, record: Record) -> None:
        """Fail the test of a cell that is worse than in the baseline or not there, with the verdicts as its message."""
        if self._baseline is not None:
            verdicts = gate(self._baseline, record, self._policy)
            if bad := [verdict for verdict in verdicts if verdict.outcome in ("worse", "missing", "not comparable")]:
                pytest.fail("\n".join(map(message, bad)), pytrace=False)

    def did_not_finish(self, item: pytest.Item, report: pytest.TestReport) -> None:
        """Keep the record of a cell that was skipped or failed before all was measured, with the reason."""
        if item.nodeid not in self._records:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
            crash = getattr(report.longrepr, "reprcrash", None)
            if crash and not reason.endswith(crash.message.removeprefix("Failed: ")):
                reason += f"\n{crash.message.partition(chr(10))[0]}"  # a traceback ends in the error's name alone
            status: Status = "skipped" if report.outcome == "skipped" else "failed"
            reason = reason.removeprefix("Skipped: ").strip()
            self._records[item.nodeid] = Record(cell_of(self, item), status=status, reason=reason)

    def end(self) -> None:
        """Keep a record of every cell that the run did not come to."""
        self._records |= self._not_reached()

    def _not_reached(self) -> dict[str, Record]:
        """Records of the cells without one, by test: without them the file of a killed run would look like a whole."""
        reason = "the run had not finished this cell"
        left = (item for item in self._items if item.nodeid not in self._records)
        return {item.nodeid: Record(cell_of(self, item), status="failed", reason=reason) for item in left}

    def finish_json(self, output_json: dict[str, Any]) -> None:
        """Put the cells that were skipped, failed or not reached into pytest-benchmark's JSON, and make it strict."""
        records = self._records | self._not_reached()
        unmeasured = [to_json(record) for record in records.values() if record.status != "passed"]
        last = {run["fullname"]: run for run in output_json["benchmarks"]}  # of a cell that was run again
        measured = {**output_json, "benchmarks": list(last.values()), KEY: {"unmeasured": unmeasured}}
        output_json.update(without_nan(measured))

    def print_table(self) -> None:
        """The table of this run, in colours where the terminal has them."""
        writer = self._config.get_terminal_writer()
        text = io.StringIO()
        console = Console(file=text, force_terminal=writer.hasmarkup, width=writer.fullwidth)
        print_summary(list(self._records.values()), console)
        writer.line()
        writer.write(text.getvalue())
        if self.profiles and self._records:
            drawn = any(self.profiles.glob("*/roofline.*"))
            why = "" if drawn else "; none has a picture of its roofline, its operators.txt says why"
            writer.line(f"benchsuite: the profiles are in {self.profiles}{why}")
        if self.results.path:
            writer.line(self.results.failure or f"benchsuite: the records are in {self.results.path}")

    def track(self) -> None:
        """Send every cell to the trackers that were named."""
        writer = self._config.get_terminal_writer()
        name = time.strftime("bench-%Y%m%d-%H%M%S")
        for tracker in self._config.option.track if self._records else ():
            writer.line(self._sent(tracker, name))

    def _sent(self, tracker: str, name: str) -> str:
        """What became of it: a tracker that takes nothing costs no result."""
        try:
            track_matrix(tracker, list(self._records.values()), name)
        except OutputError as error:
            return str(error)
        return f"{tracker}: {name} has the cells, the table and the pictures"


def _read_baseline(config: pytest.Config) -> tuple[dict[tuple[str, ...], Record] | None, Policy]:
    budgets = make_budgets((), read_settings(config.rootpath).get("budgets"))
    if not config.option.baseline:
        return None, Policy(budgets)
    storage = config._benchmarksession.storage  # type: ignore[attr-defined]
    try:
        return read_side(find_files(config.option.baseline, Path(storage.path))), Policy(budgets)
    except FileFormatError as error:
        raise UsageError(f"--baseline: {error}") from error


def _read_limits(device: str) -> Limits | None:
    try:
        return read_limits(describe_machine(device)["fingerprint"])
    except FileFormatError as error:
        raise UsageError(f"--profile-cells: {error}") from error


def params_of(item: pytest.Item) -> Mapping[str, Any]:
    """The names that a bench test was parametrized with."""
    params: Mapping[str, Any] = item.callspec.params  # type: ignore[attr-defined]
    return params


def cell_of(session: Session, item: pytest.Item) -> Cell:
    """The cell that a bench test measures."""
    point = params_of(item)
    dataset = point.get("dataset")
    return Cell(
        question=item.originalname.removeprefix("test_"),  # type: ignore[attr-defined]
        model=models[point["model"]].name,
        precision=point["precision"],
        dataset=datasets[dataset].name if dataset else "",
        engine=point["engine"],
        attention=point["attention"],
        batch_size=point["batch_size"],
        device=session.device,
        limit=session.matrix.limit if dataset else None,
        options=tuple((name, str(value)) for name, value in point.get("options", {}).items()),
    )


def without_nan(value: Any) -> Any:
    """The same JSON value with null for each NaN and infinity, which JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: without_nan(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(entry) for entry in value]
    return value
