"""Writing results so that a reader never sees half of one."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchsuite.errors import OutputError, UsageError


def atomic_write(path: Path | str, content: str | bytes) -> Path:
    """Write `content` to `path` through a temporary file beside it and a rename; parents are made."""
    path = Path(path)
    with _named_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(content.encode() if isinstance(content, str) else content)
            temporary.chmod(0o644)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    return path


def write_json(path: Path | str, value: Any) -> Path:
    """Write `value` as strict JSON (NaN and infinity raise ValueError), indented, atomically."""
    return atomic_write(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


@contextlib.contextmanager
def new_directory(path: Path | str) -> Iterator[Path]:
    """A directory that appears whole or not at all: fill the yielded temporary one, it is renamed to `path` at the end.

    Raises OutputError where `path` exists and is not an empty directory, before anything is computed.
    """
    path = Path(path)
    with _named_os_errors(path):
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise OutputError(f"{path} exists and is not an empty directory; name another or remove it first")
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
        try:
            yield temporary
            temporary.chmod(0o755)
            temporary.replace(path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def writable_directory(path: str, option: str) -> Path:
    """The directory that a command-line `option` names, made now; UsageError where nothing can be written into it."""
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{option} {folder}: {error.strerror}; name a directory that you may write") from error
    if not os.access(folder, os.W_OK):
        raise UsageError(f"{option} {folder}: not writable; name a directory that you may write")
    return folder


def cache_path(*parts: str) -> Path:
    """Where something of this machine's own is kept: under `~/.cache/benchsuite`, or `$XDG_CACHE_HOME/benchsuite`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "benchsuite", *parts)


@contextlib.contextmanager
def _named_os_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OutputError(f"no space left on the disk while writing {path}; free some and run again") from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST):
            raise OutputError(
                f"{path} cannot be written: {error.strerror}; name a directory that you may write"
            ) from error
        raise
