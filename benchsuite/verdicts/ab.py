"""Two sides in fresh processes by turns, A B B A …, until every gated speed is decided."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchsuite.record import Record, Rounds
from benchsuite.verdicts.compare import Comparison, Key, Policy
from benchsuite.verdicts.judge import Verdict, counted
from benchsuite.verdicts.replicates import Run, compare_runs, merge_runs
from benchsuite.verdicts.runs import Side, run_bench

Say = Callable[[str], None]


@dataclass
class Trial:
    """What has been measured so far; survives an interruption."""

    sides: tuple[Side, Side]
    runs: tuple[list[Run], list[Run]] = field(default_factory=lambda: ([], []))

    def merged(self) -> tuple[dict[Key, Record], dict[Key, Record]]:
        """Each side as one run."""
        return merge_runs(self.runs[0]), merge_runs(self.runs[1])


def order(limit: int) -> list[int]:
    """Which side runs when: A B B A A B B A …, `limit` runs a side; a steady drift of the machine cancels."""
    return [(turn + pair) % 2 for pair in range(limit) for turn in (0, 1)]


def looks(limit: int) -> list[int]:
    """After how many runs a side the verdicts are looked at: 2, 4, 8 …, and at the limit."""
    return sorted({*(2**power for power in range(1, limit.bit_length()) if 2**power < limit), limit})


def run_trial(trial: Trial, arguments: Sequence[str], limit: int, folder: Path, policy: Policy, say: Say) -> None:
    """Run the two sides by turns into `trial`, until every gated speed is decided or `limit` runs a side are done.

    Each file and log is kept in `folder`.
    """
    for count, side in enumerate(order(limit)):
        letter, done = "AB"[side], len(trial.runs[side])
        say(f"run {count + 1} of at most {2 * limit}: {letter} {trial.sides[side].name} …")
        run, seconds = run_bench(trial.sides[side], arguments, folder / f"{letter}-{done + 1}.json")
        if not count:  # a misspelt budget is found before the hours are spent
            policy.budgets.check_used(run.values())
        trial.runs[side].append(run)
        failed = sum(record.status == "failed" for record in run.values())
        say(f"    {counted(len(run), 'cell')} in {seconds:.0f} s" + (f", {failed} failed" if failed else ""))
        finished = min(len(runs) for runs in trial.runs)
        if count % 2 and finished in looks(limit) and finished < limit:
            undecided = [verdict for verdict in verdicts(trial, limit, policy).verdicts if _undecided(verdict)]
            if not undecided:
                return
            say(f"    not decided yet: {counted(len(undecided), 'speed')}, such as {undecided[0].label}")


def verdicts(trial: Trial, limit: int, policy: Policy) -> Comparison:
    """The comparison of all runs so far, at a level divided by how often one looks (Bonferroni)."""
    return compare_runs(*trial.runs, replace(policy, alpha=policy.alpha / len(looks(limit))))


def _undecided(verdict: Verdict) -> bool:
    metric = verdict.base
    return verdict.outcome == "cannot tell" and metric is not None and isinstance(metric.evidence, Rounds)
