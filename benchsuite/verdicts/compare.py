"""Two sets of records -> verdicts: what pairs with what, what may be compared, and what the run as a whole says."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchsuite.errors import FileFormatError
from benchsuite.record import Record, Rounds
from benchsuite.records import object_in, read_records
from benchsuite.stats import holm
from benchsuite.verdicts.budgets import Budgets, make_budgets, metric_class
from benchsuite.verdicts.judge import Outcome, Test, Verdict, counted, decide, judge, same_evidence
from benchsuite.verdicts.noise import NoiseFloor, read_noise

Key = tuple[str, ...]
MANY = 8  # speeds that move together did not each change for itself
DRIFT = 0.03  # by less in the median nothing is said
ALMOST_ALL = 0.9  # of the speeds are together
GATE_FAILS: frozenset[Outcome] = frozenset({"missing", "not comparable"})
JUDGED: frozenset[Outcome] = frozenset({"worse", "better", "same", "cannot tell"})


@dataclass(frozen=True)
class Policy:
    """How two sides are compared."""

    budgets: Budgets = field(default_factory=make_budgets)
    noise: Callable[[str], NoiseFloor | None] = read_noise  # of the machine with that fingerprint
    alpha: float = 0.05
    across_weights: bool = False  # compare although the weights differ: two checkpoints of one model


@dataclass(frozen=True)
class Comparison:
    """All verdicts, and how many gated tests they were corrected for."""

    verdicts: tuple[Verdict, ...]
    tests: int
    alpha: float = 0.05
    notes: tuple[str, ...] = ()
    is_whole: bool = True  # False: not all was measured that was to be

    def broken_off(self, why: str) -> Comparison:
        """The same verdicts, on what was measured until then; `why` is its first note."""
        return replace(self, notes=(why, *self.notes), is_whole=False)

    def of(self, *outcomes: Outcome) -> list[Verdict]:
        """The verdicts of these outcomes."""
        return [verdict for verdict in self.verdicts if verdict.outcome in outcomes]

    @property
    def exit_status(self) -> int:
        """0 no regression, 1 a regression, 3 something missing or not comparable, or nothing judged at all."""
        if not self.is_whole:
            return 3
        if self.of("worse"):
            return 1
        return 3 if self.of(*GATE_FAILS) or not self.of(*JUDGED) else 0


def compare(base: Mapping[Key, Record], head: Mapping[Key, Record], policy: Policy | None = None) -> Comparison:
    """Compare the cells of two runs, Holm's correction going over all gated tests of both p-values.

    A cell or a gated metric on one side only, or a cell that failed, is `missing`.
    """
    policy = policy or Policy()
    findings: list[Verdict | Test] = []
    skipped = 0
    for key in dict.fromkeys((*base, *head)):
        one, other = base.get(key), head.get(key)
        skipped += _nothing_to_compare(one, other)
        findings += _compare_cells(one, other, policy)
    gated = [finding for finding in findings if isinstance(finding, Test) and finding.budget]
    corrected = zip(holm([test.p_value for test in gated]), holm([test.p_no_change for test in gated]), strict=True)
    of_test = dict(zip(map(id, gated), corrected, strict=True))
    verdicts = tuple(
        decide(finding, policy.alpha, *of_test.get(id(finding), (1.0, 1.0))) if isinstance(finding, Test) else finding
        for finding in findings
    )
    notes = _notes(gated, verdicts, policy.alpha)
    notes += _differing_versions(base, head)
    for name in policy.budgets.unused_settings((*base.values(), *head.values())):
        notes.append(f"[tool.benchsuite.budgets] {name}: fits no metric of this comparison")
    if skipped:
        notes.append(f"{counted(skipped, 'cell')} ran on neither side")
    return Comparison(verdicts, len(gated), policy.alpha, tuple(notes))


def gate(baseline: Mapping[Key, Record], record: Record, policy: Policy) -> list[Verdict]:
    """The verdicts of one cell as soon as it is measured, the others being still to come.

    Corrected after Bonferroni for every gated metric of `baseline`, so never harder on a cell than `compare` is.
    """
    tests = max(1, sum(len(_gated(old, policy.budgets)) for old in baseline.values() if old.status == "passed"))

    def decided(test: Test) -> Verdict:
        return decide(test, policy.alpha, min(1.0, tests * test.p_value), min(1.0, tests * test.p_no_change))

    findings = _compare_cells(baseline.get(record.cell.key()), record, policy)
    return [decided(finding) if isinstance(finding, Test) else finding for finding in findings]


def read_side(paths: Sequence[Path]) -> dict[Key, Record]:
    """The records of one side from its file or its shards; FileFormatError where a cell was measured twice."""
    return by_cell((path, read_records(path)) for path in paths)


def by_cell(files: Iterable[tuple[Path, Sequence[Record]]]) -> dict[Key, Record]:
    """The records of several files as one side; FileFormatError where a cell was measured twice."""
    found: dict[Key, Record] = {}
    source: dict[Key, Path] = {}
    for path, records in files:
        for record in records:
            key = record.cell.key()
            if key in found:
                where = f"{path}" if source[key] == path else f"{source[key]} and {path}"
                raise FileFormatError(f"{where}: two runs of {record.cell.label()}; keep the one that is meant")
            found[key], source[key] = record, path
    return found


def _compare_cells(base: Record | None, head: Record | None, policy: Policy) -> list[Verdict | Test]:
    if _nothing_to_compare(base, head):
        return []
    absences = [_absence(base, "BASE"), _absence(head, "HEAD")]
    if base is None or head is None or any(absences):
        [cell, *_] = [record.cell for record in (base, head) if record is not None]
        return [Verdict(cell, "", "missing", "; ".join(filter(None, absences)))]
    if reason := _differing_fingerprint(base, head, policy):
        return [Verdict(base.cell, "", "not comparable", reason)]
    return list(_compare_metrics(base, head, policy))


def _compare_metrics(base: Record, head: Record, policy: Policy) -> Iterator[Verdict | Test]:
    machine = str(base.machine.get("fingerprint", ""))
    floor = policy.noise(machine) if machine else None
    gated = _gated(base, policy.budgets) | _gated(head, policy.budgets)
    same_outputs = _same_outputs(base, head)
    for name in dict.fromkeys((*base.metrics, *head.metrics)):
        one, other = base.metrics.get(name), head.metrics.get(name)
        if one is None or other is None:
            if name in gated:
                side = "HEAD" if other is None else "BASE"
                yield Verdict(base.cell, name, "missing", f"not measured in {side}", base=one, head=other)
        elif reason := _measured_otherwise(name, base, head):
            named = policy.budgets.names(name, one, base.cell)  # a gate that was asked for does not pass in silence
            outcome: Outcome = "not comparable" if named else "not compared"
            yield Verdict(base.cell, name, outcome, reason, base=one, head=other)
        else:
            noise = floor.between(base.cell, name) if floor else None
            budget = policy.budgets.amount(name, one, base.cell)
            yield judge(base.cell, name, one, other, budget, noise, same_outputs=same_outputs)


def _gated(record: Record, budgets: Budgets) -> set[str]:
    return {name for name, metric in record.metrics.items() if budgets.amount(name, metric, record.cell)}


def _nothing_to_compare(base: Record | None, head: Record | None) -> bool:
    return all(record is None or record.status == "skipped" for record in (base, head))


def _absence(record: Record | None, side: str) -> str:
    if record is None:
        return f"not in {side}"
    reason = record.reason.strip().splitlines()
    return "" if record.status == "passed" else f"{record.status} in {side}" + (f": {reason[-1]}" if reason else "")


def _differing_fingerprint(base: Record, head: Record, policy: Policy) -> str:
    for name in dict.fromkeys((*base.fingerprints, *head.fingerprints)):
        if base.fingerprints.get(name) == head.fingerprints.get(name) or (name == "weights" and policy.across_weights):
            continue
        if name == "protocol":
            keys = dict.fromkeys((*base.protocol, *head.protocol))
            changed = [key for key in keys if base.protocol.get(key) != head.protocol.get(key)]
            details = [f"{key}: {base.protocol.get(key)} and {head.protocol.get(key)}" for key in changed]
            return f"the protocol differs ({'; '.join(details)})"
        hint = "; `--across-weights` compares two checkpoints" if name == "weights" else ""
        if name == "data" and base.cell.limit != head.cell.limit:
            hint = f" (--limit: {base.cell.limit or 'none'} and {head.cell.limit or 'none'})"
        return f"the {name} differ{'s' if name == 'tokenizer' else ''}{hint}"
    return ""


def _notes(gated: Sequence[Test], verdicts: Sequence[Verdict], alpha: float) -> list[str]:
    """What a reader has to know about the whole: no noise floor, too many tests, speed not compared."""
    notes = []
    speeds = [test for test in gated if metric_class(test.metric, test.base) == "speed" and test.noise is None]
    if unknown := sorted({f"{test.cell.question} {test.metric}" for test in speeds}):
        notes.append(
            f"no noise floor of this machine for {', '.join(unknown)}: rounds alone are judged, and two runs of one "
            "commit may differ by more; `benchsuite calibrate` measures it, `benchsuite ab` of several runs a "
            "side does without"
        )
    ratios = [(test.head.value / test.base.value) ** -test.sign for test in speeds if test.base.value * test.head.value]
    faster = statistics.median(ratios) - 1 if len(ratios) >= MANY else 0.0
    along = [ratio for ratio in ratios if abs(faster) >= DRIFT and (ratio - 1) / faster > 1 / 3]  # a third as far
    if len(along) > ALMOST_ALL * len(ratios):
        notes.append(
            f"{len(ratios)} speeds moved by {faster:+.1%} in the median: that is the machine, or a commit that moves "
            "them all; `benchsuite ab` tells the two apart"
        )
    fewest = min((test.smallest_p for test in speeds), default=0.0)
    if len(gated) * fewest > alpha:
        notes.append(
            f"after the correction for {len(gated):,} gated tests no speed of so few rounds can be told to be worse; "
            "compare fewer cells, or collect more rounds (`benchsuite ab`)"
        )
    apart = dict.fromkeys(verdict.reason for verdict in verdicts if verdict.outcome == "not compared")
    return [*notes, *apart]


def _differing_versions(base: Mapping[Key, Record], head: Mapping[Key, Record]) -> list[str]:
    """A note on Python and the libraries that both sides tell of and that are others in HEAD; nothing where none is."""
    changed = set()
    for key in base.keys() & head.keys():
        one, other = (
            {"python": record.machine.get("python"), **object_in(record.machine, "libraries")}
            for record in (base[key], head[key])
        )
        told = [name for name in one if one[name] and other.get(name)]  # a cell that failed tells of none
        changed |= {f"{name} {one[name]} → {other[name]}" for name in told if one[name] != other[name]}
    return [f"other versions in HEAD: {', '.join(sorted(changed))}"] if changed else []


def _same_outputs(base: Record, head: Record) -> bool:
    """Whether every likelihood, score and outcome is equal to the last bit: then the model did the same, for sure."""
    names = [name for name in base.metrics if name in head.metrics]
    pairs = [(base.metrics[name], head.metrics[name]) for name in names]
    return all(
        same_evidence(one, other)
        for one, other in pairs
        if not any(isinstance(metric.evidence, Rounds | None) for metric in (one, other))
    )


def _measured_otherwise(name: str, base: Record, head: Record) -> str:
    """Why the speed or the memory of the two sides does not compare; empty where it does."""
    kind = metric_class(name, base.metrics[name])
    if kind in ("speed", "memory") and (reason := _differing_machine(base, head)):
        return f"speed and memory are not compared: {reason}"
    if kind == "memory" and base.details.get("one_process") != head.details.get("one_process"):
        return "memory is not compared: the process that measured it did other work besides on each side"
    return ""


def _differing_machine(base: Record, head: Record) -> str:
    """Which parts of the two machines differ, and how; empty where none does."""
    one, other = base.machine, head.machine
    if not one.get("fingerprint") or not other.get("fingerprint"):
        return "a side does not say what machine it was measured on"
    if one["fingerprint"] == other["fingerprint"]:
        return ""
    keys = [key for key in dict.fromkeys((*one, *other)) if key not in ("fingerprint", "memory_bytes", "libraries")]
    differing = [f"{key} {one.get(key)} and {other.get(key)}" for key in keys if one.get(key) != other.get(key)]
    return f"the machine differs: {'; '.join(differing) or 'its fingerprint'}"
