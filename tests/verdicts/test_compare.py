"""Two runs side by side: what pairs, what is noted, and how many verdicts there may be by chance."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchsuite.errors import FileFormatError
from benchsuite.record import Metric, Record, Rounds
from benchsuite.report.verdicts import message
from benchsuite.verdicts.compare import Policy, compare, gate, read_side
from benchsuite.verdicts.noise import NoiseFloor, Spread, kind
from tests.verdicts.sides import compared, outcomes

Run = list[Record]
MakeRun = Callable[..., Run]
WriteRun = Callable[..., Path]


def test_a_run_is_the_same_as_itself_to_the_last_bit(make_run: MakeRun) -> None:
    comparison = compared(make_run(), make_run())
    gated = [verdict for verdict in comparison.verdicts if verdict.outcome != "not gated"]
    assert len(gated) == 12
    assert {verdict.outcome for verdict in gated} == {"same"}
    assert all(verdict.change == 0.0 and not verdict.moved for verdict in gated)
    assert comparison.exit_status == 0


def test_what_is_planted_is_found_and_nothing_else(make_run: MakeRun) -> None:
    head = make_run(1, cells=3, loss=0.01, slowdown=1.15, forgotten=15, weight_bytes=1_000_001, peak_bytes=640_000_000)
    comparison = compared(make_run(0, cells=3), head)
    found = outcomes(comparison)
    for metric in ("perplexity", "accuracy", "tokens_per_s", "weight_bytes", "peak_memory_bytes"):
        assert found[metric] == {"worse"}, metric
    assert found["batch_latency_s"] == found["share_of_padding"] == {"not gated"}
    assert comparison.exit_status == 1
    back = compared(head, make_run(0, cells=3))
    assert set().union(*outcomes(back).values()) == {"better", "not gated"}
    chances = [(one.p_value, one.p_corrected) for one in back.of("better") if one.p_value is not None]
    assert chances  # that nothing changed, not that nothing is worse, of which they say 1
    assert all(p <= corrected <= 0.05 for p, corrected in chances)
    assert back.exit_status == 0


def test_the_noise_floor_of_the_machine_counts(make_run: MakeRun) -> None:
    base, head = make_run(0, cells=1), make_run(1, cells=1, slowdown=1.12)
    assert outcomes(compared(base, head))["tokens_per_s"] == {"worse"}
    assert any("no noise floor" in note for note in compared(base, head).notes)
    floor = NoiseFloor("m", {kind(base[0].cell, "tokens_per_s"): Spread(0.06, 0.01, 30, 8)})
    quiet = compared(base, head, noise=lambda machine: floor if machine == "m" else None)
    verdict = next(v for v in quiet.verdicts if v.metric == "tokens_per_s")
    assert verdict.outcome == "cannot tell"
    assert "noise" in verdict.reason
    assert not quiet.notes


@pytest.mark.parametrize(
    ("cells", "slowdown", "told"), [(12, 1.2, "-16."), (12, 0.8, "+2"), (12, 1.01, ""), (3, 1.2, "")]
)
def test_speeds_that_all_move_are_said_to_be_the_machine_or_a_change_to_all(
    make_run: MakeRun, cells: int, slowdown: float, told: str
) -> None:
    base, head = make_run(0, cells=cells), make_run(1, cells=cells, slowdown=slowdown)
    notes = [note for note in compared(base, head).notes if "in the median" in note]
    assert len(notes) == bool(told)
    assert all(f"12 speeds moved by {told}" in note for note in notes)


def test_half_of_the_speeds_are_not_all(make_run: MakeRun) -> None:
    base, slow, same = make_run(0, cells=12), make_run(1, cells=12, slowdown=1.3), make_run(1, cells=12)
    head = [*slow[:8], *same[8:]]
    assert not [note for note in compared(base, head).notes if "in the median" in note]


def test_a_peak_of_memory_is_judged_by_its_noise_where_that_is_known(make_run: MakeRun) -> None:
    base = make_run(0, cells=1)
    floor = NoiseFloor("m", {kind(base[0].cell, "peak_memory_bytes"): Spread(0.02, 0.0, 30, 1)})

    def outcome(peak_bytes: int, noise: NoiseFloor | None) -> str:
        found = outcomes(compared(base, make_run(1, cells=1, peak_bytes=peak_bytes), noise=lambda _: noise))
        return found["peak_memory_bytes"].pop()

    assert [outcome(620_000_000, noise) for noise in (None, floor)] == ["worse", "cannot tell"]
    assert [outcome(900_000_000, noise) for noise in (None, floor)] == ["worse", "worse"]
    assert [outcome(500_000_000, noise) for noise in (None, floor)] == ["better", "better"]


@pytest.mark.parametrize("name", ["weights", "tokenizer", "data", "protocol"])
def test_records_whose_fingerprints_differ_are_not_comparable_and_the_one_is_named(
    make_run: MakeRun, name: str
) -> None:
    head = make_run(1, fingerprints={"weights": "w", "tokenizer": "t", "data": "d", "protocol": "p", name: "other"})
    comparison = compared(make_run(), [dataclasses.replace(r, protocol={"window": 256}) for r in head])
    assert {(v.outcome, v.metric) for v in comparison.verdicts} == {("not comparable", "")}
    assert all(name in v.reason for v in comparison.verdicts)
    assert name != "protocol" or "window: 128 and 256" in comparison.verdicts[0].reason
    assert comparison.exit_status == 3


def test_data_that_differ_by_their_limit_say_so(make_run: MakeRun) -> None:
    other = {"weights": "w", "tokenizer": "t", "data": "other", "protocol": "p"}
    head = [dataclasses.replace(r, cell=dataclasses.replace(r.cell, limit=10)) for r in make_run(1, fingerprints=other)]
    verdicts = compared(make_run(), head).verdicts
    assert {(v.outcome, v.reason) for v in verdicts} == {("not comparable", "the data differ (--limit: none and 10)")}


def test_two_checkpoints_are_compared_where_that_is_asked_for(make_run: MakeRun) -> None:
    head = make_run(0, loss=0.02, fingerprints={"weights": "x", "tokenizer": "t", "data": "d", "protocol": "p"})
    assert outcomes(compared(make_run(), head, across_weights=True))["perplexity"] == {"worse"}


def test_on_another_machine_quality_and_size_are_compared_and_speed_and_memory_are_not(make_run: MakeRun) -> None:
    head = make_run(1, slowdown=3.0, loss=0.02, machine={"fingerprint": "n", "processor": "another", "threads": 8})
    comparison = compared(make_run(), head)
    found = outcomes(comparison)
    assert found["tokens_per_s"] == found["peak_memory_bytes"] == {"not compared"}
    assert found["perplexity"] == {"worse"}
    assert found["weight_bytes"] == {"same"}
    assert "speed and memory are not compared" in comparison.notes[-1]
    nowhere = compared(make_run(machine={}), make_run(1, machine={}))
    assert outcomes(nowhere)["tokens_per_s"] == {"not compared"}


def test_versions_that_differ_between_the_sides_are_noted(make_run: MakeRun) -> None:
    old, new = (
        make_run(
            machine={"fingerprint": "m", "python": "3.11.7", "libraries": {"numpy": numpy, "torch": "2.13.0", **more}}
        )
        for numpy, more in (("2.3.5", {}), ("2.4.6", {"torchao": "0.15"}))
    )
    assert compared(old, new).notes[-1] == "other versions in HEAD: numpy 2.3.5 → 2.4.6"
    failed = make_run(status="failed", metrics={}, machine={})
    assert not any("versions" in note for head in (new, failed) for note in compared(new, head).notes)


@pytest.mark.parametrize(
    ("status", "reason", "expected"),
    [("failed", "boom\nOutOfMemory", "failed in HEAD: OutOfMemory"), ("skipped", "no GPU", "skipped in HEAD: no GPU")],
)
def test_a_cell_that_failed_or_was_skipped_on_one_side_fails_the_gate(
    make_run: MakeRun, status: str, reason: str, expected: str
) -> None:
    head = [dataclasses.replace(make_run(1)[0], status=status, reason=reason, metrics={}), make_run(1)[1]]
    comparison = compared(make_run(), head)
    [missing] = comparison.of("missing")
    assert (missing.reason, missing.cell) == (expected, head[0].cell)
    assert comparison.exit_status == 3


def test_a_cell_on_one_side_only_is_missing_and_one_that_ran_nowhere_is_only_noted(make_run: MakeRun) -> None:
    base = [*make_run(cells=2), dataclasses.replace(make_run(cells=3)[2], status="skipped", metrics={})]
    comparison = compared(base, make_run(1, cells=1))
    assert [v.reason for v in comparison.of("missing")] == ["not in HEAD"]
    assert [v.reason for v in compared(make_run(cells=1), make_run(1)).of("missing")] == ["not in BASE"]
    assert comparison.notes[-1] == "1 cell ran on neither side"


def test_a_cell_that_failed_on_both_sides_is_missing(make_run: MakeRun) -> None:
    failed = [dataclasses.replace(make_run()[0], status="failed", reason="boom", metrics={})]
    [verdict] = compared(failed, failed).verdicts
    assert (verdict.outcome, verdict.reason) == ("missing", "failed in BASE: boom; failed in HEAD: boom")


def test_a_gated_metric_on_one_side_only_is_missing(make_run: MakeRun) -> None:
    head = [
        dataclasses.replace(r, metrics={n: m for n, m in r.metrics.items() if n not in ("kl", "batch_latency_s")})
        for r in make_run(1)
    ]
    comparison = compared(make_run(), head)
    assert {(v.metric, v.reason) for v in comparison.of("missing")} == {("kl", "not measured in HEAD")}
    assert compared(make_run(), head, "kl=off").exit_status == 0


def test_a_regression_of_one_cell_survives_the_correction_for_a_hundred(make_run: MakeRun) -> None:
    base, head = make_run(0, cells=100), make_run(1, cells=100)
    head[41] = make_run(2, cells=42, slowdown=1.2)[41]
    comparison = compared(base, head)
    assert [v.label for v in comparison.of("worse")] == ["perplexity tiny-fp32-set41 tokens_per_s"]
    assert comparison.tests == 400
    [worse] = comparison.of("worse")
    assert worse.p_value is not None
    assert worse.p_corrected is not None
    assert worse.p_value < worse.p_corrected < 0.05


def test_a_hundred_unchanged_cells_are_called_changed_in_at_most_5_of_100_runs(make_run: MakeRun) -> None:
    cells = make_run(cells=100)
    random = np.random.default_rng(8)
    alarms = 0
    for _ in range(12):
        sides = []
        for _ in range(2):
            speeds = [Rounds(np.exp(0.02 * random.standard_normal(10)), 1.0) for _ in cells]
            metrics = [{"tokens_per_s": Metric(1.0, "tok/s", "higher", evidence=rounds)} for rounds in speeds]
            sides.append([dataclasses.replace(r, metrics=m) for r, m in zip(cells, metrics, strict=True)])
        alarms += bool(compared(sides[0], sides[1], "tokens_per_s=0").of("worse", "better"))
    assert alarms <= 3  # 98 times in 100 where the true rate is 5 %


def test_the_gate_names_a_regression_as_soon_as_its_cell_is_measured(make_run: MakeRun) -> None:
    baseline = {record.cell.key(): record for record in make_run(0, cells=20)}
    head = make_run(1, cells=20, loss=0.01)
    verdicts = gate(baseline, head[3], Policy())
    worse = [verdict for verdict in verdicts if verdict.outcome == "worse"]
    assert [verdict.metric for verdict in worse][:1] == ["perplexity"]
    assert message(worse[0]).startswith("perplexity tiny-fp32-set3 perplexity: worse: ")
    assert "budget 0.5 %" in message(worse[0])
    [missing] = gate({}, head[3], Policy())
    assert message(missing) == "perplexity tiny-fp32-set3: missing: not in BASE"


def test_the_gate_is_never_harder_on_a_cell_than_the_comparison(make_run: MakeRun) -> None:
    base = {record.cell.key(): record for record in make_run(0, cells=6)}
    head = make_run(1, cells=6, slowdown=1.062)
    whole = {v.label for v in compare(base, {r.cell.key(): r for r in head}).of("worse")}
    gated = {v.label for record in head for v in gate(base, record, Policy()) if v.outcome == "worse"}
    assert gated <= whole


def test_shards_are_one_side_and_a_cell_measured_twice_is_refused(
    make_run: MakeRun, write_run: WriteRun, tmp_path: Path
) -> None:
    run = make_run(cells=4)
    shards = [write_run(tmp_path / f"{i}.json", run[2 * i : 2 * i + 2]) for i in range(2)]
    assert list(read_side(shards)) == [record.cell.key() for record in run]
    again = write_run(tmp_path / "again.json", run[:1])
    with pytest.raises(FileFormatError, match=r"0\.json and .*again\.json: two runs of perplexity tiny-fp32-set0"):
        read_side([*shards, again])
    with pytest.raises(FileFormatError, match=r"twice\.json: two runs of perplexity tiny-fp32-set0"):
        read_side([write_run(tmp_path / "twice.json", [run[0], run[0]])])


def test_a_failed_cell_travels_through_the_file(make_run: MakeRun, write_run: WriteRun, tmp_path: Path) -> None:
    run = [dataclasses.replace(make_run()[0], status="failed", reason="boom", metrics={}), make_run()[1]]
    side = read_side([write_run(tmp_path / "run.json", run)])
    assert [record.status for record in side.values()] == ["passed", "failed"]
    assert json.loads((tmp_path / "run.json").read_text())["benchsuite"]["unmeasured"][0]["reason"] == "boom"


def elsewhere(run: Run) -> Run:
    return [dataclasses.replace(r, machine={**r.machine, "fingerprint": "n", "processor": "another"}) for r in run]


def test_a_speed_gate_that_was_asked_for_by_name_does_not_pass_on_another_machine(make_run: MakeRun) -> None:
    head = elsewhere(make_run(1, slowdown=3))
    silent, asked = (compared(make_run(), head, *budgets) for budgets in ((), ("tokens_per_s=2%",)))
    assert (silent.exit_status, outcomes(silent)["tokens_per_s"]) == (0, {"not compared"})
    assert (asked.exit_status, outcomes(asked)["tokens_per_s"]) == (3, {"not comparable"})
    [note] = silent.notes
    assert "processor a processor and another" in note


def test_a_comparison_in_which_nothing_is_judged_is_no_success(make_run: MakeRun) -> None:
    skipped = [dataclasses.replace(record, status="skipped", metrics={}) for record in make_run()]
    assert compared(skipped, skipped).exit_status == 3
    assert compared(make_run(), make_run(), "*=off").exit_status == 3


def test_the_same_windows_in_other_units_are_gated_once(make_run: MakeRun) -> None:
    def with_bytes(run: Run) -> Run:
        return [dataclasses.replace(r, metrics={**r.metrics, "byte_perplexity": r.metrics["perplexity"]}) for r in run]

    base, head = with_bytes(make_run()), with_bytes(make_run(1, loss=0.01))
    assert outcomes(compared(base, head))["byte_perplexity"] == {"not gated"}
    assert outcomes(compared(base, head, "byte_perplexity=0.5%"))["byte_perplexity"] == {"worse"}


def test_it_is_said_where_so_few_rounds_can_find_nothing(make_run: MakeRun) -> None:
    slow = [make_run(seed, cells=100, rounds=8, slowdown=1 + 2 * seed) for seed in (0, 1)]
    assert any("so few rounds" in note for note in compared(*slow).notes)
    few = [make_run(seed, cells=2, rounds=8, slowdown=1 + 2 * seed) for seed in (0, 1)]
    assert not any("so few rounds" in note for note in compared(*few).notes)


def test_memory_of_a_process_that_did_other_work_too_is_not_compared(make_run: MakeRun) -> None:
    def beside(run: Run, *works: str) -> Run:
        return [dataclasses.replace(record, details={"one_process": list(works)}) for record in run]

    base, head = beside(make_run(), "prose ×8"), beside(make_run(peak_bytes=700_000_000), "prose ×8", "arithmetic ×8")
    comparison = compared(base, head)
    assert outcomes(comparison)["peak_memory_bytes"] == {"not compared"}
    assert "memory is not compared" in comparison.notes[-1]
    assert outcomes(compared(base, beside(head, "prose ×8")))["peak_memory_bytes"] == {"worse"}
    assert outcomes(compared(base, head, "peak_memory_bytes=1%"))["peak_memory_bytes"] == {"not comparable"}
