"""One cell while it is measured: what a bench test calls, under pytest-benchmark's clock."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

import pytest

from benchsuite.data.examples import Examples
from benchsuite.engines import Engine, format_of
from benchsuite.engines.native import NativeEngine
from benchsuite.errors import UnavailableError
from benchsuite.evals import divergence
from benchsuite.evals.samples import write_samples
from benchsuite.matrix import REFERENCE
from benchsuite.measure.cell import Measurement, quantizing
from benchsuite.measure.kernels import kernels_that_run, loops_that_run
from benchsuite.measure.resident import Loaded
from benchsuite.models import models
from benchsuite.models.in_precision import apply_precision, load
from benchsuite.models.language_model import LanguageModel
from benchsuite.quant.apply import size_bytes
from benchsuite.record import KEY, Record, to_json
from benchsuite.report.profile import Round, profile_name, write_profile
from benchsuite.session import Session, cell_of, params_of

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

    from benchsuite.evals.evaluation import Evaluation

CLOCK_BUDGET_S = 120.0  # slow work is repeated less often than the profile says


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
        measurement.kernels = loops_that_run(device)
        measurement.metrics |= quantizing(seconds, before, after, measurement.coverage)
        self._finish()

    def measure_training(self, model: str, options: Mapping[str, Any]) -> None:
        """Speed, memory and FLOP utilisation of one optimizer step; see `benchsuite.training.step.Step`."""
        from benchsuite.training.step import Step, Work, peak_of_step, training_speeds

        measurement, cell = self._measurement, self._measurement.cell
        step = Step(model, cell.precision, cell.attention, cell.batch_size, device=cell.device, **options)
        work = Work(step)
        measurement.metrics |= training_speeds(work, step, self.clock(work.run))
        measurement.kernels = kernels_that_run(work.run)
        measurement.gauge_memory(work.run, lambda: peak_of_step(step))
        self._finish()

    def clock(
        self,
        run: Callable[[], Any],
        setup: Callable[[], None] | None = None,
        warm_up: Callable[[], Any] | None = None,
    ) -> list[float]:
        """Seconds of each round of `run` under pytest-benchmark's clock, after `warm_up`, one round of `run` or its
        like. What that takes says how many rounds there is time for; where it says few, a second round does."""
        self._round = Round(run, setup)

        def timed(work: Callable[[], Any]) -> float:
            if setup:
                setup()
            start = time.perf_counter()
            work()
            return time.perf_counter() - start

        wanted, first = self._session.matrix.rounds, timed(warm_up or run)
        if CLOCK_BUDGET_S / wanted < first < CLOCK_BUDGET_S:  # what comes once, such as compiling, may be in it
            first = timed(run)
        rounds = max(1, min(wanted, int(CLOCK_BUDGET_S / max(first, 1e-9))))
        with self._session.progress.showing(f"{self._measurement.cell.label()}: rounds of the clock") as step:
            done = itertools.count()

            def before_round() -> None:  # outside of the clock
                step(next(done), rounds)
                if setup:
                    setup()

            self._benchmark.pedantic(run, setup=before_round, rounds=rounds)  # type: ignore[no-untyped-call]
        stats = self._benchmark.stats
        return list(stats.stats.data) if stats else [timed(run)]  # --benchmark-disable leaves a round without a clock

    def _write_samples(self, found: Evaluation) -> None:
        if self._session.samples:
            write_samples(self._session.samples, self._measurement.cell, found.items)

    def _loaded(self) -> Loaded:
        return self._session.loaded(self._point["model"], self._point["precision"], self._point["attention"])

    def _finish(self) -> None:
        """The record is whole: into the benchmark's JSON with it."""
        record = self._keep()
        self._profile()  # should that go wrong, what was measured stands
        self._session.judge(record)

    def _keep(self) -> Record:
        record = self._measurement.record()
        self._benchmark.extra_info[KEY] = to_json(record)
        self._session.keep(self._item, record)
        return record

    def _profile(self) -> None:
        """One more round under the profiler, where `--profile-cells` asks for it."""
        session, measurement = self._session, self._measurement
        if session.profiles is None or self._round is None:
            return
        with session.progress.showing(f"{measurement.cell.label()}: profile"):
            found = write_profile(
                session.profiles / profile_name(self._item.name),
                measurement.cell.label(),
                self._round,
                device=session.device,
                model=self._counted,
                metrics=measurement.metrics,
                limits=session.limits,
            )
        measurement.kernels |= {"roofline": found}
        self._keep()
