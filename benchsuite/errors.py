"""Every exception that a user can meet.

    BenchsuiteError
    ├── UsageError                 the request itself is wrong: nothing has run
    │   └── UnknownNameError       no such model, precision, dataset …; the nearest names are named
    ├── UnavailableError           right, but not to be had on this machine: a matrix cell is skipped with this reason
    ├── MissingError               a model or a dataset that was named and cannot be had: a cell fails
    ├── FileFormatError            a file is truncated, of another format, or does not fit what it was read for
    ├── DataError                  an example that cannot be used; names the file and the row
    ├── QuantizationError          a tensor or a model that cannot be quantized as asked
    ├── NumericalError             NaN or infinity where a number was due
    └── OutputError                a result that cannot be written: directory in use, disk full

A message says what was wanted, what was found and what to do next.
"""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Iterable


class BenchsuiteError(Exception):
    """The root: `except BenchsuiteError` catches everything that this library raises on purpose."""


def first_line(error: BaseException) -> str:
    """The first line of what a library's error says; the error's kind where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def last_line(text: str, otherwise: str = "no message") -> str:
    """The last line of what a process said; `otherwise` where it said nothing."""
    return (text.strip().splitlines() or [otherwise])[-1]


def reason_of(error: Exception) -> str:
    """What went wrong, in a line: our own words as they are, a library's behind the kind of its error."""
    if isinstance(error, BenchsuiteError):
        return str(error)
    said = traceback.format_exception_only(error)
    return next(line for line in said if not line.startswith(" ")).splitlines()[0]  # a SyntaxError's begins with where


class UsageError(BenchsuiteError):
    """The request is wrong; nothing has run."""


class UnknownNameError(UsageError):
    """A name that no registry knows.

    >>> raise UnknownNameError("precision", "absmx8", ["absmax8", "fp32"])
    Traceback (most recent call last):
    benchsuite.errors.UnknownNameError: unknown precision 'absmx8'; did you mean 'absmax8'? known: absmax8, fp32
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        self.kind, self.name, self.known = kind, name, tuple(known)
        near = difflib.get_close_matches(name, self.known, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
        super().__init__(f"unknown {kind} {name!r}; {hint}known: {', '.join(self.known) or 'none'}")


class UnavailableError(BenchsuiteError):
    """What was asked for cannot be had on this machine; a cell is skipped with this reason."""


class MissingError(BenchsuiteError):
    """A model or a dataset that was named cannot be had; a cell fails, since nobody should take it for measured."""


class FileFormatError(BenchsuiteError):
    """A file is truncated, of another format, or does not fit what it was read for."""


class DataError(BenchsuiteError):
    """An example that cannot be used; the message names the file and the row."""


class QuantizationError(BenchsuiteError):
    """A tensor or a model that cannot be quantized as asked."""


class NumericalError(BenchsuiteError):
    """NaN or infinity where a number was due."""


class OutputError(BenchsuiteError):
    """A result cannot be written: the directory is in use, or the disk is full."""
