"""What a cell leaves in the JSON: written here, read here, nowhere else.

`extra_info["benchsuite"]` of a benchmark in pytest-benchmark's JSON is one record:

    {"schema": 1, "status": "passed" | "skipped" | "failed", "reason": str,
     "cell": {"question", "model", "precision", "dataset", "engine", "attention", "batch_size", "device", "limit",
              "options"},
     "metrics": {name: {"value", "unit", "better", "interval", "n", "evidence"}},
     "fingerprints": {"weights", "tokenizer", "data", "protocol"},
     "protocol": {…}, "coverage": {…}, "kernels": {…}, "machine": {…}, "samples": [{…}], "excluded": {reason: count},
     "details": {…}}

Evidence is what a paired test needs, so that two files can be compared without a rerun:

    {"kind": "items",   "bits": base64 of np.packbits, "n": items}                 one outcome an item
    {"kind": "windows", "log_likelihood": base64 float64, "tokens": base64 int64,
                        "cluster": base64 int64}      one sum a window; `tokens` is what it is divided by; `cluster` the
                                                      document that a window belongs to
    {"kind": "values",  "values": base64 float64, "cluster": base64 int64,
                        "sizes": base64 int64 or null}            one figure an item (KL, F1 …), and its weight
    {"kind": "rounds",  "seconds": base64 float64, "work": number}           one time a round; value = work / median

All arrays are little-endian. No NaN, no infinity.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from benchsuite.errors import FileFormatError, NumericalError

SCHEMA = 1
KEY = "benchsuite"
Better = Literal["higher", "lower"]
Status = Literal["passed", "skipped", "failed"]


@dataclass(frozen=True)
class Items:
    """Right or wrong, item by item."""

    outcomes: NDArray[np.bool_]  # (n,)


@dataclass(frozen=True)
class Windows:
    """Log-likelihood sums (nats), window by window, and the units (tokens, words, bytes) that each is divided by."""

    log_likelihood: NDArray[np.float64]  # (n,)
    tokens: NDArray[np.int64]  # (n,)
    cluster: NDArray[np.int64]  # (n,) the document that a window belongs to


@dataclass(frozen=True)
class Values:
    """One figure an item; `cluster` says which items belong together, `sizes` how much each weighs in the mean."""

    values: NDArray[np.float64]  # (n,)
    cluster: NDArray[np.int64]  # (n,)
    sizes: NDArray[np.int64] | None = None  # (n,) tokens that a figure is the mean of; None: all weigh the same


@dataclass(frozen=True)
class Rounds:
    """The time of each round in seconds, and the work (tokens, samples) that one round does."""

    seconds: NDArray[np.float64]  # (n,)
    work: float


Evidence = Items | Windows | Values | Rounds


@dataclass(frozen=True)
class Metric:
    """One figure of a cell. `better` is None where neither direction is good (an entropy, a count)."""

    value: float
    unit: str
    better: Better | None
    interval: tuple[float, float] | None = None  # 95 %
    n: int | None = None
    evidence: Evidence | None = None


@dataclass(frozen=True)
class Cell:
    """What was measured: one point of the matrix. `question` is the bench test's name (perplexity, generation …)."""

    question: str
    model: str
    precision: str
    dataset: str = ""
    engine: str = "native"
    attention: str = "sdpa"
    batch_size: int = 1
    device: str = "cpu"
    limit: int | None = None
    options: tuple[tuple[str, str], ...] = ()  # whatever else a question varies (sequence length, compile …)

    def key(self) -> tuple[str, ...]:
        """What pairs a cell with the same cell of another file."""
        return (
            self.question, self.model, self.precision, self.dataset, self.engine, self.attention, str(self.batch_size),
            self.device, *(f"{name}={value}" for name, value in self.options),
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """The cell as plain JSON values."""
        return {**vars(self), "options": dict(self.options)}

    def columns(self) -> dict[str, Any]:
        """The cell as columns of a table: each of its options is one."""
        cell = self.to_json()
        options = cell.pop("options")
        return {**cell, **options}

    def label(self) -> str:
        """What people call it, no two cells of a matrix alike: what is as usual goes without saying.

        >>> Cell("perplexity", "tiny", "fp32", "prose").label()
        'perplexity tiny-fp32-prose'
        >>> Cell("generation", "tiny", "nf4-g64", batch_size=8, device="cuda").label()
        'generation tiny-nf4-g64 ×8 cuda'
        """
        usual = {"engine": "native", "attention": "sdpa"}
        extra = [value for name in usual if (value := str(getattr(self, name))) != usual[name]]
        extra += [f"{name}={value}" for name, value in self.options]
        extra += [f"×{self.batch_size}"] if self.batch_size != 1 else []
        extra += [self.device] if self.device != "cpu" else []
        parts = "-".join(part for part in (self.model, self.precision, self.dataset) if part)
        return " ".join([self.question, parts, *extra])


@dataclass(frozen=True)
class Record:
    """Everything that a cell leaves behind; the fields are described in the module's docstring."""

    cell: Cell
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    status: Status = "passed"
    reason: str = ""
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    protocol: Mapping[str, Any] = field(default_factory=dict)
    coverage: Mapping[str, Any] = field(default_factory=dict)
    kernels: Mapping[str, Any] = field(default_factory=dict)
    machine: Mapping[str, Any] = field(default_factory=dict)
    samples: Sequence[Mapping[str, Any]] = ()
    excluded: Mapping[str, int] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)  # findings that are no metric: a confusion matrix …


def protocol_fingerprint(protocol: Mapping[str, Any]) -> str:
    """SHA-256 (hexadecimal) of a protocol: everything that fixes a number besides model and data."""
    return hashlib.sha256(json.dumps(protocol, sort_keys=True, allow_nan=False).encode()).hexdigest()


def to_json(record: Record) -> dict[str, Any]:
    """The record as plain JSON values; raises NumericalError naming a metric that is NaN or infinite."""
    return {
        "schema": SCHEMA,
        "status": record.status,
        "reason": record.reason,
        "cell": record.cell.to_json(),
        "metrics": {name: _metric_to_json(name, metric) for name, metric in record.metrics.items()},
        "fingerprints": dict(record.fingerprints),
        "protocol": dict(record.protocol),
        "coverage": dict(record.coverage),
        "kernels": dict(record.kernels),
        "machine": dict(record.machine),
        "samples": [dict(sample) for sample in record.samples],
        "excluded": dict(record.excluded),
        "details": dict(record.details),
    }


def from_json(data: Mapping[str, Any], where: str) -> Record:
    """The record of `extra_info["benchsuite"]`; `where` (file and benchmark) opens each FileFormatError."""
    schema = data.get("schema") if isinstance(data, Mapping) else None
    if schema != SCHEMA:
        raise FileFormatError(f"{where}: a record of schema {schema!r}; this benchsuite reads schema {SCHEMA}")
    try:
        cell = dict(data["cell"])
        cell["options"] = tuple((name, str(value)) for name, value in cell["options"].items())
        names = ("question", "model", "precision", "dataset", "engine", "attention", "device")
        texts = [data["reason"], *(cell[name] for name in names), *data["fingerprints"].values()]
        if not all(isinstance(text, str) for text in texts):
            raise TypeError("a name, a fingerprint or the reason is no text")
        if not isinstance(cell["batch_size"], int) or not isinstance(cell["limit"], int | None):
            raise TypeError("the batch size or the limit is no whole number")
        if data["status"] not in get_args(Status):
            raise ValueError(f"unknown status {data['status']!r}")
        return Record(
            cell=Cell(**cell),
            metrics={name: _metric_from_json(metric) for name, metric in data["metrics"].items()},
            status=data["status"],
            reason=data["reason"],
            fingerprints=dict(data["fingerprints"]),
            protocol=dict(data["protocol"]),
            coverage=dict(data["coverage"]),
            kernels=dict(data["kernels"]),
            machine=dict(data["machine"]),
            samples=data["samples"],
            excluded=dict(data["excluded"]),
            details=dict(data["details"]),
        )
    except (LookupError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise FileFormatError(f"{where}: not a whole record: {type(error).__name__}: {error}; measure again") from error


def _metric_to_json(name: str, metric: Metric) -> dict[str, Any]:
    for figure in (metric.value, *(metric.interval or ())):
        if not math.isfinite(figure):
            raise NumericalError(f"the metric {name} is {figure}; the cell's numbers cannot be trusted")
    return {
        "value": float(metric.value),
        "unit": metric.unit,
        "better": metric.better,
        "interval": None if metric.interval is None else [float(end) for end in metric.interval],
        "n": metric.n,
        "evidence": None if metric.evidence is None else _evidence_to_json(name, metric.evidence),
    }


def _evidence_to_json(name: str, evidence: Evidence) -> dict[str, Any]:
    if isinstance(evidence, Items):
        bits = np.packbits(np.asarray(evidence.outcomes, dtype=bool))
        return {"kind": "items", "bits": base64.b64encode(bits.tobytes()).decode(), "n": len(evidence.outcomes)}
    if isinstance(evidence, Windows):
        return {
            "kind": "windows",
            "log_likelihood": _floats(name, evidence.log_likelihood),
            "tokens": _integers(evidence.tokens),
            "cluster": _integers(evidence.cluster),
        }
    if isinstance(evidence, Values):
        return {
            "kind": "values",
            "values": _floats(name, evidence.values),
            "cluster": _integers(evidence.cluster),
            "sizes": None if evidence.sizes is None else _integers(evidence.sizes),
        }
    return {"kind": "rounds", "seconds": _floats(name, evidence.seconds), "work": float(evidence.work)}


def _metric_from_json(data: Mapping[str, Any]) -> Metric:
    interval, evidence = data["interval"], data["evidence"]
    value = float(data["value"])
    if not math.isfinite(value):
        raise ValueError("a metric is NaN or infinite")
    if not isinstance(data["unit"], str) or data["better"] not in (None, *get_args(Better)):
        raise ValueError("a metric whose unit is no text, or without a known good direction")
    return Metric(
        value=value,
        unit=data["unit"],
        better=data["better"],
        interval=None if interval is None else (float(interval[0]), float(interval[1])),
        n=data["n"],
        evidence=None if evidence is None else _evidence_from_json(evidence),
    )


def _evidence_from_json(data: Mapping[str, Any]) -> Evidence:
    kind = data["kind"]
    if kind == "items":
        packed = np.frombuffer(_bytes(data["bits"]), dtype=np.uint8)
        if packed.size * 8 < data["n"]:
            raise ValueError("fewer outcomes than items")
        return Items(np.unpackbits(packed, count=data["n"]).astype(bool))
    if kind == "windows":
        windows = Windows(
            _array(data["log_likelihood"], "<f8"), _array(data["tokens"], "<i8"), _array(data["cluster"], "<i8")
        )
        if not len(windows.log_likelihood) == len(windows.tokens) == len(windows.cluster):
            raise ValueError("window arrays of different lengths")
        return windows
    if kind == "values":
        sizes = data["sizes"]
        values = Values(
            _array(data["values"], "<f8"),
            _array(data["cluster"], "<i8"),
            None if sizes is None else _array(sizes, "<i8"),
        )
        if len({len(array) for array in vars(values).values() if array is not None}) > 1:
            raise ValueError("value arrays of different lengths")
        return values
    if kind == "rounds":
        rounds = Rounds(_array(data["seconds"], "<f8"), float(data["work"]))
        fastest_s = float(rounds.seconds.min()) if rounds.seconds.size else 0.0
        if fastest_s <= 0 or not 0 < rounds.work / fastest_s < math.inf:
            raise ValueError("rounds of no time, of no work, or of more in a second than a number can be")
        return rounds
    raise ValueError(f"unknown kind of evidence {kind!r}")


def _floats(name: str, values: NDArray[np.float64]) -> str:
    array = np.ascontiguousarray(values, dtype="<f8")
    if not np.isfinite(array).all():
        raise NumericalError(f"the evidence of {name} holds NaN or infinity; the cell's numbers cannot be trusted")
    return base64.b64encode(array.tobytes()).decode()


def _integers(values: NDArray[np.int64]) -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype="<i8").tobytes()).decode()


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"evidence that is not base64: {error}") from error


def _array(text: str, dtype: str) -> NDArray[Any]:
    array = np.frombuffer(_bytes(text), dtype=dtype)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError("evidence holds NaN or infinity")
    return array
