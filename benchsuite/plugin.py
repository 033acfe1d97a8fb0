"""The pytest plugin: options become the matrix, the matrix becomes tests, what they find goes into the JSON.

It is loaded by every pytest run of an environment that has benchsuite, so nothing heavy is imported here: torch and
its kin come in with the first cell that runs.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from benchsuite.errors import BenchsuiteError, UnavailableError, UsageError, first_line
from benchsuite.signals import interrupt_when_terminated

if TYPE_CHECKING:
    from benchsuite.data.examples import Examples
    from benchsuite.matrix import Matrix
    from benchsuite.running_cell import RunningCell
    from benchsuite.session import Session

AXES = ("model", "precision", "dataset", "attention", "batch_size", "engine")
OPTIONS = (*AXES, "task", "device", "limit", "profile")
ONE_AT_A_TIME = (
    "pytest-xdist (-n) would measure cells beside each other, and each would slow the others: run it without; the "
    "files of several runs are read together where a directory holds them"
)
MATRIX = pytest.StashKey["Matrix"]()
SESSION = pytest.StashKey["Session"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Everything that a matrix is made of."""
    group = parser.getgroup("benchsuite", "benchsuite: model x precision x dataset")
    several = {"action": "append", "default": [], "metavar": "NAMES"}
    group.addoption("--model", help="models: names, comma lists, globs, hub ids, directories, random:NAME", **several)
    group.addoption("--precision", help="precisions: names, comma lists, globs", **several)
    group.addoption("--dataset", help="datasets: names, comma lists, globs, files of your own", **several)
    group.addoption(
        "--task", metavar="TASK", help="what a file of --dataset holds: lm, exact-match, classification, instructions"
    )
    group.addoption("--attention", help="eager, sdpa, flash (the flash kernel forced)", **several)
    group.addoption("--batch-size", help="batch sizes, instead of each question's own", **several)
    group.addoption(
        "--engine",
        help="generation: native, native-compiled, native-graph, transformers, ctranslate2, llama-cpp, onnxruntime",
        **several,
    )
    group.addoption("--device", metavar="DEVICE", help="auto (default), cpu, cuda, cuda:1")
    group.addoption("--limit", metavar="N", help="at most N examples of each dataset; the record says so")
    group.addoption("--profile", metavar="NAME", help="quick, default or full: what is measured where nothing is said")
    length = {"action": "append", "type": _length, "default": [], "metavar": "TOKENS"}
    group.addoption("--sequence-length", help="training: sequence lengths, instead of 128; may be repeated", **length)
    group.addoption("--compile", action="store_true", help="training: cells with torch.compile beside those without")
    group.addoption("--gradient-checkpointing", action="store_true", help="training: recompute activations")
    group.addoption(
        "--baseline", metavar="FILE",
        help="a benchmark file (or its name in the storage): a cell fails that regressed or cannot be compared",
    )  # fmt: skip
    group.addoption("--track", help="wandb, tensorboard or trackio: send every cell there at the end", **several)
    group.addoption("--samples", metavar="DIR", help="write every prompt, answer and score here: a .jsonl file a cell")
    group.addoption(
        "--profile-cells", nargs="?", const=".benchmarks/profiles", metavar="DIR",
        help="write a trace, a table of operators and the roofline of each cell there (default: .benchmarks/profiles)",
    )  # fmt: skip
    group.addoption("--list-matrix", action="store_true", help="print the cells that are selected and stop")


def _length(text: str) -> int:
    if not text.isdecimal() or int(text) < 2:
        raise argparse.ArgumentTypeError(f"{text!r}; a whole number of at least 2 was wanted")
    return int(text)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers",
        "benchsuite(task, batch_sizes, reference, precisions, engines, memory): a question, benchsuite.matrix.Question",
    )


def pytest_sessionstart(session: pytest.Session) -> None:
    """An unknown name is a usage error before anything is collected."""
    options = vars(session.config.option)
    if any(options.get(name) for name in OPTIONS) or _settings(session.config):
        _matrix(session.config)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize a question over its points of the matrix."""
    marker = metafunc.definition.get_closest_marker("benchsuite")
    if marker is not None:
        from benchsuite.matrix import Question

        try:
            question = Question(**marker.kwargs)
        except (TypeError, UsageError) as error:
            raise pytest.Collector.CollectError(f"{metafunc.definition.nodeid}: {error}") from error
        axes = [axis for axis in AXES if axis in metafunc.fixturenames]
        if axes != [axis for axis in AXES if axis != "dataset" or question.task]:
            raise pytest.Collector.CollectError(
                f"{metafunc.definition.nodeid}: a question takes the fixtures `cell` and `model`, and `dataset` where "
                f"it has a task; with these it varies over {', '.join(axes) or 'nothing'}"
            )
        matrix = _matrix(metafunc.config)
        points = list(matrix.points(question))
        values = [[getattr(point, axis) for axis in axes] for point in points]
        metafunc.parametrize(axes, values, indirect=True, ids=[matrix.identify(point, question) for point in points])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order cells so that one model in one precision is resident at a time; other tests keep their places."""
    empty = [item for item in items if _is_cell(item) and not isinstance(_params(item).get("model"), str)]
    if empty:  # a question whose task no selected dataset has
        config.hook.pytest_deselected(items=empty)
        items[:] = [item for item in items if item not in empty]
    places = [index for index, item in enumerate(items) if _is_cell(item)]
    if empty and not places:
        raise pytest.UsageError("the matrix selects nothing: no question fits the selected datasets; see --list-matrix")
    if places:
        matrix = _matrix(config)
        cells = sorted((items[index] for index in places), key=lambda item: matrix.order(_params(item)))
        for index, item in zip(places, cells, strict=True):
            items[index] = item


def pytest_collection_finish(session: pytest.Session) -> None:
    """Find out about the device before anything runs."""
    cells = [item for item in session.items if _is_cell(item)]
    option = session.config.option
    if cells and not (option.collectonly or option.list_matrix or _is_worker(session.config)):
        from benchsuite.report.track import require_trackers
        from benchsuite.session import Session

        try:
            require_trackers(option.track)
            session.config.stash[SESSION] = Session(_matrix(session.config), session.config, cells)
        except (UnavailableError, UsageError) as error:
            raise pytest.UsageError(str(error)) from error
        session.config.add_cleanup(interrupt_when_terminated())  # cells that have finished are written


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """Print the matrix and stop, where that was asked for."""
    if not session.config.option.list_matrix:
        return None
    if session.config.pluginmanager.has_plugin("dsession"):  # its workers collect, this process knows of no cell
        raise pytest.UsageError(ONE_AT_A_TIME)
    cells = [item for item in session.items if _is_cell(item)]
    for item in cells:
        print(item.name.removeprefix("test_"))
    print(f"{len(cells)} cell{'s' * (len(cells) != 1)}")
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, None, None]:
    """A cell that cannot run here is skipped with the reason; whatever else went wrong fails it with its cause."""
    with _named_outcomes(item):
        if _is_cell(item) and _is_worker(item.config):
            raise UsageError(ONE_AT_A_TIME)
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """As for the setup."""
    with _named_outcomes(item):
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Write the results so far behind each cell."""
    outcome = yield
    if (session := item.config.stash.get(SESSION, None)) is not None:
        session.results.update()
    return outcome


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write all results; a run whose file cannot be written is no success."""
    if (ours := session.config.stash.get(SESSION, None)) is not None:
        ours.end()
        ours.results.update(is_last=True)
        if ours.results.failure:
            session.exitstatus = session.exitstatus or pytest.ExitCode.INTERNAL_ERROR


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """Keep the record of a cell that did not finish: what is missing is said, never left out."""
    report: pytest.TestReport = yield
    session = item.config.stash.get(SESSION, None)
    if session is not None and _is_cell(item) and report.outcome != "passed":
        session.did_not_finish(item, report)
    return report


@pytest.fixture
def model(request: pytest.FixtureRequest, precision: str, attention: str, engine: str) -> Any:
    """The language model of this cell, in this cell's precision, or another engine that holds it; one at a time."""
    if engine != "native":
        return _session(request).engine(engine, request.param, precision)
    return _session(request).loaded(request.param, precision, attention).model


@pytest.fixture
def precision(request: pytest.FixtureRequest) -> str:
    """The name of this cell's precision."""
    return str(request.param)


@pytest.fixture
def attention(request: pytest.FixtureRequest) -> str:
    """The attention kernel of this cell: eager, sdpa or flash."""
    return str(request.param)


@pytest.fixture
def batch_size(request: pytest.FixtureRequest) -> int:
    """How many sequences this cell handles at a time."""
    return int(request.param)


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> str:
    """What runs this cell's model: native, or another system."""
    return str(request.param)


@pytest.fixture
def dataset(request: pytest.FixtureRequest) -> Examples:
    """The test split of this cell's dataset, at most `--limit` examples."""
    return _session(request).examples(request.param)


@pytest.fixture
def device(request: pytest.FixtureRequest) -> str:
    """Where the cell runs: cpu, cuda …"""
    return _session(request).device


@pytest.fixture
def cell(request: pytest.FixtureRequest, benchmark: Any, batch_size: int, engine: str) -> RunningCell:  # noqa: ARG001  axes
    """The measurement of this cell: call one of its methods, its record goes into the benchmark's `extra_info`."""
    from benchsuite.running_cell import RunningCell

    return RunningCell(_session(request), request.node, benchmark)


def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    """Leave out the clock frequency of the moment: it made the same machine look like another one."""
    for name in ("hz_actual", "hz_actual_friendly"):
        machine_info.get("cpu", {}).pop(name, None)


def pytest_benchmark_update_json(config: pytest.Config, output_json: dict[str, Any]) -> None:
    """Add the cells that were skipped or failed, and make the file strict JSON."""
    session = config.stash.get(SESSION, None)
    if session is not None:
        session.finish_json(output_json)


@pytest.hookimpl(tryfirst=True)
def pytest_benchmark_group_stats(benchmarks: list[dict[str, Any]]) -> None:
    """Let `--benchmark-group-by=param:x` meet benchmarks that have no such parameter."""
    for benchmark in benchmarks:
        benchmark["params"] = collections.defaultdict(lambda: None, benchmark["params"] or {})


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(config: pytest.Config) -> None:
    """The table: a row per cell, each figure beside its change against the reference precision."""
    session = config.stash.get(SESSION, None)
    if session is not None:
        session.print_table()
        session.track()


def _matrix(config: pytest.Config) -> Matrix:
    """The matrix of this run, made once."""
    if MATRIX not in config.stash:
        from benchsuite.matrix import make_matrix

        given = {name.replace("_", "-"): getattr(config.option, name) for name in OPTIONS}
        settings = _settings(config)
        try:
            config.stash[MATRIX] = make_matrix(given, settings)
        except UsageError as error:
            raise pytest.UsageError(str(error)) from error
    return config.stash[MATRIX]


def _settings(config: pytest.Config) -> dict[str, Any]:
    from benchsuite.matrix import read_settings

    try:
        return read_settings(config.rootpath)
    except UsageError as error:
        raise pytest.UsageError(str(error)) from error


def _session(request: pytest.FixtureRequest) -> Session:
    session = request.config.stash.get(SESSION, None)
    if session is None:
        raise pytest.UsageError("the fixtures of benchsuite belong to tests marked with @pytest.mark.benchsuite")
    return session


def _is_cell(item: pytest.Item) -> bool:
    return item.get_closest_marker("benchsuite") is not None


def _is_worker(config: pytest.Config) -> bool:
    """Whether this process is one of pytest-xdist's: it has no clock, and nothing that it finds would be written."""
    return hasattr(config, "workerinput")


def _params(item: pytest.Item) -> dict[str, Any]:
    callspec = getattr(item, "callspec", None)
    return callspec.params if callspec else {}


@contextlib.contextmanager
def _named_outcomes(item: pytest.Item) -> Iterator[None]:
    if not _is_cell(item):
        yield
        return
    try:
        yield
    except UnavailableError as error:
        raise pytest.skip.Exception(str(error)) from None
    except BenchsuiteError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None
    except (MemoryError, RuntimeError) as error:
        if cause := memory_ran_out(error):
            item.config.stash[SESSION].drop()
            said = f"memory ran out in this cell: {cause}; try a smaller --batch-size"
            raise pytest.fail.Exception(said, pytrace=False) from None
        raise


def memory_ran_out(error: BaseException) -> str | None:
    """The first line of an error that means that memory ran out, on the CPU or on the GPU; else None."""
    signs = ("out of memory", "can't allocate memory", "not enough memory")
    if isinstance(error, MemoryError) or any(sign in str(error) for sign in signs):
        return first_line(error)
    return None
