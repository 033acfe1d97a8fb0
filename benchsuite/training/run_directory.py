"""The directory of a training run: who may write into it, and which of its checkpoints are whole. No torch in here."""

from __future__ import annotations

import contextlib
import json
import shutil
import struct
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from benchsuite.errors import FileFormatError, OutputError, UsageError, first_line
from benchsuite.files import write_json

ARGUMENTS = "training_args.json"


def claim(directory: Path, arguments: Mapping[str, Any], *, finished: str, resume: bool) -> None:
    """Make `directory` the run's own and write its `arguments` (settings, model, data) to training_args.json.

    `finished` is the file that a run writes last. OutputError where the directory is in use and not to be resumed, or
    finished; UsageError where a run to be resumed had other arguments.
    """
    path = directory / ARGUMENTS
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


def last_checkpoint(directory: Path) -> Path | None:
    """The newest checkpoint that is whole; None where there is none."""
    steps = {path: path.name.removeprefix("checkpoint-") for path in directory.glob("checkpoint-*")}
    numbered = [path for path, step in steps.items() if step.isdecimal()]
    found = sorted(numbered, key=lambda path: int(steps[path]), reverse=True)
    return next((path for path in found if why_damaged(path) is None), None)


def why_damaged(checkpoint: Path) -> str | None:
    """Why a checkpoint of the Trainer cannot be resumed from, or None: a file is missing or cut short."""
    for name in ("trainer_state.json", "scheduler.pt", "optimizer.pt", "model.safetensors"):
        if not (checkpoint / name).is_file():
            return f"{checkpoint}: {name} is missing"
    try:
        json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    except ValueError:
        return f"{checkpoint}: trainer_state.json is cut short"
    for name in ("scheduler.pt", "optimizer.pt"):
        if not zipfile.is_zipfile(checkpoint / name):
            return f"{checkpoint}: {name} is cut short"
    if not _is_whole(checkpoint / "model.safetensors"):
        return f"{checkpoint}: model.safetensors is cut short"
    return None


def require_space(directory: Path, needed: int, what: str) -> None:
    """OutputError where fewer than `needed` bytes are free for `what`, before any of it is written."""
    directory.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(directory).free
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


def _is_whole(file: Path) -> bool:
    """Whether a safetensors file is as long as its header says."""
    with file.open("rb") as stream:
        start = stream.read(8)
        if len(start) < 8:
            return False
        (length,) = struct.unpack("<Q", start)
        try:
            header = json.loads(stream.read(length))
        except ValueError:
            return False
    ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
    return bool(file.stat().st_size == 8 + length + max(ends, default=0))


def _began_with(directory: Path) -> dict[str, Any]:
    path = directory / ARGUMENTS
    try:
        began: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise FileFormatError(f"{path}: not JSON: {error}; start again in another directory") from error
    return began
