"""The directory of a training run: who may write into it, and which of its checkpoints are whole. No torch in here."""

from __future__ import annotations

import contextlib
import json
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from benchsuite.errors import FileFormatError, OutputError, UsageError, first_line
from benchsuite.files import read_object, require_name, write_json

ARGUMENTS = "training_args.json"
_REST_BYTES = 16 << 20  # of all that is no tensor: tokenizer, settings, state
PASSED_OVER = "this checkpoint is passed over for the one before"


def claim(directory: Path, arguments: Mapping[str, Any], *, finished: str, resume: bool) -> None:
    """Make `directory` the run's own and write its `arguments` (settings, model, data) to training_args.json.

    `finished` is the file that a run writes last. OutputError where the directory is in use and not to be resumed, or
    finished; UsageError where a run to be resumed had other arguments.
    """
    path = directory / ARGUMENTS
    require_name(path, "--output")
    if (directory / finished).exists():
        raise OutputError(f"{directory} holds a finished run; name another directory or remove it first")
    if directory.is_file() or (directory.is_dir() and any(directory.iterdir()) and not path.is_file()):
        raise OutputError(f"{directory} is in use by something else; name another directory")
    if path.is_file():
        if not resume:
            raise OutputError(f"{directory} holds an unfinished run; go on with --resume, or name another directory")
        require_same(directory, {**dict.fromkeys(_began_with(directory)), **arguments})
    write_json(path, dict(arguments))


def require_same(directory: Path, arguments: Mapping[str, Any]) -> None:
    """UsageError where the run in `directory` began with another value of one of the `arguments`."""
    before, now = _began_with(directory), json.loads(json.dumps(dict(arguments)))
    for key in sorted(now):
        if before.get(key) != now[key]:
            raise UsageError(
                f"the run in {directory} began with {key} {before.get(key)!r}, not {now[key]!r}; "
                "resume it with the same, or begin anew in another directory"
            )


def last_checkpoint(directory: Path, passed_over: Callable[[str], None] = lambda _: None) -> Path | None:
    """The newest checkpoint that is whole, or None; `passed_over` hears of each newer one what is wrong with it."""
    steps = {path: path.name.removeprefix("checkpoint-") for path in directory.glob("checkpoint-*")}
    numbered = [path for path, step in steps.items() if step.isdecimal()]
    for path in sorted(numbered, key=lambda path: int(steps[path]), reverse=True):
        try:
            require_whole(path)
        except FileFormatError as error:  # noqa: PERF203  each checkpoint has its own fault
            passed_over(str(error))
        else:
            return path
    return None


def require_whole(checkpoint: Path) -> None:
    """FileFormatError where a checkpoint cannot be resumed from: a file is missing, cut short or of another form."""
    # each process of a distributed run keeps random numbers of its own, in rng_state_0.pth and so on
    states = sorted(path.name for path in checkpoint.glob("rng_state*.pth")) or ["rng_state.pth"]
    for name in ("scheduler.pt", "optimizer.pt", *states):
        if not zipfile.is_zipfile(checkpoint / name):
            raise FileFormatError(f"{checkpoint / name}: missing or cut short; {PASSED_OVER}")
    progress, weights = checkpoint / "trainer_state.json", checkpoint / "model.safetensors"
    found = read_object(progress, PASSED_OVER)
    try:
        with safe_open(weights, framework="np"):  # a file as long as its header says
            pass
    except (SafetensorError, OSError) as error:
        raise FileFormatError(f"{weights}: missing or cut short: {error}; {PASSED_OVER}") from error
    for key, kind in (("epoch", int | float), ("global_step", int), ("stateful_callbacks", dict)):
        if not isinstance(found.get(key), kind):
            raise FileFormatError(f"{progress}: {key} is {found.get(key)!r}, which Trainer never writes; {PASSED_OVER}")


def require_space(directory: Path, tensor_bytes: int, what: str) -> None:
    """OutputError where the disk has no room for `what`, tensors and the small rest, before any of it is written."""
    directory.mkdir(parents=True, exist_ok=True)
    needed, free = tensor_bytes + _REST_BYTES, shutil.disk_usage(directory).free
    if free < needed:
        raise OutputError(
            f"no space left on the disk for {what} in {directory}: {needed / 1e6:,.0f} MB are needed, "
            f"{free / 1e6:,.0f} MB are free; free some and go on with --resume"
        )


@contextlib.contextmanager
def saving(directory: Path, what: str) -> Iterator[None]:
    """OutputError where a library cannot write `what` into `directory` while the block runs."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        if isinstance(error, RuntimeError) and "inline_container" not in str(error):  # where torch.save writes
            raise
        raise OutputError(
            f"{what} cannot be written to {directory}: {first_line(error)}; make room (the disk, a quota, `ulimit -f`) "
            "and go on with --resume"
        ) from error


def _began_with(directory: Path) -> dict[str, Any]:
    return read_object(directory / ARGUMENTS, "start again in another directory")
