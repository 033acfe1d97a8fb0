"""Where a regressed cell moved: which phases, kernels, layers, bytes, documents and items differ in its two records."""

from __future__ import annotations

import collections
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from benchsuite.data import datasets
from benchsuite.errors import BenchsuiteError
from benchsuite.record import Items, Record, Rounds, Windows
from benchsuite.stats import log_ratio
from benchsuite.verdicts.budgets import metric_class

MOST = 5  # of each kind of finding
SNR_DB = 0.1  # a layer's signal-to-noise ratio that falls by less has not moved
SPEED = 0.02  # a phase that is slower by less has not moved
EXCERPT = 160  # characters of a prompt


def where_it_moved(base: Record, head: Record, metrics: Sequence[str]) -> list[str]:
    """One line per part of the cell that differs and has to do with the `metrics` that regressed, causes first."""
    kinds = {metric_class(name, base.metrics[name]) for name in metrics}
    speed, quality = "speed" in kinds, bool(kinds & {"perplexity", "accuracy", "divergence", "score"})
    findings = [
        _phases(base, head) if speed else (),
        _operators(base, head),
        _layers(base, head) if quality else (),
        _bytes_by_kind(base, head),
        _documents(base, head) if quality else (),
        _flipped_items(base, head) if quality else (),
        _libraries(base, head),
    ]
    return [line for found in findings for line in found]


def _phases(base: Record, head: Record) -> Iterator[str]:
    """Each clock of the cell: a decode that slowed beside a prefill that did not names the half to look at."""
    changes = {}
    for name, metric in base.metrics.items():
        one, other = metric.evidence, head.metrics.get(name, metric).evidence
        if isinstance(one, Rounds) and isinstance(other, Rounds):
            changes[name] = math.expm1(log_ratio(one.seconds / one.work, other.seconds / other.work).value)
    if any(abs(change) > SPEED for change in changes.values()):
        for name, change in sorted(changes.items(), key=lambda pair: -pair[1]):
            yield f"{name}: {100 * change:+.1f} % time" + ("" if abs(change) > SPEED else ", not moved")


def _operators(base: Record, head: Record) -> Iterator[str]:
    one, other = (record.kernels.get("operators", {}) for record in (base, head))
    for name in sorted(one.keys() | other.keys()):
        if one.get(name, 0) != other.get(name, 0):
            yield f"kernel {name}: {one.get(name, 0)} → {other.get(name, 0)} calls"
    for name in sorted((base.kernels.keys() | head.kernels.keys()) - {"operators"}):
        if base.kernels.get(name) != head.kernels.get(name):
            yield f"kernels, {name}: {base.kernels.get(name)} → {head.kernels.get(name)}"


def _layers(base: Record, head: Record) -> Iterator[str]:
    one, other = ({layer["name"]: layer for layer in _layers_of(record)} for record in (base, head))
    fallen = []
    for name in one.keys() & other.keys():
        before, after = one[name].get("snr_db"), other[name].get("snr_db")
        if before is not None and after is not None and before - after > SNR_DB:
            fallen.append((before - after, name, before, after))
    yield from _most(
        sorted(fallen, reverse=True), lambda f: f"layer {f[1]}: signal-to-noise {f[2]:.1f} → {f[3]:.1f} dB"
    )
    if one.keys() != other.keys() and (one or other):
        lost, new = sorted(one.keys() - other.keys()), sorted(other.keys() - one.keys())
        yield from _most(lost, lambda name: f"layer {name}: no longer quantized")
        yield from _most(new, lambda name: f"layer {name}: quantized only now")


def _bytes_by_kind(base: Record, head: Record) -> Iterator[str]:
    sizes = []
    for record in (base, head):
        kinds: dict[str, float] = collections.defaultdict(float)
        for layer in _layers_of(record):
            kinds[layer["kind"]] += layer["shape"][0] * layer["shape"][1] * layer["bits_per_weight"] / 8
        sizes.append(kinds)
    for kind in sorted(sizes[0].keys() | sizes[1].keys()):
        before, after = sizes[0].get(kind, 0.0), sizes[1].get(kind, 0.0)
        if round(before) != round(after):
            yield f"bytes of {kind}: {before:,.0f} → {after:,.0f}"


def _documents(base: Record, head: Record) -> Iterator[str]:
    """The documents whose loss rose most, by the evidence that has the most windows."""
    windows = [
        (len(metric.evidence.tokens), name)
        for name, metric in base.metrics.items()
        if isinstance(metric.evidence, Windows)
    ]
    if not windows:
        return
    name = max(windows)[1]
    one, other = base.metrics[name].evidence, head.metrics[name].evidence if name in head.metrics else None
    if not isinstance(one, Windows) or not isinstance(other, Windows) or not np.array_equal(one.cluster, other.cluster):
        return
    documents, index = np.unique(one.cluster, return_inverse=True)
    loss = np.bincount(index, one.log_likelihood - other.log_likelihood)
    rise = loss / np.maximum(np.bincount(index, one.tokens), 1)
    worst = [place for place in np.argsort(-rise)[:MOST] if rise[place] > 0]
    for place in worst:
        yield f"document {documents[place]}: {rise[place]:+.4f} nats a unit of {name}"


def _flipped_items(base: Record, head: Record) -> Iterator[str]:
    flipped = {}
    for name, metric in base.metrics.items():
        one, other = metric.evidence, head.metrics.get(name, metric).evidence
        if isinstance(one, Items) and isinstance(other, Items) and len(one.outcomes) == len(other.outcomes):
            flipped[name] = np.flatnonzero(one.outcomes & ~other.outcomes), int((~one.outcomes & other.outcomes).sum())
    prompts = _prompts(base) if any(lost.size for lost, _ in flipped.values()) else ()
    for name, (lost, gained) in flipped.items():
        if lost.size or gained:
            yield f"{name}: {lost.size} items right → wrong, {gained} wrong → right"
        yield from _most(lost.tolist(), lambda item: f"item {item}, right → wrong{_quoted(prompts, item)}")


def _prompts(record: Record) -> Sequence[str]:
    """The prompts of the cell's dataset, where it can be had here and is the one that was measured."""
    try:
        examples = datasets[record.cell.dataset].load("test", record.cell.limit)
    except BenchsuiteError:  # another machine measured it: the items keep their numbers
        return ()
    if examples.fingerprint() != record.fingerprints.get("data"):
        return ()
    fields = ("question", "text", "instruction")
    return [next(str(getattr(item, name)) for name in fields if hasattr(item, name)) for item in examples.items]


def _quoted(prompts: Sequence[str], item: int) -> str:
    if item >= len(prompts):
        return ""
    text = " ".join(prompts[item].split())
    return f": {text if len(text) <= EXCERPT else text[: EXCERPT - 2] + ' …'}"


def _libraries(base: Record, head: Record) -> Iterator[str]:
    one, other = (record.machine.get("libraries", {}) for record in (base, head))
    for name in sorted(one.keys() | other.keys()):
        if one.get(name) != other.get(name):
            yield f"{name}: {one.get(name, 'not installed')} → {other.get(name, 'not installed')}"


def _layers_of(record: Record) -> Sequence[Mapping[str, Any]]:
    layers: Sequence[Mapping[str, Any]] = record.coverage.get("layers", ())
    return layers


def _most(found: Sequence[Any], line: Callable[[Any], str]) -> Iterator[str]:
    """A line for the first few, and how many more there are."""
    yield from map(line, found[:MOST])
    if len(found) > MOST:
        yield f"… and {len(found) - MOST:,} more"
