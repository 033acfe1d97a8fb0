"""A profile's parts have the clock's seconds."""

from __future__ import annotations

import numpy as np

from benchsuite.measure.roofline import Pass
from benchsuite.record import Metric, Rounds
from benchsuite.report.profile import parts_of


def speed(*seconds: float) -> Metric:
    return Metric(1.0, "tok/s", "higher", evidence=Rounds(np.array(seconds), 1.0))


def test_a_part_takes_as_long_as_its_median_round() -> None:
    passes = [Pass({"fp32": 1.0}, 1.0, is_head=head) for head in (False, True, False, True)]
    [batch] = parts_of(passes, {"tokens_per_s": speed(1, 2, 6)}, None)
    assert (batch.name, batch.seconds) == ("batch", 2)
    metrics = {"tokens_per_s": speed(9), "prefill_tokens_per_s": speed(3, 4, 8), "decode_tokens_per_s": speed(5, 6, 10)}
    parts = parts_of(passes, metrics, None)
    assert [(part.name, part.seconds) for part in parts] == [("prefill", 4), ("decode", 6)]
