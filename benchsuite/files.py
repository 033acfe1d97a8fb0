"""Files: results that a reader never sees half of, what is kept of a machine, what stands beside a model's weights."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from benchsuite.errors import FileFormatError, OutputError, UnavailableError, UsageError

T = TypeVar("T")
_MACHINE_SCHEMA = 1
_LONGEST_NAME = 200  # of the 255 bytes that file systems allow: an ending has room


def atomic_write(path: Path | str, content: str | bytes) -> Path:
    """Write `content` to `path` through a temporary file beside it and a rename; parents are made.

    What is no regular file (a pipe, /dev/stdout) is written as it stands.
    """
    path = Path(path)
    with _named_os_errors(path):
        if path.exists() and not path.is_file() and not path.is_dir():
            path.write_bytes(content.encode() if isinstance(content, str) else content)
            return path
        target = Path(os.path.realpath(path))  # a link stays, what it points to is replaced
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = _beside(target)
        try:
            with temporary.open("xb") as stream:
                stream.write(content.encode() if isinstance(content, str) else content)
            if target.is_file():  # what was private stays so
                shutil.copymode(target, temporary)
            temporary.replace(target)
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
    path = Path(os.path.realpath(path))  # a link stays, what it points to is filled
    with _named_os_errors(path):
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise OutputError(f"{path} exists and is not an empty directory; name another or remove it first")
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _beside(path)
        temporary.mkdir()
    try:
        try:
            yield temporary
        except OSError as error:
            _name_full_disk(error, path)
            raise
        except OutputError as error:  # of a file inside
            raise OutputError(str(error).replace(str(temporary), str(path))) from error
        with _named_os_errors(path):
            temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def require_writable(path: Path | None, option: str) -> None:
    """Raise UsageError where the file that `option` names cannot be written later; hours may lie in between."""
    if path is not None:
        require_name(path, option)
        if path.is_dir():
            raise UsageError(f"{option} {path}: a directory; name a file in it")
        if not path.exists() or path.is_file():  # a pipe is written as it stands
            writable_directory(str(Path(os.path.realpath(path)).parent), option)


def is_file(path: Path | str) -> bool:
    """Whether a file is there; `Path.is_file` raises for a name that is too long."""
    return os.path.isfile(path)  # noqa: PTH113


def is_directory(path: Path | str) -> bool:
    """Whether a directory is there; `Path.is_dir` raises for a name that is too long."""
    return os.path.isdir(path)  # noqa: PTH112


def require_name(path: Path, option: str) -> None:
    """Raise UsageError where the path that `option` names is longer than the system's names may be."""
    try:
        path.lstat()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise UsageError(f"{option} {path}: {error.strerror}; name a shorter one") from error


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


def at_home(name: str) -> Path:
    """The path that a user names, `~` and `~somebody` understood; that of nobody is left as it is."""
    return Path(os.path.expanduser(name))  # noqa: PTH111  Path.expanduser raises for nobody


def file_name(text: str) -> str:
    """Any text as the name of a file that every system takes; one that is too long ends in a fingerprint.

    >>> file_name("openai-community/gpt2 at 8 bits")
    'openai-community%2Fgpt2 at 8 bits'
    """
    name = quote(text, safe=" ")
    if len(name) <= _LONGEST_NAME:
        return name
    return f"{name[: _LONGEST_NAME - 17]}-{sha256(text.encode()).hexdigest()[:16]}"


def cache_path(*parts: str) -> Path:
    """Where something of this machine's own is kept: under `~/.cache/benchsuite`, or `$XDG_CACHE_HOME/benchsuite`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "benchsuite", *parts)


def write_machine_file(kind: str, machine: str, found: Mapping[str, Any]) -> Path:
    """Keep what was `found` of the machine with that fingerprint, as `KIND/MACHINE.json` in the cache."""
    return write_json(_machine_path(kind, machine), {"schema": _MACHINE_SCHEMA, "machine": machine, **found})


def read_machine_file(kind: str, machine: str, parse: Callable[[Any], T], command: str) -> T | None:
    """What `parse` makes of what `write_machine_file` kept; None where nothing was.

    Raises FileFormatError, which names the `command` that writes it anew, where `parse` or the system cannot read it.
    """
    path = _machine_path(kind, machine)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if (data["schema"], data["machine"]) != (_MACHINE_SCHEMA, machine):
            raise ValueError(f"schema {data['schema']!r} of machine {data['machine']!r}")
        return parse(data)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise FileFormatError(
            f"{path}: cannot be read: {error.strerror}; remove it and run `{command}` again"
        ) from error
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        fault = f"{type(error).__name__}: {error}"
        raise FileFormatError(f"{path}: not the {kind} of this machine ({fault}); run `{command}` again") from error


def _machine_path(kind: str, machine: str) -> Path:
    return cache_path(kind, f"{file_name(machine)}.json")  # a fingerprint that somebody's file names may be any text


def read_config(path: Path) -> dict[str, Any]:
    """The `config.json` of a model directory in Hugging Face layout."""
    file = path / "config.json"
    if not file.exists():
        raise UnavailableError(f"{path}: no config.json; a model directory in Hugging Face layout has one")
    config = read_object(file, "fetch the model again")
    names = config.get("architectures") or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise FileFormatError(f"{file}: architectures is {names!r}; a list of names was wanted")
    if config.get("transformers_weights") is not None:  # only transformers would read that file
        raise FileFormatError(
            f"{file}: transformers_weights names the weights; they are read from model.safetensors or from what its "
            "index names: rename them, and remove the key"
        )
    return config


def is_classifier(config: Mapping[str, Any]) -> bool:
    """Whether a `config.json` describes a GPT-2 with a classification head."""
    return "GPT2ForSequenceClassification" in (config.get("architectures") or ())


def read_object(file: Path, remedy: str) -> dict[str, Any]:
    """The JSON object that a file holds; FileFormatError with the `remedy` where it cannot be read or holds another."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise FileFormatError(f"{file}: cannot be read as JSON: {error}; {remedy}") from error
    if not isinstance(found, dict):
        raise FileFormatError(f"{file}: a JSON object was wanted, found {type(found).__name__}; {remedy}")
    return found


def _beside(path: Path) -> Path:
    """A hidden name in the same directory that nothing has."""
    return path.with_name(f".benchsuite-{secrets.token_hex(8)}")


@contextlib.contextmanager
def _named_os_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        _name_full_disk(error, path)
        if error.errno == errno.ENOTEMPTY:
            raise OutputError(f"{path} was filled by another program meanwhile; name another or remove it") from error
        raise OutputError(f"{path} cannot be written: {error.strerror}; name a directory that you may write") from error


def _name_full_disk(error: OSError, path: Path) -> None:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        raise OutputError(f"no space left on the disk while writing {path}; free some and run again") from error
    if error.errno == errno.EFBIG:
        raise OutputError(f"{path} would be larger than a file may be here (`ulimit -f`); allow more") from error
