"""Peak memory: of a fresh process on the CPU, of the allocator on CUDA.

`python -m benchsuite.measure.memory` is the fresh process: it reads what to do as JSON from its standard input and
answers with one JSON line, so that nothing of the measuring process is counted.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from benchsuite.errors import UnavailableError, UnknownNameError, last_line, reason_of
from benchsuite.measure.generation import NEW_TOKENS, PROMPT_TOKENS, prompts_of, time_generation

if TYPE_CHECKING:
    from benchsuite.engines import Engine
    from benchsuite.engines.source import Source

# glibc keeps freed memory by habits that depend on the timing of threads: the peak of one work varies by a tenth. Held
# to one heap and to fixed thresholds it gives freed tensors back at once, and the peak is what was in use. The order in
# which Python walks sets of names, another in each process, moves it by half a percent, that of sets of objects by one
_FRUGAL = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": "262144",
    "MALLOC_TRIM_THRESHOLD_": "262144",
    "PYTHONHASHSEED": "0",
}
_ADDR_NO_RANDOMIZE, _ASK = 0x0040000, 0xFFFFFFFF  # personality(2)
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


Work = tuple[str | None, int]  # a dataset (None: generation) and a batch size


@dataclass(frozen=True)
class Job:
    """A model and a precision to load, and the pieces of work to do with it."""

    model: str
    precision: str
    attention: str
    limit: int | None
    works: tuple[Work, ...]
    conftests: tuple[str, ...] = ()  # where a precision, a model or a dataset of the user's own may be registered
    engine: str = "native"
    source: Source | None = None  # what an engine other than ours is given


@dataclass(frozen=True)
class Peak:
    """Bytes of the fresh process: at most in its whole life (loading and quantizing too), and while it worked."""

    process_bytes: int
    working_bytes: int
    works: tuple[Work, ...] = ()  # all that this process did, one after the other: each leaves something behind


def peaks_of_fresh_process(job: Job) -> dict[Work, Peak | str]:
    """Load, quantize and do each piece of work once in a fresh process; its peak resident set sizes, or why not.

    Raises UnavailableError where the kernel does not tell them, or where the process died.
    """
    answer = answer_of_fresh_process("benchsuite.measure.memory", asdict(job))
    peaks = [
        found if isinstance(found, str) else Peak(answer["process"], found, job.works) for found in answer["working"]
    ]
    return dict(zip(job.works, peaks, strict=True))


def answer_of_fresh_process(module: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Run `python -m module` with `asked` as JSON on its standard input; the JSON of its last line.

    Raises UnavailableError where the kernel does not tell a process's peak, or where the process died.
    """
    if not os.access(_RESET, os.W_OK):
        raise UnavailableError("the peak memory of a process is read from Linux's /proc, which is not here")
    with _same_addresses():
        finished = subprocess.run(
            [sys.executable, "-m", module],
            env=os.environ | _FRUGAL,
            input=json.dumps(dict(asked), default=str),  # a path
            capture_output=True,
            text=True,
            check=False,
        )
    if finished.returncode:
        last = last_line(finished.stderr)
        raise UnavailableError(f"the process that measures memory ended with {finished.returncode}: {last}")
    answer: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    return answer


@contextlib.contextmanager
def _same_addresses() -> Iterator[None]:
    """Let processes that are started have the addresses of the last one, and so walk sets of objects in its order.

    Where the system does not allow it, as in some containers, addresses stay random.
    """
    personality = ctypes.CDLL(None).personality
    before = personality(_ASK)
    personality(before | _ADDR_NO_RANDOMIZE)
    try:
        yield
    finally:
        personality(before)


def peak_of_allocator(device: torch.device, run: Callable[[], object]) -> Peak:
    """Bytes that CUDA's allocator held at most while `run` ran, what was resident before included."""
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    run()
    torch.cuda.synchronize(device)
    peak = torch.cuda.max_memory_allocated(device)
    return Peak(process_bytes=peak, working_bytes=peak)


def main() -> None:
    """The fresh process: a `Job` in, the peaks out."""
    asked = json.load(sys.stdin)
    job = Job(**{**asked, "works": tuple(map(tuple, asked["works"]))})
    _register_own(job)
    make = _native(job) if job.engine == "native" else _other(job.engine, asked["source"], job.precision)
    process = peak_bytes()
    working: list[int | str] = []
    for dataset, batch_size in job.works:
        try:
            run = make(dataset, batch_size)
            gc.collect()
            reset_peak()
            run()
        except Exception as error:  # a damaged file, or a dataset of somebody's own, costs no other work its peak
            working.append(reason_of(error))
        else:
            working.append(peak_bytes())
        process = max(process, peak_bytes())
    print(json.dumps({"process": process, "working": working}))


def _register_own(job: Job) -> None:
    """Run the user's conftest files where a name of the job is known only to them."""
    from benchsuite.data import datasets
    from benchsuite.models import models
    from benchsuite.quant.precision import precisions

    try:
        _ = models[job.model], precisions[job.precision], [datasets[name] for name, _ in job.works if name]
    except UnknownNameError:
        for path in job.conftests:
            runpy.run_path(path)


def _native(job: Job) -> Callable[[str | None, int], Callable[[], object]]:
    """Load our model; what makes each piece of work for it."""
    from benchsuite.data import datasets
    from benchsuite.engines.native import NativeEngine
    from benchsuite.evals import evaluation_for
    from benchsuite.models.in_precision import load

    model, _ = load(job.model, job.precision, "cpu", job.attention)

    def work(dataset: str | None, batch_size: int) -> Callable[[], object]:
        if dataset is None:
            return _generation(NativeEngine(model), model.tokenizer.vocab_size, batch_size)
        examples = datasets[dataset].load("test", job.limit)
        return evaluation_for(examples.task).work(model, examples, batch_size=batch_size).run

    return work


def _other(name: str, given: Mapping[str, Any], precision: str) -> Callable[[str | None, int], Callable[[], object]]:
    """Load another engine; what makes each generation for it."""
    from benchsuite.engines import format_of, load_engine
    from benchsuite.engines.source import source_of

    source = source_of(given)
    engine = load_engine(f"{name}:{format_of(name, precision)}", source, threads=torch.get_num_threads())
    return lambda _, batch_size: _generation(engine, source.tokenizer_vocab_size, batch_size)


def _generation(engine: Engine, vocab_size: int, batch_size: int) -> Callable[[], object]:
    prompts = prompts_of(vocab_size, count=batch_size, length=PROMPT_TOKENS)
    return lambda: time_generation(engine, prompts, new_tokens=NEW_TOKENS)


def reset_peak() -> None:
    """Let this process's peak be what is resident now."""
    _RESET.write_text("5", encoding="ascii")  # proc(5)


def peak_bytes() -> int:
    """Bytes that were resident at most in this process's life, or since `reset_peak`."""
    line = next(line for line in _STATUS.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
