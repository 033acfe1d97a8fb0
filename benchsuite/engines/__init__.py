"""Other systems beside ours: `load_engine("llama-cpp:Q8_0", source, threads=2)`. Importing this imports none."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from benchsuite.errors import UnavailableError, UnknownNameError, UsageError

if TYPE_CHECKING:
    from benchsuite.engines.source import Source

INT8 = ("absmax8-row", "w8a8", "w8a8-head8", "llm-int8")
INT4 = ("absmax4-g32", "absmax4-g32-head8", "absmax4-g64", "absmax4-g64-head8", "nf4-g64")


@dataclass(frozen=True)
class Entry:
    """An engine: its module here, the package that it needs, and how it holds the like of each of our precisions."""

    module: str
    package: str
    formats: Mapping[str, str] = field(default_factory=dict)  # precision -> format; empty: every precision, as it is
    devices: tuple[str, ...] = ("cpu",)
    pool: str = ""  # what is imported, where that brings a thread pool of its own: such an engine gets a process


ENGINES: dict[str, Entry] = {
    "native": Entry("native", "torch", devices=("cpu", "cuda")),
    "native-compiled": Entry("native_compiled", "torch", devices=("cpu", "cuda")),
    "native-graph": Entry("native_graph", "torch", devices=("cuda",)),
    "transformers": Entry(
        "transformers_engine",
        "transformers",
        {"fp32": "fp32", "bf16": "bf16", "fp16": "fp16"}
        | dict.fromkeys((*INT8, "bnb-int8"), "bnb-int8")
        | dict.fromkeys(("nf4-g64", "bnb-nf4"), "bnb-nf4")
        | dict.fromkeys(("fp4-g64", "bnb-fp4"), "bnb-fp4"),
        devices=("cpu", "cuda"),
    ),
    "ctranslate2": Entry(
        "ctranslate2_engine",
        "ctranslate2",
        {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"} | dict.fromkeys(INT8, "int8"),
        pool="ctranslate2",
    ),
    "llama-cpp": Entry(
        "llama_cpp_engine",
        "llama-cpp-python",
        {"fp32": "F32", "bf16": "BF16", "fp16": "F16", "zeropoint4-g32": "Q4_1"}
        | dict.fromkeys(INT8, "Q8_0")
        | dict.fromkeys(INT4, "Q4_0"),
        pool="llama_cpp",
    ),
    "onnxruntime": Entry(
        "onnxruntime_engine", "onnxruntime", {"fp32": "fp32"} | dict.fromkeys(INT8, "int8"), pool="onnxruntime"
    ),
}


def ignore() -> None:
    """Where nobody wants to know when a token came."""


class Engine(Protocol):
    """What is timed. Both works start from token ids and leave tokenisation out."""

    def prefill(self, ids: Sequence[int]) -> None:
        """One pass over a prompt: the logits of every position are computed and dropped."""

    def generate(
        self, prompts: Sequence[Sequence[int]], new_tokens: int, mark: Callable[[], None] = ignore
    ) -> list[list[int]]:
        """Exactly `new_tokens` greedy token ids after each prompt, all of one length, an end-of-text token or not.

        `mark` is called when a token of every row is known. Only the last position's logits of a prompt are computed.
        """


def format_of(engine: str, precision: str) -> str:
    """How `engine` holds the like of `precision`; UnavailableError where it has no counterpart of it."""
    formats = ENGINES[engine].formats
    if formats and precision not in formats:
        raise UnavailableError(f"{engine} has no counterpart of {precision}; it has those of {', '.join(formats)}")
    return formats.get(precision, precision)


def start_engine(name: str, source: Source, *, threads: int, device: str = "cpu") -> Engine:
    """As `load_engine`, but in a process of its own where the engine has a thread pool of its own."""
    entry, _ = _entry_of(name, device)
    if not entry.pool:
        return load_engine(name, source, threads=threads, device=device)
    if importlib.util.find_spec(entry.pool) is None:
        raise _not_installed(entry, f"no module named {entry.pool}")
    from benchsuite.engines.process import EngineProcess

    return EngineProcess(name, source, threads=threads, device=device)


def load_engine(name: str, source: Source, *, threads: int, device: str = "cpu") -> Engine:
    """The engine of `ENGINE:FORMAT` with the weights of `source`, in this process.

    Raises UsageError for a name that cannot be, UnavailableError where the engine is not installed here.
    """
    entry, form = _entry_of(name, device)
    try:
        loaded = importlib.import_module(f"benchsuite.engines.{entry.module}")
    except ImportError as error:
        raise _not_installed(entry, str(error)) from error
    engine: Engine = loaded.load(source, form, threads, device)
    return engine


def _entry_of(name: str, device: str) -> tuple[Entry, str]:
    engine, _, form = name.partition(":")
    if engine not in ENGINES:
        raise UnknownNameError("engine", engine, ENGINES)
    entry = ENGINES[engine]
    forms = tuple(dict.fromkeys(entry.formats.values()))
    if not form:
        raise UsageError(f"engine {name!r} names no format; write for example {engine}:{(forms or ('fp32',))[0]}")
    if forms and form not in forms:
        raise UnknownNameError(f"format of {engine}", form, forms)
    if device.partition(":")[0] not in entry.devices:
        raise UnavailableError(
            f"{engine} is measured on {' and '.join(entry.devices)} only; use --device {entry.devices[0]}"
        )
    return entry, form


def _not_installed(entry: Entry, found: str) -> UnavailableError:
    return UnavailableError(
        f"{entry.package} is not installed ({found}); "
        f"`pip install {entry.package}` or `pip install 'benchsuite[peers]'`"
    )


def library_of(engine: str) -> str:
    """The package and the version behind an engine that is installed."""
    package = ENGINES[engine].package
    return f"{package} {importlib.metadata.version(package)}"
