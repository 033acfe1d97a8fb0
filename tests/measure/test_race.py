"""What a lane of the race says of its rounds."""

from __future__ import annotations

from benchsuite.measure.race import NEW_TOKENS, Lane


def test_a_lane_counts_the_tokens_that_its_median_round_was_timed_for() -> None:
    lane = Lane(10, [1.0, 5.0, 9.0], [7.0, NEW_TOKENS - 1.0, 900.0])
    assert (lane.prefill_tokens_per_s, lane.decode_tokens_per_s) == (2, 1)
