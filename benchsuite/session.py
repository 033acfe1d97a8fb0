"""One run of the matrix: the resident model, the cell that is being measured, and every record that came of it."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import pytest
import torch
from rich.console import Console

from benchsuite.data import datasets
from benchsuite.data.examples import Examples
from benchsuite.engines import Engine, format_of, start_engine
from benchsuite.engines.native import NativeEngine
from benchsuite.engines.source import Source, open_source
from benchsuite.errors import FileFormatError, MissingError, OutputError, UnavailableError, UsageError
from benchsuite.evals.samples import write_samples
from benchsuite.files import writable_directory
from benchsuite.matrix import REFERENCE, Matrix, read_settings
from benchsuite.measure.cell import Measurement, quantizing
from benchsuite.measure.machine import resolve_device
from benchsuite.measure.memory import Job, Peak, Work, peaks_of_fresh_process
from benchsuite.measure.resident import Loaded, Resident, apply_precision, load
from benchsuite.models import models
from benchsuite.models.language_model import LanguageModel
from benchsuite.quant.apply import size_bytes
from benchsuite.record import KEY, Cell, Record, Status, to_json
from benchsuite.report.profile import Round, profile_name, write_profile
from benchsuite.report.progress import Progress
from benchsuite.report.table import print_summary
from benchsuite.report.track import track_matrix
from benchsuite.report.verdicts import message
from benchsuite.verdicts.budgets import make_budgets
from benchsuite.verdicts.compare import Policy, gate, read_side
from benchsuite.verdicts.storage import find_files

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

    from benchsuite.evals.evaluation import Evaluation

MODEL_AXES = ("model", "precision", "attention", "engine")
CLOCK_BUDGET_S = 120.0  # slow work is repeated less often than the profile says


class Session:
    """Everything that one `pytest bench` holds between its cells."""

    def __init__(self, matrix: Matrix, config: pytest.Config, items: Sequence[pytest.Item]) -> None:
        self.matrix = matrix
        self._config = config
        self._points = [params_of(item) for item in items]
        plugins = (str(getattr(plugin, "__file__", "")) for plugin in config.pluginmanager.get_plugins())
        self._conftests = tuple(sorted(file for file in plugins if file.endswith("conftest.py")))
        self.device = resolve_device(matrix.device)
        self.progress = Progress(config)
        self._resident = Resident()
        self._sources: dict[str, Source] = {}
        self._examples: dict[str, Examples] = {}
        self._peaks: dict[Job, dict[Work, Peak]] = {}
        self._records: dict[str, Record] = {}
        self._baseline, self._policy = _read_baseline(config)
        samples, profiles = config.option.samples, config.option.profile_cells
        self.samples = writable_directory(samples, "--samples") if samples else None
        self.profiles = writable_directory(profiles, "--profile-cells") if profiles else None

    def loaded(self, model: str, precision: str, device: str, attention: str) -> Loaded:
        """The model in that precision, loaded now unless it is resident."""
        with self.progress.showing(f"loading {models[model].name} in {precision}"):
            key = (model, precision, device, attention)
            return self._resident.get(key, lambda: Loaded(*load(model, precision, device, attention)))

    def engine(self, name: str, model: str, precision: str) -> Engine:
        """Another engine with the weights of a model, held the way that is nearest to a precision."""
        form = format_of(name, precision)
        with self.progress.showing(f"loading {models[model].name} into {name} as {form}"):
            source = self.source(model)
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
        alike = [other for other in self._points if all(other[axis] == point[axis] for axis in MODEL_AXES)]
        works = dict.fromkeys((other.get("dataset"), other["batch_size"]) for other in alike)
        engine = point["engine"]
        job = Job(
            point["model"], point["precision"], point["attention"], self.matrix.limit, tuple(works), self._conftests,
            engine, None if engine == "native" else self.source(point["model"]),
        )  # fmt: skip
        if job not in self._peaks:
            with self.progress.showing(f"measuring the memory of {job.precision} in a fresh process"):
                self._peaks[job] = peaks_of_fresh_process(job)
        return self._peaks[job][point.get("dataset"), point["batch_size"]]

    def drop(self) -> None:
        """Give back the resident model's memory."""
        self._resident.drop()

    def open_cell(self, item: pytest.Item, benchmark: BenchmarkFixture) -> RunningCell:
        """Begin to measure the cell of a bench test."""
        return RunningCell(self, item, benchmark)

    def keep(self, item: pytest.Item, record: Record) -> None:
        """Keep a finished record."""
        self._records[item.nodeid] = record

    def judge(self, record: Record) -> None:
        """Fail the test of a cell that is worse than in the baseline, with the verdicts as its message."""
        if self._baseline is not None:
            verdicts = gate(self._baseline, record, self._policy)
            if bad := [verdict for verdict in verdicts if verdict.outcome in ("worse", "missing", "not comparable")]:
                pytest.fail("\n".join(map(message, bad)), pytrace=False)

    def did_not_finish(self, item: pytest.Item, report: pytest.TestReport) -> None:
        """Keep the record of a cell that was skipped or failed before all was measured, with the reason."""
        if item.nodeid not in self._records:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
            status: Status = "skipped" if report.outcome == "skipped" else "failed"
            reason = reason.removeprefix("Skipped: ").strip()
            self._records[item.nodeid] = Record(cell_of(self, item), status=status, reason=reason)

    def finish_json(self, output_json: dict[str, Any]) -> None:
        """Put the cells that were skipped or failed into pytest-benchmark's JSON, and make it strict."""
        unmeasured = [to_json(record) for record in self._records.values() if record.status != "passed"]
        output_json.update(without_nan({**output_json, KEY: {"unmeasured": unmeasured}}))

    def print_table(self) -> None:
        """The table of this run, in colours where the terminal has them."""
        writer = self._config.get_terminal_writer()
        text = io.StringIO()
        console = Console(file=text, force_terminal=writer.hasmarkup, width=writer.fullwidth)
        print_summary(list(self._records.values()), console)
        writer.line()
        writer.write(text.getvalue())

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


class RunningCell:
    """What a bench test holds: its methods measure, and what they find is written when the test passed."""

    def __init__(self, session: Session, item: pytest.Item, benchmark: BenchmarkFixture) -> None:
        self._session, self._item, self._benchmark = session, item, benchmark
        self._measurement = Measurement(cell_of(session, item))
        self._point = params_of(item)
        self._round: Round | None = None  # what the clock ran
        self._counted: LanguageModel | None = None  # whose work is counted for the roofline

    def measure_dataset(self, model: LanguageModel, examples: Examples) -> None:
        """Quality over the examples, once; then the speed and memory of one representative batch."""
        measurement = self._measurement
        measurement.identify(self._loaded(), examples)
        if not models[self._point["model"]].random:
            with self._session.progress.showing(measurement.cell.label()) as step:
                found = measurement.evaluate(model, examples, step)
            self._write_samples(found)
        self._counted = model
        run = measurement.time_work(model, examples, self.clock)
        measurement.gauge_memory(run, lambda: self._session.peak(self._point))
        self._finish()

    def measure_divergence(self, model: LanguageModel, examples: Examples) -> None:
        """How far the predictions stray from those of the reference precision; both models are resident for it."""
        from benchsuite.evals import divergence

        measurement, point = self._measurement, self._point
        if models[point["model"]].random:
            raise UnavailableError(f"{point['model']} has random weights, and with them no quality to lose")
        measurement.identify(self._loaded(), examples)
        with self._session.progress.showing(measurement.cell.label()) as step:
            reference, _ = load(point["model"], REFERENCE, self._session.device, point["attention"])

            def run() -> Evaluation:
                return divergence.evaluate(
                    model, examples, reference=reference, batch_size=measurement.cell.batch_size, progress=step
                )

            found = self._benchmark.pedantic(run, rounds=1)  # type: ignore[no-untyped-call]
        measurement.keep(found, examples)
        self._write_samples(found)
        self._finish()

    def measure_generation(self, model: LanguageModel | Engine) -> None:
        """Prefill, decode and latency per token, of our engine or of another."""
        measurement, point = self._measurement, self._point
        if point["engine"] == "native":
            measurement.identify(self._loaded())
            self._counted = ours = self._loaded().model
            run = measurement.time_generation(NativeEngine(ours), ours.tokenizer.vocab_size, self.clock, ours.module)
        else:
            source = self._session.source(point["model"])
            measurement.identify_engine(source, format_of(point["engine"], point["precision"]))
            run = measurement.time_generation(cast("Engine", model), source.tokenizer_vocab_size, self.clock)
        measurement.gauge_memory(run, lambda: self._session.peak(self._point))
        self._finish()

    def measure_quantizing(self, model: LanguageModel) -> None:
        """Seconds to quantize a freshly loaded model, bytes before and after."""
        measurement = self._measurement
        measurement.identify(self._loaded())
        point, device = self._point, self._session.device
        fresh: list[LanguageModel] = []

        def reload() -> None:
            fresh[:] = [models[point["model"]].load(device, point["attention"])]

        seconds = self.clock(lambda: apply_precision(fresh[0], point["precision"], device), setup=reload)
        reload()
        before, after = size_bytes(fresh[0].module), size_bytes(model.module)
        measurement.metrics |= quantizing(seconds, before, after, measurement.coverage)
        self._finish()

    def measure_training(self, model: str, options: Mapping[str, Any]) -> None:
        """Speed, memory and FLOP utilisation of one optimizer step; see `benchsuite.training.step.Step`."""
        from benchsuite.training.step import Step, measure

        cell = self._measurement.cell
        step = Step(model, cell.precision, cell.attention, cell.batch_size, device=cell.device, **options)
        metrics, kernels = measure(step, self.clock)
        self._measurement.metrics |= metrics
        self._measurement.kernels = kernels
        self._finish()

    def clock(
        self,
        run: Callable[[], Any],
        setup: Callable[[], None] | None = None,
        warm_up: Callable[[], Any] | None = None,
    ) -> list[float]:
        """Seconds of each round of `run` under pytest-benchmark's clock, after `warm_up`: one round of `run` or its
        like, which also says how many rounds there is time for."""
        self._round = Round(run, setup)
        if setup:
            setup()
        start = time.perf_counter()
        (warm_up or run)()
        first = time.perf_counter() - start
        rounds = max(1, min(self._session.matrix.rounds, int(CLOCK_BUDGET_S / max(first, 1e-9))))
        with self._session.progress.showing(f"{self._measurement.cell.label()}: {rounds} rounds of the clock"):
            self._benchmark.pedantic(run, setup=setup, rounds=rounds)  # type: ignore[no-untyped-call]
        stats = self._benchmark.stats
        return list(stats.stats.data) if stats else [first]  # no statistics with --benchmark-disable

    def _write_samples(self, found: Evaluation) -> None:
        if self._session.samples:
            write_samples(self._session.samples, self._measurement.cell, found.items)

    def _loaded(self) -> Loaded:
        point = self._point
        return self._session.loaded(point["model"], point["precision"], self._session.device, point["attention"])

    def _finish(self) -> None:
        """The record is whole: into the benchmark's JSON with it."""
        self._profile()
        record = self._measurement.record()
        self._benchmark.extra_info[KEY] = to_json(record)
        self._session.keep(self._item, record)
        self._session.judge(record)

    def _profile(self) -> None:
        """One more round under the profiler, where `--profile-cells` asks for it."""
        session, measurement = self._session, self._measurement
        if session.profiles and self._round:
            with session.progress.showing(f"{measurement.cell.label()}: profile"):
                found = write_profile(
                    session.profiles / profile_name(self._item.name),
                    measurement.cell.label(),
                    self._round,
                    device=session.device,
                    model=self._counted,
                    metrics=measurement.metrics,
                )
            measurement.kernels |= {"roofline": found}


def _read_baseline(config: pytest.Config) -> tuple[dict[tuple[str, ...], Record] | None, Policy]:
    budgets = make_budgets((), read_settings(config.rootpath).get("budgets"))
    if not config.option.baseline:
        return None, Policy(budgets)
    storage = config.rootpath / ".benchmarks"
    try:
        return read_side(find_files(config.option.baseline, storage)), Policy(budgets)
    except FileFormatError as error:
        raise UsageError(f"--baseline: {error}") from error


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
        return value if value - value == 0 else None
    if isinstance(value, dict):
        return {key: without_nan(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(entry) for entry in value]
    return value
