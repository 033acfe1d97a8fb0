"""Loops of our own in C, for what PyTorch has no operator for: compiled by this machine's compiler when first wanted.

They are never the only way. Where there is no C compiler with OpenMP, PyTorch's operators do the same in more time.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import shlex
import subprocess
import tempfile
from collections import Counter
from hashlib import sha256
from pathlib import Path

import torch
from torch import Tensor
from torch.autograd import profiler

from benchsuite.files import cache_path

# sums of products are for speed, and rounded once; loops that owe PyTorch's bits have none
_FLAGS = ("-std=c11", "-O3", "-march=native", "-ffp-contract=fast", "-fno-math-errno", "-fopenmp", "-fPIC", "-shared")
_HEADERS = Path(__file__).parent  # numbers.h

calls: Counter[str] = Counter()  # of functions, since the process began


def call(source: Path, function: str, *arguments: Tensor | float | None) -> bool:
    """Call a C function with PyTorch's number of threads, then `arguments`: int64_t, float, and pointers to
    tensors, NULL for None. False, and nothing is done, where a tensor is not on the CPU or the file was not compiled.
    """
    on_cpu = all(argument.is_cpu for argument in arguments if isinstance(argument, Tensor))
    library = _library(source) if on_cpu else None
    if library is None:
        return False
    calls[f"benchsuite::{function}"] += 1
    with _named(f"benchsuite::{function}"):
        getattr(library, function)(ctypes.c_int64(torch.get_num_threads()), *map(_in_c, arguments))
    return True


def is_compiled(source: Path) -> bool:
    """Whether the functions of a C file are there to be called."""
    return _library(source) is not None


def _named(name: str) -> contextlib.AbstractContextManager[object]:
    """What a profiler shows, where there is one: it costs some microseconds."""
    return profiler.record_function(name) if profiler._is_profiler_enabled else contextlib.nullcontext()


def _in_c(argument: Tensor | float | None) -> ctypes.c_void_p | ctypes.c_int64 | ctypes.c_float:
    if argument is None or isinstance(argument, Tensor):
        return ctypes.c_void_p(None if argument is None else argument.data_ptr())
    return ctypes.c_int64(argument) if isinstance(argument, int) else ctypes.c_float(argument)


@functools.cache
def _library(source: Path) -> ctypes.CDLL | None:
    """The functions of a C file; None where `$CC`, or `cc`, does not compile it.

    It is kept in `$XDG_CACHE_HOME/benchsuite/c`, under a name that stands for text, compiler and processor.
    """
    try:
        compiler = (*shlex.split(os.environ.get("CC") or "cc"), *_FLAGS)
        target = _output(*compiler, "-dM", "-E", "-x", "c", os.devnull)  # its version and the processor's instructions
        headers = [path for folder in (source.parent, _HEADERS) for path in sorted(folder.glob("*.h"))]
        texts = [path.read_bytes() for path in (source, *headers)]
        name = sha256(b"\0".join((*texts, target, repr(compiler).encode()))).hexdigest()[:32]
        kept = cache_path("c", f"{source.stem}-{name}.so")
        if not kept.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
                made = Path(folder, kept.name)
                _output(*compiler, f"-I{_HEADERS}", str(source), "-o", str(made))
                made.replace(kept)
        return ctypes.CDLL(str(kept))
    except (OSError, ValueError, subprocess.CalledProcessError):
        return None


def _output(*command: str) -> bytes:
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True).stdout
