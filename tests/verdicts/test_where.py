from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from benchsuite.data import datasets
from benchsuite.record import Cell, Items, Metric, Record, Rounds
from benchsuite.verdicts.where import where_it_moved

MakeRun = Callable[..., list[Record]]


def layer(name: str, snr_db: float, bits: float = 8.0) -> dict[str, Any]:
    return {"name": name, "kind": name.split(".")[-1], "shape": [64, 64], "snr_db": snr_db, "bits_per_weight": bits}


def test_equal_records_moved_nowhere(make_run: MakeRun) -> None:
    record = make_run()[0]
    assert where_it_moved(record, record, list(record.metrics)) == []


def test_a_decode_that_slowed_is_told_from_a_prefill_that_did_not() -> None:
    def timed(prefill: float, decode: float) -> Record:
        times = {"prefill_tokens_per_s": prefill, "decode_tokens_per_s": decode}
        metrics = {n: Metric(1 / t, "tok/s", "higher", evidence=Rounds(np.full(8, t), 1.0)) for n, t in times.items()}
        return Record(Cell("generation", "tiny", "nf4-g64"), metrics)

    lines = where_it_moved(timed(0.1, 0.1), timed(0.101, 0.12), ["decode_tokens_per_s"])
    assert lines == ["decode_tokens_per_s: +20.0 % time", "prefill_tokens_per_s: +1.0 % time, not moved"]


def test_kernels_libraries_layers_and_bytes_that_changed_are_named(make_run: MakeRun) -> None:
    base, head = (
        dataclasses.replace(
            make_run()[0],
            kernels={"operators": operators, "threads": 2},
            coverage={"layers": layers},
            machine={"fingerprint": "m", "libraries": {"torch": torch}},
        )
        for operators, layers, torch in (
            ({"mkldnn::_linear_pointwise": 24}, [layer("h.0.c_attn", 40.0), layer("h.0.c_proj", 40.0)], "2.12.0"),
            ({"aten::mm": 24}, [layer("h.0.c_attn", 34.0), layer("h.0.c_proj", 40.0, 16.0)], "2.13.0"),
        )
    )
    assert where_it_moved(base, head, ["accuracy"]) == [
        "kernel aten::mm: 0 → 24 calls",
        "kernel mkldnn::_linear_pointwise: 24 → 0 calls",
        "layer h.0.c_attn: signal-to-noise 40.0 → 34.0 dB",
        "bytes of c_proj: 4,096 → 8,192",
        "torch: 2.12.0 → 2.13.0",
    ]


def test_what_has_nothing_to_do_with_the_regression_is_not_named(make_run: MakeRun) -> None:
    base, head = make_run(0)[0], make_run(1, slowdown=2.0, loss=0.1, forgotten=5)[0]
    [line] = where_it_moved(base, head, ["tokens_per_s"])
    assert line.startswith("tokens_per_s: +")
    assert where_it_moved(base, head, ["peak_memory_bytes"]) == []


def test_a_layer_that_is_no_longer_quantized_is_named(make_run: MakeRun) -> None:
    base, head = (
        dataclasses.replace(make_run()[0], coverage={"layers": layers})
        for layers in ([layer("a", 40.0), layer("b", 40.0)], [layer("a", 40.0)])
    )
    assert "layer b: no longer quantized" in where_it_moved(base, head, ["accuracy"])


def test_documents_that_lost_most_are_named(make_run: MakeRun) -> None:
    lines = where_it_moved(make_run()[0], make_run(loss=0.1)[0], ["perplexity"])
    assert sum(line.startswith("document ") for line in lines) == 5


@pytest.mark.parametrize("same_data", [True, False])
def test_items_that_flipped_are_shown_with_their_prompt_where_the_data_are_the_same(same_data: bool) -> None:
    examples = datasets["arithmetic"].load("test", 20)
    right, wrong = np.ones(20, dtype=bool), np.ones(20, dtype=bool)
    wrong[[3, 7]] = False
    base, head = (
        Record(
            Cell("exact_match", "tiny", "fp32", "arithmetic", limit=20),
            {"exact_match": Metric(float(outcomes.mean()), "share", "higher", evidence=Items(outcomes))},
            fingerprints={"data": examples.fingerprint() if same_data else "of other data"},
        )
        for outcomes in (right, wrong)
    )
    lines = where_it_moved(base, head, list(base.metrics))
    assert lines[0] == "exact_match: 2 items right → wrong, 0 wrong → right"
    assert lines[1].startswith("item 3, right → wrong")
    question = " ".join(examples.items[3].question.split())  # type: ignore[union-attr]
    assert (question[:100] in lines[1]) == same_data


def test_items_of_a_dataset_that_is_not_here_keep_their_numbers(make_run: MakeRun) -> None:
    base, head = make_run()[0], make_run(forgotten=7)[0]
    lines = where_it_moved(base, head, list(base.metrics))
    assert lines[0] == "accuracy: 7 items right → wrong, 0 wrong → right"
    assert lines[-1] == "… and 2 more"
